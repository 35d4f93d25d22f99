"""The subsets of modalities that a split has, and the subsets whose predictions have signal."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import FloatArray, Split
from edge_msa.data.tasks import Task
from edge_msa.evaluation.metrics import has_signal
from edge_msa_runtime.modalities import Subset, subsets_of

Predict = Callable[[Split, Subset], FloatArray]
"""Return the predictions for a split from a subset of its modalities: scores (n,) or logits (n, E)."""


def available_subsets(split: Split) -> Iterator[tuple[Subset, NDArray[np.int64]]]:
    """Yield each subset of the modalities that a split has, and the rows of its samples, see `sample_rows`."""
    for subset in subsets_of(name for name, frames in split.modalities.items() if frames.valid.any()):
        yield subset, sample_rows(split, subset)


def sample_rows(split: Split, subset: Subset) -> NDArray[np.int64]:
    """Return the rows of the samples with a valid frame of at least one modality of the subset, in ascending order."""
    names = [name for name in subset.modalities if name in split.modalities]
    return np.flatnonzero(np.any([split.modalities[name].valid.any(axis=1) for name in names], axis=0))


def subsets_with_signal(task: Task, split: Split, predict: Predict) -> Iterator[str]:
    """Yield the names of the subsets whose predictions have signal about the labels."""
    for subset, rows in available_subsets(split):
        part = split.select(rows)
        if has_signal(task, part.labels, predict(part, subset), part.groups):
            yield subset.value
