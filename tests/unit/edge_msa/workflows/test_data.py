from __future__ import annotations

from pathlib import Path

import pytest

from edge_msa.errors import UsageError
from edge_msa.workflows.data import convert
from tests.unit.edge_msa.toy_runs import write_dataset


@pytest.fixture
def data(tmp_path: Path) -> str:
    return write_dataset(tmp_path / "all.npz")


@pytest.mark.parametrize("samples", ["5", "a:b", "-2:", "1:2:3"])
def test_invalid_slice_raises_an_error(data: str, tmp_path: Path, samples: str) -> None:
    with pytest.raises(UsageError, match="must be a slice of training samples"):
        convert(data, tmp_path / "part.npz", None, samples=samples)
