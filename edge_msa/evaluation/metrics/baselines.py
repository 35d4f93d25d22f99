"""Metrics of two constant predictions, the baselines of every table."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from edge_msa.data.dataset import FloatArray
from edge_msa.data.labels import class_shares
from edge_msa.data.tasks import Task
from edge_msa.evaluation.metrics.families import measure
from edge_msa.evaluation.metrics.names import describe
from edge_msa.evaluation.metrics.scores import equal_weights, mean_absolute_error

MEDIAN = "median"
CLASS_PRIOR = "class_prior"
BEST_CONSTANT = "best_constant"
FROM_TRAINING = frozenset({MEDIAN, CLASS_PRIOR})
"""Baselines that are computed from the training labels."""

_MOSI_CLASSES = np.arange(-3.0, 4.0, dtype=np.float32)


def measure_constants(
    task: Task, constants: Mapping[str, FloatArray], labels: FloatArray
) -> dict[str, dict[str, float]]:
    """Return the metrics of constants of `baseline_constants` (MAE on the test split of MOSI: 1.456 and 1.411).

    Raises:
        EdgeMsaError: The labels are empty, not finite, or of the wrong shape.
    """
    return {
        name: measure(task, labels, constant_predictions(task, value, len(labels))) for name, value in constants.items()
    }


def baseline_constants(task: Task, train_labels: ArrayLike, labels: ArrayLike) -> dict[str, FloatArray]:
    """Return the constants: (1,) for a score, (E,) logits of ±1 for emotions, (K,) logits for classes.

    `median`: the median of the training labels, which a model that learns nothing but minimizes MAE predicts. For each
    emotion, the majority of the training labels.

    `best_constant`: the best constant for the evaluated labels themselves. Nobody could know it in advance, so it is a
    stricter baseline. For MOSI, the whole number from -3 to 3 with the lowest MAE (-1 on the test split). Only whole
    numbers are considered, because the literature predicts the seven classes of Acc-7. For SIMS and plain regression,
    the median, which has the lowest MAE of all constants. For each emotion, the majority, which has the highest
    accuracy and weighted F1 of all constants.

    Classes have `class_prior` in place of the median: the most frequent class of the training labels, with the
    frequencies of the classes as probabilities. `best_constant` is the same for the evaluated labels.
    """
    if task.kind == "classes":
        return {
            CLASS_PRIOR: np.log(class_shares(train_labels, task)),
            BEST_CONSTANT: np.log(class_shares(labels, task)),
        }
    return {
        MEDIAN: _median(task, np.asarray(train_labels, dtype=np.float32)),
        BEST_CONSTANT: _best_constant(task, np.asarray(labels, dtype=np.float32)),
    }


def constant_predictions(task: Task, constant: FloatArray, samples: int) -> FloatArray:
    """Return the constant as the prediction for every sample: scores (samples,) or logits (samples, outputs)."""
    predictions = np.repeat(constant[None], samples, axis=0)
    return predictions[:, 0] if task.is_score else predictions


def better_baseline(values: Mapping[str, float], metric: str) -> str:
    """Return the name of the better baseline, given each one's value of a metric. On a tie it is the last one."""
    sign = 1.0 if describe(metric).higher_is_better else -1.0
    return max(reversed(list(values)), key=lambda name: sign * values[name])


def describe_constant(constant: Sequence[float], metrics: Collection[str]) -> str:
    """Return a constant as text: the score, the emotions that it predicts, or the class that it predicts.

    Args:
        constant: A value of `baseline_constants`.
        metrics: Keys of its metrics, which contain the names of the emotions or classes.
    """
    is_classes = "weighted_f1" in metrics
    names = [
        key.removeprefix("f1_") for key in metrics if key.startswith("f1_") and (is_classes or key != "f1_average")
    ]
    if is_classes and len(names) == len(constant):
        return names[int(np.argmax(constant))]
    if len(names) != len(constant) or "f1_average" not in metrics:
        return ", ".join(f"{value:.3g}" for value in constant)
    return ", ".join(name for name, logit in zip(names, constant, strict=True) if logit > 0) or "no emotion"


def _best_constant(task: Task, labels: FloatArray) -> FloatArray:
    if task.kind != "mosi":
        return _median(task, labels)
    weights = equal_weights(len(labels))
    errors = [float(mean_absolute_error(labels, np.full_like(labels, score), weights)[0]) for score in _MOSI_CLASSES]
    return _MOSI_CLASSES[[int(np.argmin(errors))]]


def _median(task: Task, labels: FloatArray) -> FloatArray:
    median = np.atleast_1d(np.median(labels, axis=0)).astype(np.float32)
    return median if task.is_score else np.where(median > 0.5, np.float32(1), np.float32(-1))
