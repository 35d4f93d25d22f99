"""Vectors on a plane by t-SNE, and beside the picture a number from the vectors' own space."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import Split
from edge_msa.data.tasks import Task

FEWEST = 10
"""Distinct vectors that a map needs; of fewer it shows nothing but the method."""
NEIGHBORS = 9
Plane = NDArray[np.float32]
Classes = NDArray[np.int64]


def plane_of(vectors: NDArray[np.float32], kinds: int = 1, seed: int = 0) -> Plane | None:
    """t-SNE (van der Maaten and Hinton 2008) of (N, width) vectors, (N, 2); None where too few are distinct.

    `kinds`: how many kinds of vectors are in it; perplexity is 30, or a third of the vectors of one kind. The same
    vectors give the same map: started from their principal components, on one thread.
    """
    if len(vectors) < FEWEST * kinds or len(np.unique(vectors.round(6), axis=0)) < FEWEST:
        return None
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    perplexity = min(30.0, (len(vectors) / kinds - 1) / 3)
    scaled = (vectors - vectors.mean(axis=0)) / max(float(vectors.std()), 1e-12)
    with threadpool_limits(1):
        method = TSNE(perplexity=perplexity, init="pca", learning_rate="auto", random_state=seed)
        return np.asarray(method.fit_transform(scaled), np.float32)


def classes_of(split: Split, task: Task) -> tuple[Classes, tuple[str, ...]]:
    """A class for each sample, (N,), -1 for none, and the classes' names.

    Scores: below and above the `middle_of` the labels. Emotions: the only one that is present.
    """
    if not task.is_score:
        alone = split.labels.sum(axis=1) == 1
        return np.where(alone, split.labels.argmax(axis=1), -1).astype(np.int64), task.labels
    middle = middle_of(split, task)
    names = ("negative", "positive") if task.low is not None else (f"below {middle:g}", f"above {middle:g}")
    above = np.where(split.labels > middle, 1, np.where(split.labels < middle, 0, -1))
    return above.astype(np.int64), names


def middle_of(split: Split, task: Task) -> float:
    """What a score is neutral at: 0 where the task has a sign, else the labels' median."""
    labels = split.labels[np.isfinite(split.labels)]
    return 0.0 if task.low is not None or not len(labels) else float(np.median(labels))


def neighbor_share(vectors: NDArray[np.float32], classes: Classes, groups: Sequence[str]) -> tuple[float, float] | None:
    """How often the nearest others in the vectors' own space are mostly of a sample's class, and the largest class.

    Among the samples that have a class, by the majority of the nearest `NEIGHBORS` of other videos, for a video's
    samples share a speaker and often a label; both are shares. None where there are too few, or one class alone.
    """
    known = classes >= 0
    videos = np.unique(np.asarray(groups), return_inverse=True)[1][known]
    own, points = classes[known], vectors[known].astype(np.float64)
    counts = np.bincount(own, minlength=1)
    if len(own) - np.bincount(videos, minlength=1).max() < NEIGHBORS or (counts > 0).sum() < 2:
        return None
    square = (points**2).sum(axis=1)
    distance = square[:, None] + square - 2 * points @ points.T
    distance[videos[:, None] == videos] = np.inf
    nearest = own[np.argsort(distance, axis=1, kind="stable")[:, :NEIGHBORS]]
    votes = np.stack([(nearest == name).sum(axis=1) for name in range(len(counts))], axis=1)
    return float((votes.argmax(axis=1) == own).mean()), float(counts.max() / len(own))
