"""Metrics of plain arrays, for many weightings of the samples at once.

The arguments are always (truth, prediction, weights). `weights` has shape (R, N): R weightings of the N samples, e.g.
how often each resample of a bootstrap contains each sample. The result has shape (R,).

Undefined values are 0.0, as with `zero_division=0` in scikit-learn: the correlation with a constant, or the accuracy
without samples. All values are therefore finite and can be written as JSON.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Weights = NDArray[np.float64]
Values = NDArray[np.float64]

# A deviation below this share of the largest value is float32 rounding, so its correlation with anything is noise.
_ROUNDING = 1e-6


def equal_weights(samples: int) -> Weights:
    """Return one weighting, (1, N), in which every sample counts once."""
    return np.ones((1, samples))


def mean_absolute_error(truth: Array, prediction: Array, weights: Weights) -> Values:
    """Return the mean of |prediction - truth| over samples, in the unit of the labels."""
    return _mean(np.abs(_float64(prediction) - _float64(truth)), weights)


def root_mean_square_error(truth: Array, prediction: Array, weights: Weights) -> Values:
    """Return the root of the mean squared error, in the unit of the labels."""
    return np.asarray(np.sqrt(_mean(np.square(_float64(prediction) - _float64(truth)), weights)))


def correlation(truth: Array, prediction: Array, weights: Weights) -> Values:
    """Return Pearson's r in [-1, 1]; 0.0 if either side is constant up to float32 rounding."""
    first, second = _float64(truth), _float64(prediction)
    constant = _is_constant(first, weights) | _is_constant(second, weights)
    first, second = first - _average(first), second - _average(second)
    means = _mean(first, weights), _mean(second, weights)
    covariance = _mean(first * second, weights) - means[0] * means[1]
    product = np.sqrt(_variance(first, weights) * _variance(second, weights))
    return np.where(constant, 0.0, np.clip(covariance / np.where(constant, 1.0, product), -1.0, 1.0))


def determination(truth: Array, prediction: Array, weights: Weights) -> Values:
    """Return R², 1 - mean squared error / variance of the truth, at most 1; 0.0 if the truth is constant."""
    target = _float64(truth)
    constant = _is_constant(target, weights)
    variance = np.where(constant, 1.0, _variance(target - _average(target), weights))
    return np.where(constant, 0.0, 1.0 - _mean(np.square(_float64(prediction) - target), weights) / variance)


def accuracy(truth: Array, prediction: Array, weights: Weights) -> Values:
    """Return the share of equal classes in [0, 1]; 0.0 without samples."""
    return _mean(_float64(truth == prediction), weights)


def weighted_f1(truth: Array, prediction: Array, weights: Weights) -> Values:
    """Return the F1 of each class in the truth, weighted by its number of samples, in [0, 1]; 0.0 without samples.

    Equals `sklearn.metrics.f1_score(truth, prediction, average="weighted")`. The order of the arguments matters: with
    swapped arguments, a constant prediction of accuracy a gets 2a/(1+a).
    """
    total = np.zeros(len(weights))
    for label in np.unique(truth):
        actual, predicted = _float64(truth == label), _float64(prediction == label)
        both, in_truth, in_prediction = (weights @ np.stack([actual * predicted, actual, predicted], axis=1)).T
        total += in_truth * _ratio(2.0 * both, in_truth + in_prediction)
    return _ratio(total, weights.sum(axis=1))


def macro_f1(truth: Array, prediction: Array, weights: Weights) -> Values:
    """Return the mean F1 of the classes that occur in truth or prediction, in [0, 1]; 0.0 without samples.

    Equals `sklearn.metrics.f1_score(truth, prediction, average="macro")`. In a resample, a class that it does not
    contain does not count.
    """
    total, classes = np.zeros(len(weights)), np.zeros(len(weights))
    for label in np.union1d(truth, prediction):
        actual, predicted = _float64(truth == label), _float64(prediction == label)
        both, in_truth, in_prediction = (weights @ np.stack([actual * predicted, actual, predicted], axis=1)).T
        total += _ratio(2.0 * both, in_truth + in_prediction)
        classes += in_truth + in_prediction > 0
    return _ratio(total, classes)


def f1(truth: Array, prediction: Array, weights: Weights) -> Values:
    """Return the F1 of one class, (R,), from booleans (N,): whether samples are of the class; 0.0 if none is."""
    both = weights @ _float64(truth & prediction)
    return _ratio(2.0 * both, weights @ _float64(truth) + weights @ _float64(prediction))


def precision(truth: Array, prediction: Array, weights: Weights) -> Values:
    """Return the share of the predicted samples that are of the class, (R,), from booleans; 0.0 if none is."""
    return _ratio(weights @ _float64(truth & prediction), weights @ _float64(prediction))


def recall(truth: Array, prediction: Array, weights: Weights) -> Values:
    """Return the share of the samples of the class that are predicted, (R,), from booleans; 0.0 if none is."""
    return _ratio(weights @ _float64(truth & prediction), weights @ _float64(truth))


def is_constant(values: Array) -> bool:
    """Return whether the values of a one-dimensional array are equal up to float32 rounding."""
    return bool(_is_constant(_float64(values), equal_weights(len(values)))[0])


def _is_constant(values: Values, weights: Weights) -> NDArray[np.bool_]:
    if not values.size:
        return np.ones(len(weights), dtype=np.bool_)
    limit = _ROUNDING * max(1.0, float(np.abs(values).max()))
    return _variance(values - _average(values), weights) <= limit**2


def _variance(centered: Values, weights: Weights) -> Values:
    """Return the variance, (R,). The values must be centered, so that the difference of the squares is accurate."""
    return np.maximum(_mean(np.square(centered), weights) - np.square(_mean(centered, weights)), 0.0)


def _mean(values: Values, weights: Weights) -> Values:
    return _ratio(weights @ values, weights.sum(axis=1))


def _ratio(numerator: Values, denominator: Values) -> Values:
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)


def _average(values: Values) -> float:
    return float(values.mean()) if values.size else 0.0


def _float64(values: Array) -> Values:
    return np.asarray(values, dtype=np.float64)
