"""Bootstrap intervals over videos: samples of one video are not independent, so whole videos are resampled."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_msa.data.dataset import FloatArray
from edge_msa.data.labels import one_hot
from edge_msa.data.tasks import Task
from edge_msa.errors import EdgeMsaError
from edge_msa.evaluation.metrics.families import check_pair, metric_function
from edge_msa.evaluation.metrics.probabilities import log_softmax
from edge_msa.evaluation.metrics.scores import Values, Weights, correlation, equal_weights, is_constant
from edge_msa.evaluation.metrics.units import Unit, assign_units

RESAMPLES = 1000

_MAX_NUMBERS = 4_000_000
"""Weights that are held at once, in numbers of 8 bytes."""


@dataclass(frozen=True)
class Interval:
    """A value with its percentile bootstrap interval, 95 % unless stated otherwise."""

    value: float
    """The value on the samples themselves."""
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end of the interval."""
    unit: Unit
    """What was resampled. With too few videos, `samples`, so the interval is too narrow."""


def bootstrap_interval(
    task: Task,
    truth: ArrayLike,
    prediction: ArrayLike,
    groups: Sequence[str],
    seed: int = 0,
    *,
    metric: str | None = None,
    resamples: int = RESAMPLES,
) -> Interval:
    """Return the interval of one metric, by default the gate metric.

    Raises:
        EdgeMsaError: `measure` rejects the arrays, the metric is unknown, or the number of groups is wrong.
    """
    first, second = check_pair(task, truth, prediction)
    compute = metric_function(task, metric)
    return _interval(
        lambda weights: compute(first, second, weights),
        groups,
        samples=len(first),
        seed=seed,
        resamples=resamples,
    )


def mean_interval(values: ArrayLike, groups: Sequence[str], seed: int = 0, *, resamples: int = RESAMPLES) -> Interval:
    """Return the mean of one value per sample, (n,), with its interval.

    Raises:
        EdgeMsaError: There are no samples, or the number of groups is wrong.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if not numbers.size:
        raise EdgeMsaError("The values must have at least one sample, got none.")
    return _interval(
        lambda weights: weights @ numbers / weights.sum(axis=1),
        groups,
        samples=len(numbers),
        seed=seed,
        resamples=resamples,
    )


def simultaneous_mean_intervals(
    values: ArrayLike, groups: Sequence[str], seed: int = 0, *, resamples: int = RESAMPLES
) -> list[Interval]:
    """Return the mean of each column of (n, k) values, with simultaneous intervals.

    With a probability of 95 %, all k intervals contain their true means. The half width of an interval is the bootstrap
    standard deviation of its mean, times the 95 % quantile of the largest standardized deviation among all columns (the
    max-statistic of Westfall and Young 1993). Both are corrected for the number of videos, as a t-distribution is wider
    than a normal one. A column without variation has an interval of width 0.

    Raises:
        EdgeMsaError: The values have another shape or no samples, or the number of groups is wrong.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 2 or not numbers.size:
        raise EdgeMsaError(f"The values must have a non-empty shape (n, k), got {numbers.shape}.")
    if len(groups) != len(numbers):
        raise EdgeMsaError(f"groups must name the video of each of the {len(numbers)} samples, got {len(groups)}.")
    members, unit = assign_units(groups)
    means = []
    for counts in _draw_counts(members, seed, resamples):
        weights = counts[:, members]
        means.append(weights @ numbers / weights.sum(axis=1, keepdims=True))
    drawn, center = np.concatenate(means), numbers.mean(axis=0)
    deviation = drawn.std(axis=0)
    # Rounding leaves a tiny deviation in a constant column.
    varies = deviation > 1e-9 * np.abs(numbers).max(axis=0)
    largest = (np.abs(drawn - center)[:, varies] / deviation[varies]).max(axis=1, initial=0.0)
    freedom = int(members.max())  # the number of units, minus 1
    factor = _widen_quantile(float(np.quantile(largest, 0.95)), max(freedom, 1))
    half = np.where(varies, factor * math.sqrt((freedom + 1) / max(freedom, 1)) * deviation, 0.0)
    return [
        Interval(float(mean), float(mean - width), float(mean + width), unit)
        for mean, width in zip(center, half, strict=True)
    ]


