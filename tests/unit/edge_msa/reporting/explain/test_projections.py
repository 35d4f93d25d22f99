from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_msa.data.dataset import Frames, Split
from edge_msa.data.tasks import EMOTIONS, MOSI, REGRESSION, Task
from edge_msa.reporting.explain.projection_section import colouring_of, stream_maps, subset_maps
from edge_msa.reporting.explain.projections import classes_of, neighbor_share, plane_of
from edge_msa_runtime.modalities import Subset

COUNT = 40


def toy(task: Task = MOSI) -> Split:
    """Audio is in every second sample, vision in none."""
    labels = np.eye(4)[np.arange(COUNT) % 4] if not task.is_score else np.linspace(-2.9, 2.9, COUNT)
    if task.kind == "regression":
        labels = labels + 4
    there = {"language": np.ones((COUNT, 1), np.bool_), "audio": (np.arange(COUNT) % 2 == 0)[:, None]}
    frames = {name: Frames(mask, np.ones((COUNT, 1, 2), np.float32)) for name, mask in there.items()}
    ids = tuple(map(str, range(COUNT)))
    return Split(ids, ids, labels.astype(np.float32), frames)


def two_clouds() -> NDArray[np.float32]:
    vectors = np.random.default_rng(0).normal(size=(COUNT, 5))
    vectors[:, 0] += 20.0 * (np.arange(COUNT) >= COUNT // 2)
    return vectors.astype(np.float32)


def test_a_map_is_the_same_every_time_and_keeps_clouds_apart() -> None:
    first, second = plane_of(two_clouds()), plane_of(two_clouds())
    assert first is not None
    assert second is not None
    assert first.tobytes() == second.tobytes()
    half = COUNT // 2
    share = neighbor_share(first, (np.arange(COUNT) >= half).astype(np.int64), toy().groups)
    assert share is not None
    assert share[0] == 1.0


@pytest.mark.parametrize("vectors", [np.ones((COUNT, 3)), np.eye(9), np.tile(np.eye(5), (8, 1))])
def test_too_few_different_vectors_make_no_map(vectors: NDArray[np.float64]) -> None:
    assert plane_of(vectors.astype(np.float32)) is None


def test_neighbours_are_counted_without_the_sample_itself() -> None:
    far = np.arange(20, dtype=np.float32)[:, None] * np.ones(2, np.float32)
    alternating = (np.arange(20) % 2).astype(np.int64)
    alone = tuple(map(str, range(20)))
    share = neighbor_share(far, alternating, alone)
    assert share is not None
    assert share[0] < 0.5  # of its nine nearest, five are of the other class
    assert share[1] == 0.5
    assert neighbor_share(far, np.zeros(20, np.int64), alone) is None
    assert neighbor_share(far[:5], alternating[:5], alone[:5]) is None


def test_neighbours_of_ones_own_video_do_not_count() -> None:
    vectors = np.repeat(np.arange(4, dtype=np.float32), 12)[:, None] * np.ones(2, np.float32)
    videos = tuple(map(str, np.repeat(np.arange(4), 12)))  # every video in a place, and of a class, of its own
    classes = np.repeat([0, 1, 0, 1], 12).astype(np.int64)
    assert neighbor_share(vectors, classes, videos) == (0.0, 0.5)
    alone = neighbor_share(vectors, classes, tuple(map(str, range(48))))
    assert alone is not None
    assert alone[0] == 1.0
    assert neighbor_share(vectors, classes, ("one",) * 48) is None


def test_classes_follow_the_task() -> None:
    assert classes_of(toy(), MOSI)[1] == ("negative", "positive")
    classes, names = classes_of(toy(REGRESSION), REGRESSION)
    assert names == ("below 4", "above 4")
    assert np.bincount(classes).tolist() == [20, 20]
    both = toy(EMOTIONS)
    both.labels[0] = 1
    assert classes_of(both, EMOTIONS)[0][:3].tolist() == [-1, 1, 2]


@pytest.mark.parametrize("task", [MOSI, REGRESSION, EMOTIONS], ids=lambda task: task.kind)
def test_every_subset_that_the_split_has_is_mapped_from_the_samples_that_can_be_read(task: Task) -> None:
    asked: dict[Subset, int] = {}

    def represent(split: Split, subset: Subset) -> NDArray[np.float32]:
        asked[subset] = len(split)
        return np.random.default_rng(len(split)).normal(size=(len(split), 3)).astype(np.float32)

    maps = subset_maps(represent, toy(task), task)
    assert asked == {Subset.LA: COUNT, Subset.L: COUNT, Subset.A: COUNT // 2}
    assert list(maps.shares) == ["la", "l", "a"]
    assert maps.svg.count("t-SNE 1 (no unit)") == 3
    assert "always naming the larger class" in " ".join(maps.notes)


def test_representations_that_do_not_differ_are_left_out_and_said() -> None:
    maps = subset_maps(lambda split, _subset: np.ones((len(split), 3), np.float32), toy(), MOSI)
    assert maps.svg == ""
    assert "la is left out: of 40 samples fewer than 10 read differently." in maps.notes


def test_streams_are_mapped_with_the_samples_that_have_them() -> None:
    streams = {name: two_clouds() for name in ("language", "audio", "hyper-modality")}
    maps = stream_maps(streams, toy(), MOSI)
    assert ">hyper-modality</text>" in maps.svg
    assert ">vision</text>" not in maps.svg
    assert set(maps.shares) == set(streams)
    few = stream_maps({name: vectors[:5] for name, vectors in streams.items()}, toy().select(np.arange(5)), MOSI)
    assert few.svg == ""
    assert "left out" in few.notes[0]


def test_points_without_labels_are_grey() -> None:
    split = toy()
    split.labels[3] = np.nan
    assert colouring_of(split, MOSI).values is None
    assert colouring_of(split, MOSI).classes is None
