from __future__ import annotations

import numpy as np
import pytest

from edge_msa.data.dataset import Frames, Split
from edge_msa.data.tasks import EMOTIONS, MOSI, REGRESSION, Task
from edge_msa.errors import UsageError
from edge_msa.reporting.explain.samples import aligned_words, random_rows, select_rows

COUNT = 24


def toy(task: Task = MOSI) -> Split:
    """Sample 0 has no audio, sample 1 only audio, and no sample has vision."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (COUNT, 4)) if not task.is_score else np.linspace(-3, 3, COUNT)
    valid = {name: np.ones((COUNT, 3), np.bool_) for name in ("language", "audio")}
    valid["audio"][0] = False
    valid["language"][1] = False
    frames = {name: Frames(mask, rng.normal(size=(COUNT, 3, 2)).astype(np.float32)) for name, mask in valid.items()}
    ids = tuple(f"v{row // 3}[{row}]" for row in range(COUNT))
    groups = tuple(f"v{row // 3}" for row in range(COUNT))
    return Split(ids, groups, labels.astype(np.float32), frames, ("one two three",) * COUNT)


def test_samples_are_selected_by_id_or_by_label() -> None:
    split = toy()
    rows, selection = select_rows(split, MOSI, ["v1[5]", "v0[0]", "v1[5]"])
    assert rows.tolist() == [5, 0]
    assert selection == "as requested"
    rows, selection = select_rows(split, MOSI, [])
    assert rows.tolist() == [3, 9, 16, 22]  # Among rows 2 to 23, which have the most modalities.
    assert "5, 35, 65, 95 % quantiles" in selection
    emotions = toy(EMOTIONS)
    rows, _ = select_rows(emotions, EMOTIONS, [])
    assert emotions.labels[rows].any(axis=0).all()


def test_an_unknown_id_is_rejected_with_the_closest_one() -> None:
    with pytest.raises(UsageError, match=r"the id 'v1\[55\]'. The closest of 24 ids is 'v1\[5\]'"):
        select_rows(toy(), MOSI, ["v1[55]"])


def test_single_and_unlabeled_samples_can_be_selected() -> None:
    one = toy().select(np.array([3]))
    assert select_rows(one, REGRESSION, [])[0].tolist() == [0]
    unlabeled = Split(one.ids, one.groups, np.full(1, np.nan, np.float32), one.modalities)
    assert select_rows(unlabeled, MOSI, [])[0].tolist() == [0]


def test_words_are_aligned_if_there_is_one_per_frame() -> None:
    split = toy()
    assert aligned_words(split, 2) == ("one", "two", "three")
    assert aligned_words(split, 1) == ()  # This sample has no language.


def test_random_rows_are_deterministic() -> None:
    assert random_rows(5, 9).tolist() == [0, 1, 2, 3, 4]
    rows = random_rows(1000, 9)
    assert len(set(rows.tolist())) == 9
    assert rows.tolist() == random_rows(1000, 9).tolist() == sorted(rows.tolist())


def test_without_an_emotion_the_first_samples_are_selected() -> None:
    frames = {"audio": Frames(np.ones((6, 2), np.bool_), np.ones((6, 2, 1), np.float32))}
    ids = tuple("abcdef")
    rows, selection = select_rows(Split(ids, ids, np.zeros((6, 4), np.float32), frames), EMOTIONS, ())
    assert rows.tolist() == [0, 1, 2, 3]
    assert "none has an emotion" in selection
