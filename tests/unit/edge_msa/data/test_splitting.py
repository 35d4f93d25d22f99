from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import edge_msa as em
from edge_msa.cli import run
from edge_msa.data.opening import open_dataset


def save(folder: Path, videos: int, **others: int) -> Path:
    utterances = {
        split: [
            em.Utterance(f"{split}-{clip}", 1.0, audio=np.ones((2, 3)), video=f"{split}-{clip // 2}")
            for clip in range(2 * count)
        ]
        for split, count in {"train": videos, **others}.items()
    }
    return em.save_data(utterances, output=folder / "data.npz", task="mosi")  # type: ignore[arg-type]


def test_missing_splits_are_drawn_by_video(tmp_path: Path) -> None:
    output = tmp_path / "split.npz"
    assert run(["data", "convert", str(save(tmp_path, 20)), "--output", str(output), "--draw-splits"]) == 0
    splits = open_dataset(output).splits
    assert {name: len(split) for name, split in splits.items()} == {"train": 28, "valid": 6, "test": 6}
    videos = [set(split.groups) for split in splits.values()]
    assert sum(map(len, videos)) == len(set.union(*videos)) == 20


def test_splits_that_exist_stay_as_they_are(tmp_path: Path) -> None:
    data = save(tmp_path, 5, test=2)
    drawn = open_dataset(em.convert_data(data, output=tmp_path / "split.npz", draw_splits=True))
    assert {name: len(split) for name, split in drawn.splits.items()} == {"train": 8, "valid": 2, "test": 4}
    assert drawn.splits["test"].ids == open_dataset(data).splits["test"].ids


@pytest.mark.parametrize(
    ("videos", "unlabeled", "message"),
    [(2, False, "must have at least 3 videos"), (5, True, "exclude each other")],
)
def test_splits_that_cannot_be_drawn_are_an_error(tmp_path: Path, videos: int, unlabeled: bool, message: str) -> None:
    with pytest.raises(em.EdgeMsaError, match=message):
        em.convert_data(save(tmp_path, videos), output=tmp_path / "x.npz", draw_splits=True, unlabeled=unlabeled)
