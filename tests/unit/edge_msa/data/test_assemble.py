from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edge_msa.data.assemble import assemble
from edge_msa.data.dataset import Dataset
from edge_msa.data.tasks import EMOTIONS, MOSI, REGRESSION, SIMS, Task
from edge_msa.errors import DataError, UsageError
from edge_msa_runtime.inputs.frames import RawFrames, RawSplit
from edge_msa_runtime.inputs.sample_ids import video_from_id


def _values(*shape: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def _one(task: Task = MOSI, labels: Any = (1.0, -2.0), ids: Any = ("a[0]", "a[1]"), **frames: Any) -> Dataset:
    audio = RawFrames(**(frames or {"values": _values(2, 4, 3)}))
    return assemble("x", task, {"train": RawSplit(ids, np.asarray(labels), {"audio": audio})}, digest="d")


def test_zero_frames_are_padding_only_at_the_ends() -> None:
    values = _values(2, 6, 3)
    values[0, [0, 1, 3, 5]] = 0
    values[1] = 0
    frames = _one(values=values).split("train").modalities["audio"]
    assert frames.valid.tolist() == [[False, False, True, True, True, False], [False] * 6]


def test_stated_lengths_override_zero_frames() -> None:
    values = _values(2, 4, 3)
    values[0, 2:] = 0
    frames = _one(values=values, lengths=np.array([4, 1])).split("train").modalities["audio"]
    assert frames.lengths.tolist() == [4, 1]


@pytest.mark.parametrize("lengths", [[5, 1], [-1, 2], [1]])
def test_invalid_lengths_are_refused(lengths: list[int]) -> None:
    with pytest.raises(DataError, match="lengths of audio of train"):
        _one(values=_values(2, 4, 3), lengths=np.array(lengths))


def test_non_finite_values_become_0_with_a_note() -> None:
    values = _values(300, 2, 3)
    values[0, 0, :2] = -np.inf
    values[299, 1, 0] = np.nan
    dataset = assemble(
        "x",
        REGRESSION,
        {"valid": RawSplit([str(i) for i in range(300)], np.zeros(300), {"audio": RawFrames(values=values)})},
        digest="d",
    )
    assert dataset.notes == (
        "audio: 2 values in valid were -inf, set to 0",
        "audio: 1 value in valid was nan, set to 0",
    )
    assert np.isfinite(dataset.split("valid").modalities["audio"].take()).all()


def test_values_beyond_float32_are_noted_as_inf() -> None:
    assert _one(values=np.full((2, 1, 1), 1e60)).notes[0] == "audio: 2 values in train were inf, set to 0"


def test_samples_without_any_frame_are_noted() -> None:
    values = _values(2, 4, 3)
    values[1] = 0
    assert _one(values=values).notes == ("train: 1 of 2 samples has no valid frame of any modality",)


def test_the_error_of_an_infinite_label_names_the_sample() -> None:
    with pytest.raises(DataError, match=r"'a\[1\]' in train must be a finite number, got inf"):
        _one(labels=(1.0, np.inf))


@pytest.mark.parametrize(("task", "score"), [(MOSI, 3.8), (MOSI, -4.0), (SIMS, 2.0)])
def test_the_error_of_a_label_outside_names_the_sample(task: Task, score: float) -> None:
    with pytest.raises(DataError, match=r"'a\[1\]'.*--task"):
        _one(task, labels=(1.0, score))


def test_emotions_must_be_0_or_1() -> None:
    good = np.array([[1, 0, 0, 1], [0, 0, 1, 0]])
    assert _one(EMOTIONS, labels=good).split("train").labels.shape == (2, 4)
    with pytest.raises(DataError, match="must be 0"):
        _one(EMOTIONS, labels=good * 0.5)
    with pytest.raises(UsageError, match=r"must have shape .*N, 1.* got .*N, 4"):
        _one(MOSI, labels=good)
    with pytest.raises(UsageError, match=r"must have shape .*N, 4.* for the task 'emotions'"):
        _one(EMOTIONS)


def test_an_empty_split_is_refused() -> None:
    part = RawSplit([], np.zeros(0), {"audio": RawFrames(values=np.zeros((0, 2, 3)))})
    with pytest.raises(DataError, match="The valid split is empty"):
        assemble("x", MOSI, {"valid": part}, digest="d")


def test_different_feature_counts_are_refused() -> None:
    raw = {
        name: RawSplit(["a"], np.zeros(1), {"audio": RawFrames(values=_values(1, 2, width))})
        for name, width in (("train", 3), ("test", 4))
    }
    with pytest.raises(DataError, match="audio must have 3 features in test, as in train, got 4"):
        assemble("x", MOSI, raw, digest="d")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "values", [np.zeros((2, 3)), np.zeros((2, 0, 3)), np.zeros((3, 2, 3)), np.array([["a"], ["b"]], dtype=object)]
)
def test_features_of_a_wrong_shape_are_refused(values: Any) -> None:
    with pytest.raises(DataError, match="audio of train"):
        _one(values=values)


def test_ids_outside_the_table_are_refused() -> None:
    language = RawFrames(ids=np.array([[4]]), table=_values(4, 2), lengths=np.array([1]))
    with pytest.raises(DataError, match="rows 0 to 3 of the table"):
        assemble("x", MOSI, {"train": RawSplit(["a"], np.zeros(1), {"language": language})}, digest="d")


def test_ids_without_lengths_or_mask_are_refused() -> None:
    language = RawFrames(ids=np.array([[1]]), table=_values(4, 2))
    with pytest.raises(DataError, match="must state their lengths or their mask"):
        assemble("x", MOSI, {"train": RawSplit(["a"], np.zeros(1), {"language": language})}, digest="d")


def test_repeated_ids_are_renamed() -> None:
    dataset = _one(labels=(0, 0, 0, 0), ids=("a", "a", "a", "a#2"), values=_values(4, 2, 3))
    ids = dataset.split("train").ids
    assert ids[:3] == ("a", "a#2", "a#3")
    assert len(set(ids)) == 4
    assert dataset.notes[0].startswith("train: 3 samples repeat an id")
    assert set(dataset.split("train").groups) == {"a", "a#2"}


def test_videos_in_two_splits_are_noted() -> None:
    raw = {
        name: RawSplit([f"v$_${name}"], np.zeros(1), {"audio": RawFrames(values=_values(1, 2, 3))})
        for name in ("train", "test")
    }
    dataset = assemble("x", MOSI, raw, digest="d")  # type: ignore[arg-type]
    assert dataset.notes == ("1 video is in both train and test: their samples are not independent",)


@pytest.mark.parametrize(
    ("sample", "video"), [("v_1$_$3", "v_1"), ("v_1[3]", "v_1"), ("v_1_3", "v_1_3"), ("[0]", "[0]")]
)
def test_the_video_of_an_id(sample: str, video: str) -> None:
    assert video_from_id(sample) == video