def ratio_interval(
    values: ArrayLike, others: ArrayLike, groups: Sequence[str], seed: int = 0, *, resamples: int = RESAMPLES
) -> Interval:
    """Return the ratio of two means of one value per sample, (n,) each, with its interval.

    Raises:
        EdgeMsaError: The arrays differ in shape, there are no samples, or the number of groups is wrong.
    """
    first, second = np.asarray(values, dtype=np.float64), np.asarray(others, dtype=np.float64)
    if first.shape != second.shape or not first.size:
        raise EdgeMsaError(f"Both values must have the same non-empty shape, got {first.shape} and {second.shape}.")
    return _interval(
        lambda weights: (weights @ first) / (weights @ second),
        groups,
        samples=len(first),
        seed=seed,
        resamples=resamples,
    )


def has_signal(
    task: Task,
    truth: ArrayLike,
    prediction: ArrayLike,
    groups: Sequence[str],
    seed: int = 0,
    *,
    resamples: int = RESAMPLES,
) -> bool:
    """Return whether predictions from one subset contain information about the labels.

    They do if the lower end of the 90 % bootstrap interval of Corr is above 0. For emotions, Corr is the mean
    correlation of logits and labels; for classes, that of the probability of a class and whether a sample is of it.
    This test is one-sided, so noise passes in one of twenty cases. Unlike Acc-2, Corr needs no threshold: predictions
    with a constant bias still contain information. The accuracy gate compares accuracies only for subsets with signal.
    For the others, accuracy is chance, and `prediction_correlation` shows what changed.
    """
    labels, predictions = check_pair(task, truth, prediction)
    if task.kind == "classes":
        labels, predictions = one_hot(task, labels), np.exp(log_softmax(predictions)).astype(np.float32)

    def signal(weights: Weights) -> Values:
        pairs = zip(_columns(labels), _columns(predictions), strict=True)
        return np.asarray(np.mean([correlation(label, column, weights) for label, column in pairs], axis=0))

    return _interval(signal, groups, samples=len(labels), seed=seed, resamples=resamples, level=0.9).low > 0.0


def prediction_correlation(first: ArrayLike, second: ArrayLike) -> float:
    """Return Pearson's r of two models' predictions for the same samples, in [-1, 1], averaged over outputs.

    Use it for subsets without signal, where accuracies cannot be compared. Two constant predictions agree (1.0); a
    constant and a varying one do not (0.0).

    Raises:
        EdgeMsaError: Shapes differ, or there are no samples.
    """
    before, after = np.asarray(first, dtype=np.float32), np.asarray(second, dtype=np.float32)
    if before.shape != after.shape or not before.size:
        raise EdgeMsaError(
            f"Both predictions must have the same non-empty shape, got {before.shape} and {after.shape}."
        )
    weights = equal_weights(len(before))
    columns = zip(_columns(before), _columns(after), strict=True)
    return float(
        np.mean([1.0 if is_constant(a) and is_constant(b) else correlation(a, b, weights)[0] for a, b in columns])
    )


def _columns(values: FloatArray) -> FloatArray:
    return np.atleast_2d(values.T)


def _interval(
    statistic: Callable[[Weights], Values],
    groups: Sequence[str],
    *,
    samples: int,
    seed: int,
    resamples: int,
    level: float = 0.95,
) -> Interval:
    if len(groups) != samples:
        raise EdgeMsaError(f"groups must name the video of each of the {samples} samples, got {len(groups)}.")
    members, unit = assign_units(groups)
    values = np.concatenate([statistic(counts[:, members]) for counts in _draw_counts(members, seed, resamples)])
    low, high = np.quantile(values, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    value = float(statistic(equal_weights(samples))[0])
    return Interval(value, float(low), float(high), unit)


def _widen_quantile(quantile: float, freedom: int) -> float:
    """Return the quantile of a t-distribution at the level of a quantile of the normal distribution.

    The expansion is that of Abramowitz and Stegun, 26.7.5, to the second order.
    """
    first = (quantile**3 + quantile) / 4
    second = (5 * quantile**5 + 16 * quantile**3 + 3 * quantile) / 96
    return quantile + first / freedom + second / freedom**2


def _draw_counts(members: NDArray[np.int64], seed: int, resamples: int) -> Iterator[Weights]:
    """Yield how often each resample draws each unit, (R, units), in parts that fit into memory."""
    generator = np.random.default_rng(seed)
    units = int(members.max()) + 1
    part = max(1, _MAX_NUMBERS // len(members))
    for start in range(0, resamples, part):
        count = min(part, resamples - start)
        yield generator.multinomial(units, np.full(units, 1.0 / units), size=count).astype(np.float64)
