"""What a predictor that never attention maps at its input reaches: the two baselines of every table."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import ArrayLike

from edge_msa.data.dataset import FloatArray
from edge_msa.data.tasks import Task
from edge_msa.evaluation.metrics.families import measure
from edge_msa.evaluation.metrics.scores import mean_absolute_error

MEDIAN = "learned_nothing"
BEST_CONSTANT = "best_constant"

_MOSI_CLASSES = np.arange(-3.0, 4.0, dtype=np.float32)


def baselines(task: Task, train_labels: ArrayLike, truth: ArrayLike) -> dict[str, dict[str, float]]:
    """Metrics of both constant predictors of `baseline_constants` on this truth (MOSI test: 1.456 and 1.411 MAE).

    Raises:
        EdgeMsaError: the truth is empty, not finite, or not of the task's shape.
    """
    labels = np.asarray(truth, dtype=np.float32)
    constants = baseline_constants(task, train_labels, labels)
    return {
        name: measure(task, labels, constant_predictions(task, value, len(labels))) for name, value in constants.items()
    }


def baseline_constants(task: Task, train_labels: ArrayLike, truth: ArrayLike) -> dict[str, FloatArray]:
    """The constants themselves, (1,) for a score, (E,) logits of ±1 for emotions.

    `learned_nothing`: the training median, which is what a model that minimizes MAE falls back to; for emotions the
    training majority, present or absent, of each.

    `best_constant`: chosen with this split's own labels, so nobody could have known it: a sterner baseline, not a
    result. MOSI-like: the whole number of Acc-7's seven classes with the lowest MAE (MOSI test: -1; among whole
    numbers only, because the field predicts classes). SIMS-like and plain regression: the split's median, which no
    constant's MAE beats. Emotions: the split's majority of each, whose accuracy and weighted F1 no constant beats.
    """
    return {
        MEDIAN: _middle(task, np.asarray(train_labels, dtype=np.float32)),
        BEST_CONSTANT: _best(task, np.asarray(truth, dtype=np.float32)),
    }


def constant_predictions(task: Task, constant: FloatArray, samples: int) -> FloatArray:
    """The same prediction for every sample: (samples,) scores, or (samples, E) logits."""
    predictions = np.repeat(constant[None], samples, axis=0)
    return predictions[:, 0] if task.is_score else predictions


def describe_constant(constant: Sequence[float], metrics: Collection[str]) -> str:
    """A constant in words: the score, or the emotions that it says are present.

    Args:
        constant: as `baseline_constants` gives it.
        metrics: keys of what it was measured by, which name the emotions.
    """
    emotions = [key.removeprefix("f1_") for key in metrics if key.startswith("f1_") and key != "f1_average"]
    if len(emotions) != len(constant) or "f1_average" not in metrics:
        return ", ".join(f"{value:.3g}" for value in constant)
    return ", ".join(name for name, logit in zip(emotions, constant, strict=True) if logit > 0) or "no emotion"


def _best(task: Task, truth: FloatArray) -> FloatArray:
    if task.kind != "mosi":
        return _middle(task, truth)
    errors = [mean_absolute_error(truth, np.full_like(truth, score)) for score in _MOSI_CLASSES]
    return _MOSI_CLASSES[[int(np.argmin(errors))]]


def _middle(task: Task, labels: FloatArray) -> FloatArray:
    median = np.atleast_1d(np.median(labels, axis=0)).astype(np.float32)
    return median if task.is_score else np.where(median > 0.5, np.float32(1), np.float32(-1))
