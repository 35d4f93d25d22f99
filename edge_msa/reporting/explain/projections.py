"""t-SNE projections of representations, with a nearest-neighbor accuracy in the original space."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import Split
from edge_msa.data.tasks import Task
from edge_msa.reporting.explain.projection_plots import (
    Classes,
    Coloring,
    Plane,
    ProjectionPanel,
    projections_plot,
    streams_plot,
)
from edge_msa.reporting.explain.removal import lacks_subset
from edge_msa.reporting.explain.samples import has_modality
from edge_msa_runtime.modalities import MODALITIES, Subset

MIN_VECTORS = 10
"""Number of distinct vectors that a projection needs. With fewer, it shows only artifacts of the method."""
NEIGHBORS = 9

Represent = Callable[[Split, Subset], NDArray[np.float32]]
"""Return the joint representations (N, width) of a split's samples from a subset."""


@dataclass(frozen=True)
class ProjectionFigure:
    """Projections as one figure.

    Attributes:
        svg: The figure, "" if there is none.
        notes: Sentences about the figure.
        neighbor_accuracy: Nearest-neighbor accuracy by projection.
    """

    svg: str
    notes: tuple[str, ...]
    neighbor_accuracy: Mapping[str, float]


def project(vectors: NDArray[np.float32], kinds: int = 1, seed: int = 0) -> Plane | None:
    """Return the t-SNE projection (van der Maaten and Hinton 2008) of vectors, or None if too few are distinct.

    Equal vectors give equal projections: t-SNE starts from the principal components and runs on one thread.

    Args:
        vectors: (N, width).
        kinds: Number of kinds of vectors. The perplexity is 30, or a third of the number of vectors of one kind.
        seed: Seed of t-SNE.

    Returns:
        Positions, (N, 2).
    """
    if len(vectors) < MIN_VECTORS * kinds or len(np.unique(vectors.round(6), axis=0)) < MIN_VECTORS:
        return None
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    perplexity = min(30.0, (len(vectors) / kinds - 1) / 3)
    scaled = (vectors - vectors.mean(axis=0)) / max(float(vectors.std()), 1e-12)
    with threadpool_limits(1):
        method = TSNE(perplexity=perplexity, init="pca", learning_rate="auto", random_state=seed)
        return np.asarray(method.fit_transform(scaled), np.float32)


def label_classes(split: Split, task: Task) -> tuple[Classes, tuple[str, ...]]:
    """Return a class per sample, (N,), -1 for none, and the names of the classes.

    Scores are below or above the neutral score. For emotions and one-hot classes, it is the only one that is
    present.
    """
    if not task.is_score:
        is_single = split.labels.sum(axis=1) == 1
        return np.where(is_single, split.labels.argmax(axis=1), -1).astype(np.int64), task.labels
    neutral = _neutral_score(split, task)
    names = ("negative", "positive") if task.low is not None else (f"below {neutral:g}", f"above {neutral:g}")
    classes = np.where(split.labels > neutral, 1, np.where(split.labels < neutral, 0, -1))
    return classes.astype(np.int64), names


def nearest_neighbor_accuracy(
    vectors: NDArray[np.float32], classes: Classes, groups: Sequence[str]
) -> tuple[float, float] | None:
    """Return how often the majority of the nearest neighbors has a sample's class, and the share of the largest class.

    Samples without a class are ignored. The neighbors are the nearest `NEIGHBORS` samples of other videos, because
    samples of one video share a speaker and often a label.

    Args:
        vectors: Representations, (N, width).
        classes: Class of each sample, (N,), -1 for none.
        groups: Video of each sample.

    Returns:
        Two shares from 0 to 1, or None if there are too few samples or only one class.
    """
    has_class = classes >= 0
    videos = np.unique(np.asarray(groups), return_inverse=True)[1][has_class]
    known, points = classes[has_class], vectors[has_class].astype(np.float64)
    counts = np.bincount(known, minlength=1)
    if len(known) - np.bincount(videos, minlength=1).max() < NEIGHBORS or (counts > 0).sum() < 2:
        return None
    square = (points**2).sum(axis=1)
    distance = square[:, None] + square - 2 * points @ points.T
    distance[videos[:, None] == videos] = np.inf
    nearest = known[np.argsort(distance, axis=1, kind="stable")[:, :NEIGHBORS]]
    votes = np.stack([(nearest == number).sum(axis=1) for number in range(len(counts))], axis=1)
    return float((votes.argmax(axis=1) == known).mean()), float(counts.max() / len(known))


