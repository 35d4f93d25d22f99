"""Subsets of modalities that a split has, and those whose predictions have signal."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edge_msa.data.dataset import Split
from edge_msa.data.tasks import Task
from edge_msa.evaluation.evaluate import Predict
from edge_msa.evaluation.metrics import carries_signal
from edge_msa_runtime.modalities import Subset, subsets_of


def available_subsets(split: Split) -> Iterator[tuple[Subset, np.ndarray[tuple[int], np.dtype[np.int64]]]]:
    """Yield each subset of the modalities that a split has, and the rows of the samples with a valid frame of it."""
    present = {name: frames.valid.any(axis=1) for name, frames in split.modalities.items() if frames.valid.any()}
    for subset in subsets_of(present):
        yield subset, np.flatnonzero(np.any([present[name] for name in subset.modalities], axis=0))


def subsets_with_signal(task: Task, split: Split, predict: Predict) -> Iterator[str]:
    """Yield the names of the subsets whose predictions have signal about the labels."""
    for subset, rows in available_subsets(split):
        part = split.select(rows)
        if carries_signal(task, part.labels, predict(part, subset), part.groups):
            yield subset.value
