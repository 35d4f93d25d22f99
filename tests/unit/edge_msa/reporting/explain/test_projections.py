from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_msa.data.dataset import Frames, Split
from edge_msa.data.tasks import EMOTIONS, MOSI, REGRESSION, Task
from edge_msa.reporting.explain.projections import (
    label_classes,
    label_coloring,
    nearest_neighbor_accuracy,
    project,
    project_streams,
    project_subsets,
)
from edge_msa_runtime.modalities import Subset

COUNT = 40


def toy(task: Task = MOSI) -> Split:
    """Every second sample has audio, none has vision."""
    labels = np.eye(4)[np.arange(COUNT) % 4] if not task.is_score else np.linspace(-2.9, 2.9, COUNT)
    if task.kind == "regression":
        labels = labels + 4
    valid = {"language": np.ones((COUNT, 1), np.bool_), "audio": (np.arange(COUNT) % 2 == 0)[:, None]}
    frames = {name: Frames(mask, np.ones((COUNT, 1, 2), np.float32)) for name, mask in valid.items()}
    ids = tuple(map(str, range(COUNT)))
    return Split(ids, ids, labels.astype(np.float32), frames)


def two_clouds() -> NDArray[np.float32]:
    vectors = np.random.default_rng(0).normal(size=(COUNT, 5))
    vectors[:, 0] += 20.0 * (np.arange(COUNT) >= COUNT // 2)
    return vectors.astype(np.float32)


def test_projections_are_deterministic_and_separate_clouds() -> None:
    first, second = project(two_clouds()), project(two_clouds())
    assert first is not None
    assert second is not None
    assert first.tobytes() == second.tobytes()
    half = COUNT // 2
    accuracy = nearest_neighbor_accuracy(first, (np.arange(COUNT) >= half).astype(np.int64), toy().groups)
    assert accuracy is not None
    assert accuracy[0] == 1.0


@pytest.mark.parametrize("vectors", [np.ones((COUNT, 3)), np.eye(9), np.tile(np.eye(5), (8, 1))])
def test_too_few_different_vectors_have_no_projection(vectors: NDArray[np.float64]) -> None:
    assert project(vectors.astype(np.float32)) is None


def test_a_sample_is_not_its_own_neighbor() -> None:
    far = np.arange(20, dtype=np.float32)[:, None] * np.ones(2, np.float32)
    alternating = (np.arange(20) % 2).astype(np.int64)
    alone = tuple(map(str, range(20)))
    accuracy = nearest_neighbor_accuracy(far, alternating, alone)
    assert accuracy is not None
    assert accuracy[0] < 0.5  # Five of the nine nearest have the other class.
    assert accuracy[1] == 0.5
    assert nearest_neighbor_accuracy(far, np.zeros(20, np.int64), alone) is None
    assert nearest_neighbor_accuracy(far[:5], alternating[:5], alone[:5]) is None


def test_samples_of_the_same_video_are_not_neighbors() -> None:
    vectors = np.repeat(np.arange(4, dtype=np.float32), 12)[:, None] * np.ones(2, np.float32)
    videos = tuple(map(str, np.repeat(np.arange(4), 12)))  # Each video has one position and one class.
    classes = np.repeat([0, 1, 0, 1], 12).astype(np.int64)
    assert nearest_neighbor_accuracy(vectors, classes, videos) == (0.0, 0.5)
    alone = nearest_neighbor_accuracy(vectors, classes, tuple(map(str, range(48))))
    assert alone is not None
    assert alone[0] == 1.0
    assert nearest_neighbor_accuracy(vectors, classes, ("one",) * 48) is None


def test_classes_depend_on_the_task() -> None:
    assert label_classes(toy(), MOSI)[1] == ("negative", "positive")
    classes, names = label_classes(toy(REGRESSION), REGRESSION)
    assert names == ("below 4", "above 4")
    assert np.bincount(classes).tolist() == [20, 20]
    emotions = toy(EMOTIONS)
    emotions.labels[0] = 1
    assert label_classes(emotions, EMOTIONS)[0][:3].tolist() == [-1, 1, 2]


@pytest.mark.parametrize("task", [MOSI, REGRESSION, EMOTIONS], ids=lambda task: task.kind)
def test_every_available_subset_is_projected(task: Task) -> None:
    samples: dict[Subset, int] = {}

    def represent(split: Split, subset: Subset) -> NDArray[np.float32]:
        samples[subset] = len(split)
        return np.random.default_rng(len(split)).normal(size=(len(split), 3)).astype(np.float32)

    figure = project_subsets(represent, toy(task), task)
    assert samples == {Subset.LA: COUNT, Subset.L: COUNT, Subset.A: COUNT // 2}
    assert list(figure.neighbor_accuracy) == ["la", "l", "a"]
    assert figure.svg.count("t-SNE 1 (no unit)") == 3
    assert "Always choosing the largest class gives" in " ".join(figure.notes)


def test_equal_representations_are_not_shown() -> None:
    figure = project_subsets(lambda split, _subset: np.ones((len(split), 3), np.float32), toy(), MOSI)
    assert figure.svg == ""
    assert "la is not shown: fewer than 10 distinct representations." in figure.notes


def test_streams_are_projected_for_samples_that_have_them() -> None:
    streams = {name: two_clouds() for name in ("language", "audio", "hyper-modality")}
    figure = project_streams(streams, toy(), MOSI)
    assert ">hyper-modality</text>" in figure.svg
    assert ">vision</text>" not in figure.svg
    assert set(figure.neighbor_accuracy) == set(streams)
    few = project_streams({name: vectors[:5] for name, vectors in streams.items()}, toy().select(np.arange(5)), MOSI)
    assert few.svg == ""
    assert "fewer than 10 distinct vectors" in few.notes[0]


def test_points_without_labels_have_no_color() -> None:
    split = toy()
    split.labels[3] = np.nan
    assert label_coloring(split, MOSI).values is None
    assert label_coloring(split, MOSI).classes is None
