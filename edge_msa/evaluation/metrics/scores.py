"""Metrics of plain arrays, arguments always (truth, prediction).

What is undefined is 0.0, as in scikit-learn's `zero_division=0`: the correlation with a constant, the accuracy over no
sample. So every value is finite and can be written as JSON.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# Below this share of its own size a spread is float32 rounding, and its correlation with anything is noise.
_ROUNDING = 1e-6


def mean_absolute_error(truth: Array, prediction: Array) -> float:
    """Mean |prediction - truth| over samples, in the labels' unit."""
    return float(np.abs(_wide(prediction) - _wide(truth)).mean())


def root_mean_square_error(truth: Array, prediction: Array) -> float:
    """Root of the mean squared error, in the labels' unit."""
    return float(np.sqrt(np.square(_wide(prediction) - _wide(truth)).mean()))


def correlation(truth: Array, prediction: Array) -> float:
    """Pearson's r in [-1, 1]; 0.0 where either side is constant up to float32 rounding: a constant explains nothing."""
    first, second = _wide(truth), _wide(prediction)
    if is_constant(first) or is_constant(second):
        return 0.0
    first, second = first - first.mean(), second - second.mean()
    product = float(np.sqrt((first @ first) * (second @ second)))
    return float(np.clip(first @ second / product, -1.0, 1.0))


def determination(truth: Array, prediction: Array) -> float:
    """R squared, 1 - squared error / variance of the truth, at most 1; 0.0 where the truth is constant."""
    target = _wide(truth)
    if is_constant(target):
        return 0.0
    residual = np.square(_wide(prediction) - target).sum()
    return float(1.0 - residual / np.square(target - target.mean()).sum())


def accuracy(truth: Array, prediction: Array) -> float:
    """Share of equal classes in [0, 1]; 0.0 over no sample."""
    return float((truth == prediction).mean()) if len(truth) else 0.0


def weighted_f1(truth: Array, prediction: Array) -> float:
    """F1 of each class of the truth, averaged by its number of samples, in [0, 1]; 0.0 over no sample.

    Equals `sklearn.metrics.f1_score(truth, prediction, average="weighted")`. The arguments' order matters: swapped, a
    constant predictor gets 2a/(1+a) for its accuracy a (reference: metrics-and-formats).
    """
    if not len(truth):
        return 0.0
    total = 0.0
    for label in np.unique(truth):
        actual, found = truth == label, prediction == label
        # The denominator holds every sample of this class, so it is never 0.
        f1 = 2.0 * float((actual & found).sum()) / float(actual.sum() + found.sum())
        total += f1 * float(actual.sum())
    return total / len(truth)


def is_constant(values: Array) -> bool:
    """Whether the values, one dimension, are equal up to float32 rounding."""
    wide = _wide(values)
    return bool(np.ptp(wide) <= _ROUNDING * max(1.0, float(np.abs(wide).max())))


def _wide(values: Array) -> NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64)
