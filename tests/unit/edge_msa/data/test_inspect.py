from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from edge_msa.data.assemble import assemble
from edge_msa.data.dataset import Dataset
from edge_msa.data.inspect import format_inspection, inspect_dataset
from edge_msa.data.tasks import EMOTIONS, MOSI, REGRESSION, SIMS, Task
from edge_msa_runtime.features import UNKNOWN, FeatureSource
from edge_msa_runtime.inputs.frames import RawFrames, RawSplit

_COVAREP = FeatureSource("COVAREP", "1.4", 12.5)


def _dataset(task: Task, labels: Any) -> Dataset:
    count = len(labels)
    audio = np.ones((count, 4, 2), np.float32)
    audio[0] = 0
    audio[1, 2:] = 0
    audio[1, 0, 0] = -np.inf
    ids = [f"v{row // 2}[{row}]" for row in range(count)]
    language = RawFrames(ids=np.zeros((count, 3), int), table=np.ones((9, 5), np.float32), lengths=np.full(count, 3))
    raw = RawSplit(ids, np.asarray(labels), {"audio": RawFrames(values=audio), "language": language})
    return assemble("corpus", task, {"train": raw}, digest="ab" * 32, features={"audio": _COVAREP})


def test_an_inspection_counts_samples_frames_and_labels() -> None:
    result = inspect_dataset(_dataset(MOSI, [-3.0, -0.4, 0.0, 2.6]))
    train = result.splits["train"]
    assert (result.task, result.absent, result.dims) == ("mosi", ("vision",), {"language": 5, "audio": 2})
    assert result.non_finite == {"train/audio/-inf": 1}
    assert (train.samples, train.groups) == (4, 2)
    assert train.labels == {"-3": 1, "-2": 0, "-1": 0, "+0": 2, "+1": 0, "+2": 0, "+3": 1}
    audio = train.modalities["audio"]
    assert (audio.shape, audio.lengths, audio.missing, audio.table) == ((4, 4, 2), (2, 4.0, 4), 0.25, None)
    assert audio.padding == pytest.approx(6 / 16)
    assert train.modalities["language"].table == 9


@pytest.mark.parametrize(
    ("task", "labels"),
    [(SIMS, [-1.0, 0, 0.5, 1.0]), (REGRESSION, [1.0, 2, 3, 5]), (REGRESSION, [2.0] * 4), (EMOTIONS, np.eye(4))],
)
def test_every_label_is_counted_once(task: Task, labels: Any) -> None:
    assert sum(inspect_dataset(_dataset(task, labels)).splits["train"].labels.values()) == 4


def test_an_inspection_converts_to_json_and_text() -> None:
    result = inspect_dataset(_dataset(MOSI, [-3.0, -0.4, 0.0, 2.6]))
    assert json.loads(json.dumps(result.to_json()))["splits"]["train"]["samples"] == 4
    text = format_inspection(result)
    for part in (
        "corpus",
        "modalities without frames: vision",
        "1 in train/audio/-inf",
        "4 x 4 x 2",
        "2       4    4",
        "25.0%",
    ):
        assert part in text


def test_an_inspection_shows_what_computed_the_features() -> None:
    result = inspect_dataset(_dataset(MOSI, [-3.0, -0.4, 0.0, 2.6]))
    assert result.features == {"language": UNKNOWN, "audio": _COVAREP}
    lines = format_inspection(result).splitlines()
    assert "  language  unknown" in lines
    assert "  audio     COVAREP 1.4, 12.5 Hz" in lines
    assert json.loads(json.dumps(result.to_json()))["features"]["audio"]["rate_hz"] == 12.5


def test_unlabeled_samples_are_counted() -> None:
    raw = RawSplit(["a"], None, {"audio": RawFrames(values=np.ones((1, 2, 2)))})
    result = inspect_dataset(assemble("x", REGRESSION, {"test": raw}, digest="d"))
    assert result.splits["test"].labels["unlabeled"] == 1


def test_texts_are_counted() -> None:
    raw = RawSplit(["a", "b", "c"], np.zeros(3), {}, texts=["good", "", None])
    result = inspect_dataset(assemble("x", MOSI, {"test": raw}, digest="d"))
    assert result.splits["test"].texts == 1
    assert "test: 3 samples from 3 videos, 1 with text" in format_inspection(result)
    assert "modalities without frames: language (1 sample with texts), audio, vision" in format_inspection(result)
    assert "with text" not in format_inspection(inspect_dataset(_dataset(MOSI, [0.0, 1.0])))
