"""Arrays that trainings share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_msa.training.kept import kept


def test_an_array_is_made_once_and_again_where_its_file_is_damaged(tmp_path: Path) -> None:
    path, made = tmp_path / "readings" / "a.npy", []

    def make() -> NDArray[np.float32]:
        made.append(1)
        return np.arange(3, dtype=np.float32)

    for _ in range(2):
        assert kept(path, make).tolist() == [0, 1, 2]
    assert len(made) == 1
    path.write_bytes(b"no array")
    assert kept(path, make).tolist() == [0, 1, 2]
    assert len(made) == 2
    assert kept(None, make).tolist() == [0, 1, 2]
    assert [item.name for item in tmp_path.iterdir()] == ["readings"]
