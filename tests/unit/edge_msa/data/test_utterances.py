from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edge_msa.data.tasks import CLASSES, EMOTIONS, MOSI
from edge_msa.data.utterances import Utterance, build_dataset, split_by_video
from edge_msa.errors import DataError, UsageError


def frames(length: int, dim: int = 2, start: float = 0.0) -> Any:
    return start + np.arange(length * dim, dtype="f4").reshape(length, dim)


def test_frames_of_different_lengths_keep_their_values() -> None:
    train = [
        Utterance("v1[0]", 1.5, audio=frames(3), vision=frames(1, 4)),
        Utterance("v1[1]", None, audio=frames(5, start=0.5), text="hello"),
        Utterance("v2", -1, vision=frames(2, 4).tolist(), video="other"),
    ]
    dataset = build_dataset("mine", MOSI, {"train": train})
    split = dataset.splits["train"]
    assert dataset.dims == {"audio": 2, "vision": 4}
    assert split.groups == ("v1", "v1", "other")
    np.testing.assert_array_equal(split.labels, [1.5, np.nan, -1])
    assert split.texts == ("", "hello", "")
    for row, utterance in enumerate(train):
        sample = split.sample(row)
        given = {name: value for name in ("audio", "vision") if (value := getattr(utterance, name)) is not None}
        assert sample.keys() == given.keys()
        for name, value in given.items():
            np.testing.assert_array_equal(sample[name], value)


def test_zero_frames_at_the_ends_are_frames() -> None:
    audio = np.zeros((4, 2), "f4")
    audio[1] = 1
    dataset = build_dataset(
        "mine", MOSI, {"train": [Utterance("a", 0, audio=audio), Utterance("b", 0, audio=frames(6))]}
    )
    assert dataset.splits["train"].modalities["audio"].lengths.tolist() == [4, 6]


def test_emotions_have_one_label_each() -> None:
    train = [Utterance("a", [0, 1, 0, 0], audio=frames(2)), Utterance("b", audio=frames(2))]
    labels = build_dataset("mine", EMOTIONS, {"train": train}).splits["train"].labels
    np.testing.assert_array_equal(labels, [[0, 1, 0, 0], [np.nan] * 4])


@pytest.mark.parametrize(
    ("utterance", "message"),
    [
        (Utterance("x", audio=np.zeros(3)), r"audio of 'x' must be an array of shape \(frames, features\), got \(3,\)"),
        (Utterance("x", audio=frames(2, 3)), "audio of 'x' must have 2 features per frame, as others have, got 3"),
        (Utterance("x", audio=[[1.0], [1.0, 2.0]]), "audio of 'x' must be numbers"),
        (Utterance("x", audio=[[1.0, np.nan]]), "audio of 'x' must be finite, got nan at frame 0, feature 1"),
        (Utterance("x", label=9, audio=frames(2)), "9"),
        (Utterance("x", label=[1, 2], audio=frames(2)), r"label of 'x' must be one number, got \[1, 2\]"),
        (Utterance("x", label="good", audio=frames(2)), "label of 'x' must be one number, got 'good'"),
        ({"audio": frames(2)}, "must have items of type Utterance, got dict"),
    ],
)
def test_a_wrong_utterance_is_named(utterance: Any, message: str) -> None:
    with pytest.raises((DataError, UsageError), match=message):
        build_dataset("mine", MOSI, {"train": [Utterance("good", 0, audio=frames(2)), utterance]})


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({}, "at least one of the splits"),
        ({"dev": [Utterance("a", 0, audio=frames(2))]}, "Splits must be named train, valid, test, got 'dev'"),
        ({"train": []}, "The train split is empty"),
        ({"train": [Utterance("a", 0)]}, "must have at least one of language, audio, vision"),
    ],
)
def test_splits_without_samples_or_frames_are_refused(splits: Any, message: str) -> None:
    with pytest.raises((DataError, UsageError), match=message):
        build_dataset("mine", MOSI, splits)


def test_a_random_split_keeps_videos_together() -> None:
    utterances = [Utterance(f"v{video}[{clip}]") for video in range(20) for clip in range(3)]
    splits = split_by_video(utterances, seed=1)
    videos = {name: {item.group for item in items} for name, items in splits.items()}
    assert {name: len(items) for name, items in videos.items()} == {"train": 14, "valid": 3, "test": 3}
    assert not videos["train"] & videos["valid"]
    assert not videos["valid"] & videos["test"]
    assert sorted(item.id for items in splits.values() for item in items) == sorted(item.id for item in utterances)
    assert split_by_video(utterances, seed=1) == splits != split_by_video(utterances, seed=2)


def test_a_random_split_needs_three_videos() -> None:
    assert all(split_by_video([Utterance("a"), Utterance("b"), Utterance("c")]).values())
    with pytest.raises(UsageError, match="must be from at least 3 videos, one per split, got 2"):
        split_by_video([Utterance("a[0]"), Utterance("a[1]"), Utterance("b")])


def test_labels_of_classes_are_names() -> None:
    named = [Utterance(f"v{row}", label=label, audio=frames(2)) for row, label in enumerate(("sad", "happy", None))]
    dataset = build_dataset("toy", CLASSES, {"train": named})
    assert dataset.task.labels == ("happy", "sad")
    np.testing.assert_equal(dataset.split("train").labels, [1, 0, np.nan])
    with pytest.raises(UsageError, match=r"label of 'x' must be the name of a class, got \[1\]"):
        build_dataset("toy", CLASSES, {"train": [Utterance("x", label=[1], audio=frames(2))]})
