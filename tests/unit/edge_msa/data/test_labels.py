from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edge_msa.data.assemble import assemble
from edge_msa.data.dataset import Dataset
from edge_msa.data.inspect import inspect_dataset
from edge_msa.data.labeled import keep_labeled
from edge_msa.data.labels import convert_labels
from edge_msa.data.options import LoadOptions
from edge_msa.data.tasks import EMOTIONS, MOSI, REGRESSION, SIMS, Task
from edge_msa.errors import DataError
from edge_msa_runtime.inputs.frames import RawFrames, RawSplit


def _dataset(labels: Any, task: Task = MOSI, **options: Any) -> Dataset:
    count = len(labels)
    split = RawSplit(
        [f"s{row}" for row in range(count)], np.asarray(labels), {"audio": RawFrames(np.ones((count, 2, 2)))}
    )
    return assemble("toy", task, {"test": split}, digest="", options=LoadOptions(**options))


@pytest.mark.case("F13")
@pytest.mark.parametrize(
    ("task", "labels", "clipped", "note"),
    [
        (MOSI, [3.667, -3.2, 1], [3, -3, 1], "test: 2 of 3 labels are beyond -3 to 3, the most extreme is 3.667 (s0)"),
        (
            SIMS,
            [0.5, -1.00005, 1],
            [0.5, -1, 1],
            "test: 1 of 3 labels is beyond -1 to 1, the most extreme is -1.00005",
        ),
    ],
)
def test_labels_slightly_beyond_the_scale_are_clipped(task: Task, labels: Any, clipped: Any, note: str) -> None:
    dataset = _dataset(labels, task)
    assert dataset.split("test").labels.tolist() == clipped
    assert dataset.notes[0].startswith(note)
    assert "; clipped" in dataset.notes[0]


@pytest.mark.case("F13")
def test_labels_beyond_the_scale_are_kept_on_request() -> None:
    dataset = _dataset([3.667, 0], clip_labels=False)
    np.testing.assert_allclose(dataset.split("test").labels, [3.667, 0])
    assert dataset.notes[0].endswith("; kept as stated")


@pytest.mark.parametrize("clip", [True, None])
def test_labels_without_a_scale_are_not_clipped(clip: bool | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "clip", lambda *_: pytest.fail("NumPy before 2 rejects a clip without limits"))
    dataset = _dataset([37.5, -120], REGRESSION, clip_labels=clip)
    assert dataset.split("test").labels.tolist() == [37.5, -120]
    assert dataset.notes == ()


@pytest.mark.case("F13")
@pytest.mark.parametrize(("task", "label"), [(MOSI, 3.8), (MOSI, -4), (SIMS, 1.3)])
@pytest.mark.parametrize("clip", [True, False, None])
def test_labels_far_beyond_the_scale_are_refused(task: Task, label: float, clip: bool | None) -> None:
    with pytest.raises(DataError, match=r"'s1' in test must be within .* another --task\?"):
        _dataset([0, label], task, clip_labels=clip)


@pytest.mark.case("F13")
@pytest.mark.parametrize("clip", [True, False])
def test_the_histogram_counts_every_label(clip: bool) -> None:
    inspection = inspect_dataset(_dataset([1.00005, -1.2, 0, np.nan], SIMS, clip_labels=clip))
    assert sum(inspection.splits["test"].labels.values()) == 4
    assert inspection.splits["test"].labels["unlabeled"] == 1


@pytest.mark.case("F13")
def test_rounding_is_no_note() -> None:
    labels, notes = convert_labels(np.array([np.nextafter(np.float32(3), np.float32(4))]), MOSI, "test", ["a"])
    assert (labels.tolist(), notes) == ([3.0], [])


@pytest.mark.case("F7")
@pytest.mark.parametrize("missing", [None, np.nan, "", np.float64("nan")])
def test_missing_labels_are_nan_and_counted(missing: Any) -> None:
    labels, notes = convert_labels(np.array([1, missing], dtype=object), MOSI, "test", ["a", "b"])
    assert np.isnan(labels).tolist() == [False, True]
    assert notes == ["test: 1 of 2 samples has no label"]


@pytest.mark.case("F7")
def test_a_sample_with_an_unknown_emotion_is_unlabeled() -> None:
    labels, _ = convert_labels(np.array([[0, 1, np.nan, 0], [0, 1, 0, 0]]), EMOTIONS, "test", ["a", "b"])
    assert np.isnan(labels).all(axis=1).tolist() == [True, False]


@pytest.mark.case("F7")
def test_unlabeled_samples_are_left_out_with_one_note() -> None:
    dataset = keep_labeled(_dataset([1, np.nan, 2]))
    assert dataset.split("test").ids == ("s0", "s2")
    assert dataset.notes == ("test: 1 of 3 samples has no label; left out",)
    unlabeled = _dataset([np.nan, np.nan])
    assert len(keep_labeled(unlabeled).split("test")) == 2
