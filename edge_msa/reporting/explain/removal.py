"""What removing a modality does to a prediction: by sample, and over a split beside its noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edge_msa.data.dataset import BoolArray, FloatArray, Split
from edge_msa.data.tasks import Task
from edge_msa.evaluation.evaluate import Predict
from edge_msa.evaluation.metrics import Interval, mean_interval
from edge_msa.reporting.explain.samples import present
from edge_msa_runtime.modalities import MODALITIES, Subset

Predictions = Mapping[Subset, FloatArray]
"""(N, outputs) from each subset: scores, or probabilities of emotions."""


@dataclass(frozen=True)
class Removal:
    """One modality taken from the `samples` that have it.

    `change` is the mean absolute change of the prediction. `error` and `error_without` are mean absolute distances from
    the label, in the prediction's unit, and `worse` their difference; None where there are no labels. Over emotions, all
    are means over emotions of probabilities.
    """

    modality: str
    samples: int
    change: Interval
    error: float | None = None
    error_without: float | None = None
    worse: Interval | None = None


def predictions_of(predict: Predict, split: Split, task: Task) -> dict[Subset, FloatArray]:
    """Every sample read from each subset; what it lacks is missing, and with nothing left it is read from nothing."""
    found = {subset: np.asarray(predict(split, subset), np.float32).reshape(len(split), -1) for subset in Subset}
    return found if task.is_score else {subset: _probability(logits) for subset, logits in found.items()}


def without(modality: str) -> Subset:
    """All modalities but that one."""
    return Subset.of(name for name in MODALITIES if name != modality)


def removals(predictions: Predictions, split: Split) -> list[Removal]:
    """Each modality that any sample of the split has, taken from those samples."""
    return [_removal(predictions, split, name, rows) for name in MODALITIES if (rows := present(split, name)).any()]


def nothing_left(split: Split, subset: Subset) -> BoolArray:
    """Which samples have no valid frame in that subset, (N,)."""
    left: BoolArray = np.zeros(len(split), np.bool_)
    for name in subset.modalities:
        left |= present(split, name)
    return ~left


def _removal(predictions: Predictions, split: Split, modality: str, rows: BoolArray) -> Removal:
    groups = [group for group, has in zip(split.groups, rows, strict=True) if has]
    whole, rest = predictions[Subset.LAV][rows], predictions[without(modality)][rows]
    change = mean_interval(np.abs(rest - whole).mean(axis=1), groups)
    labels = split.labels[rows].reshape(len(whole), -1)
    if not np.isfinite(labels).all():
        return Removal(modality, len(whole), change)
    before, after = (np.abs(prediction - labels).mean(axis=1) for prediction in (whole, rest))
    worse = mean_interval(after - before, groups)
    return Removal(modality, len(whole), change, float(before.mean()), float(after.mean()), worse)


def _probability(logits: FloatArray) -> FloatArray:
    """The logistic function without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits)), np.float32)