def project_subsets(represent: Represent, split: Split, task: Task) -> ProjectionFigure:
    """Project the joint representation from each subset that the split has, the largest subset first."""
    coloring, (classes, class_names) = label_coloring(split, task), label_classes(split, task)
    panels, notes, accuracies, largest_class = [], [], {}, 0.0
    for subset in sorted(Subset, key=lambda item: -len(item.value)):
        rows = np.flatnonzero(~lacks_subset(split, subset))
        if not len(rows) or not all(has_modality(split, name).any() for name in subset.modalities):
            continue
        selected = split.select(rows)
        vectors = represent(selected, subset)
        plane = project(vectors)
        if plane is None:
            notes.append(f"{subset.value} is not shown: fewer than {MIN_VECTORS} distinct representations.")
            continue
        accuracy = nearest_neighbor_accuracy(vectors, classes[rows], selected.groups)
        if accuracy is not None:
            accuracies[subset.value], largest_class = accuracy[0], max(largest_class, accuracy[1])
        title = subset.value if accuracy is None else f"{subset.value}: {100 * accuracy[0]:.0f} %"
        panels.append(ProjectionPanel(title, plane, coloring.select(rows)))
    if not panels:
        return ProjectionFigure("", tuple(notes), {})
    if accuracies:
        notes.insert(0, _accuracy_note(class_names, largest_class))
    notes.insert(
        0,
        "Each projection is computed separately. Compare how well the colors are separated, not the positions. "
        "Subsets: l language, a audio, v vision.",
    )
    svg = projections_plot(panels, "joint", "t-SNE of the joint representation by subset")
    return ProjectionFigure(svg, tuple(notes), accuracies)


def project_streams(streams: Mapping[str, NDArray[np.float32]], split: Split, task: Task) -> ProjectionFigure:
    """Project ALMT's hyper-modality and modalities together. Each modality is shown for the samples that have it.

    Args:
        streams: Mean tokens (N, width) by modality, and of `hyper-modality`.
        split: The N samples.
        task: The task of the labels.
    """
    coloring, (classes, class_names) = label_coloring(split, task), label_classes(split, task)
    has = {name: has_modality(split, name) if name in MODALITIES else np.ones(len(split), np.bool_) for name in streams}
    rows_of = {name: np.flatnonzero(mask) for name, mask in has.items() if mask.any()}
    plane = project(np.concatenate([streams[name][rows] for name, rows in rows_of.items()]), len(rows_of))
    if plane is None:
        return ProjectionFigure("", (f"The streams have fewer than {MIN_VECTORS} distinct vectors.",), {})
    ends = np.cumsum([len(rows) for rows in rows_of.values()])
    planes = dict(zip(rows_of, np.split(plane, ends[:-1]), strict=True))
    results = {
        name: nearest_neighbor_accuracy(streams[name][rows], classes[rows], split.select(rows).groups)
        for name, rows in rows_of.items()
    }
    known = {name: result for name, result in results.items() if result is not None}
    accuracies = {name: accuracy for name, (accuracy, _) in known.items()}
    notes = []
    if known:
        largest_class = max(share for _, share in known.values())
        by_stream = ", ".join(f"{name} {100 * accuracy:.0f} %" for name, accuracy in accuracies.items())
        notes.append(f"By stream: {by_stream}. {_accuracy_note(class_names, largest_class)}")
    svg = streams_plot(planes, {name: coloring.select(rows) for name, rows in rows_of.items()})
    return ProjectionFigure(svg, tuple(notes), accuracies)


def label_coloring(split: Split, task: Task) -> Coloring:
    """Return how the labels of a split determine colors."""
    if not np.isfinite(split.labels).all():
        return Coloring()
    if not task.is_score:
        classes, names = label_classes(split, task)
        return Coloring(classes=classes, names=names)
    neutral = _neutral_score(split, task)
    reach = max(abs(task.low or 0.0), abs(task.high or 0.0)) or float(np.abs(split.labels - neutral).max())
    return Coloring(split.labels, neutral, reach or 1.0)


def _neutral_score(split: Split, task: Task) -> float:
    """Return 0 if the sign of a score has a meaning, else the median label."""
    labels = split.labels[np.isfinite(split.labels)]
    return 0.0 if task.low is not None or not len(labels) else float(np.median(labels))


def _accuracy_note(class_names: tuple[str, ...], largest_class: float) -> str:
    return (
        f"Percentages are nearest-neighbor accuracies in the original space: how often most of the {NEIGHBORS} nearest "
        f"samples of other videos have the same class ({' or '.join(class_names)}). "
        f"Always choosing the largest class gives {100 * largest_class:.0f} %."
    )
