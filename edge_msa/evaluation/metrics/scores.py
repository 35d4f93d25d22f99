"""Metrics of plain arrays. The arguments are always (truth, prediction).

Undefined values are 0.0, as with `zero_division=0` in scikit-learn: the correlation with a constant, or the accuracy
without samples. All values are therefore finite and can be written as JSON.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# A range below this share of the largest value is float32 rounding, so its correlation with anything is noise.
_ROUNDING = 1e-6


def mean_absolute_error(truth: Array, prediction: Array) -> float:
    """Return the mean of |prediction - truth| over samples, in the unit of the labels."""
    return float(np.abs(_float64(prediction) - _float64(truth)).mean())


def root_mean_square_error(truth: Array, prediction: Array) -> float:
    """Return the root of the mean squared error, in the unit of the labels."""
    return float(np.sqrt(np.square(_float64(prediction) - _float64(truth)).mean()))


def correlation(truth: Array, prediction: Array) -> float:
    """Return Pearson's r in [-1, 1]; 0.0 if either side is constant up to float32 rounding."""
    first, second = _float64(truth), _float64(prediction)
    if is_constant(first) or is_constant(second):
        return 0.0
    first, second = first - first.mean(), second - second.mean()
    product = float(np.sqrt((first @ first) * (second @ second)))
    return float(np.clip(first @ second / product, -1.0, 1.0))


def determination(truth: Array, prediction: Array) -> float:
    """Return R², 1 - squared error / variance of the truth, at most 1; 0.0 if the truth is constant."""
    target = _float64(truth)
    if is_constant(target):
        return 0.0
    residual = np.square(_float64(prediction) - target).sum()
    return float(1.0 - residual / np.square(target - target.mean()).sum())


def accuracy(truth: Array, prediction: Array) -> float:
    """Return the share of equal classes in [0, 1]; 0.0 without samples."""
    return float((truth == prediction).mean()) if len(truth) else 0.0


def weighted_f1(truth: Array, prediction: Array) -> float:
    """Return the F1 of each class in the truth, weighted by its number of samples, in [0, 1]; 0.0 without samples.

    Equals `sklearn.metrics.f1_score(truth, prediction, average="weighted")`. The order of the arguments matters: with
    swapped arguments, a constant prediction of accuracy a gets 2a/(1+a).
    """
    if not len(truth):
        return 0.0
    total = 0.0
    for label in np.unique(truth):
        actual, predicted = truth == label, prediction == label
        # The denominator counts all samples of this class, so it is never 0.
        f1 = 2.0 * float((actual & predicted).sum()) / float(actual.sum() + predicted.sum())
        total += f1 * float(actual.sum())
    return total / len(truth)


def is_constant(values: Array) -> bool:
    """Return whether the values of a one-dimensional array are equal up to float32 rounding."""
    values64 = _float64(values)
    return bool(np.ptp(values64) <= _ROUNDING * max(1.0, float(np.abs(values64).max())))


def _float64(values: Array) -> NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64)
