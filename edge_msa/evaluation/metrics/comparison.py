"""Test whether two methods differ, with an interval that covers the choice of seeds and the choice of videos.

Training a method with another seed gives another metric, and so does testing it on other videos. A bootstrap over
videos alone ignores the seeds, so it calls a method different from itself far too often. This module estimates the
variance of a difference of means over seeds from its parts:

- the variance between the seeds of a method, pooled over both methods and divided by the number of seeds;
- the part of the variance between videos that is not noise of single seeds. It comes from a jackknife: the metric is
  computed with each video left out once, for both methods on the same videos.

The second part subtracts what the first part already contains, as in a two-way analysis of variance (seeds x videos).
The interval uses Student's t with Satterthwaite's degrees of freedom, because five seeds are few.
`tests/unit/edge_msa/evaluation/metrics/test_comparison.py` simulates the error rates: for a method against itself, 3 to
6 % of 95 % intervals exclude 0. A t-test over seeds alone is wrong in about 20 % if the methods are good on different
videos.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_msa.data.tasks import Task
from edge_msa.errors import EdgeMsaError
from edge_msa.evaluation.metrics.families import check_pair, metric_function
from edge_msa.evaluation.metrics.names import describe
from edge_msa.evaluation.metrics.scores import equal_weights
from edge_msa.evaluation.metrics.units import Unit, Units, describe_unit

MIN_UNITS = 2
"""With fewer, the variance between units cannot be estimated."""

Contributions = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A metric of one training."""

    value: float
    """The metric, or its mean over conditions."""
    contributions: tuple[float, ...]
    """Effect of each unit on `value`. Their variance divided by their number is the variance of `value`."""
    unit: Unit
    """What the units are."""


@dataclass(frozen=True)
class Method:
    """The estimates of one method."""

    estimates: Sequence[Estimate]
    """One per seed."""
    depends_on_seed: bool = True
    """Whether another seed would change the predictions. False for a constant, and for a comparison of two given
    models instead of the methods that produced them."""


@dataclass(frozen=True)
class Comparison:
    """A difference between two methods with its interval."""

    value: float
    """Mean over seeds of the second method minus that of the first."""
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end of the interval."""
    covers_seeds: bool
    """Whether the interval covers the choice of seeds. If not, it compares these trainings, not the methods."""
    unit: Unit
    """What the units are."""

    @property
    def includes_zero(self) -> bool:
        """Whether the interval contains 0."""
        return self.low <= 0.0 <= self.high

    @property
    def is_significant(self) -> bool:
        """Whether the methods differ: the interval covers the choice of seeds and excludes 0."""
        return self.covers_seeds and not self.includes_zero

    def format(self, metric: str) -> str:
        """Return the difference with its interval, and `*` if the methods differ."""
        name = describe(metric)
        value, low, high = (f"{'+' if x >= 0 else ''}{name.format(x)}" for x in (self.value, self.low, self.high))
        return f"{value} ({low} to {high}){' *' if self.is_significant else ''}"


def seed_interval(
    first: Sequence[float], second: Sequence[float], *, level: float = 0.95
) -> tuple[float, float] | None:
    """Return the interval of the difference of two means over seeds that covers the choice of seeds only.

    Use it if only one value per training is known. It says nothing about other videos.

    Args:
        first: A metric of the reference, one value per seed.
        second: The metric of the other method.
        level: Probability that the interval contains the true difference on these samples.

    Returns:
        Its ends, or None with a single seed.
    """
    if min(len(first), len(second)) < 2:
        return None
    value = float(np.mean(second) - np.mean(first))
    margin = _margin([_seed_variance([first, second])], level)
    return value - margin, value + margin


def describe_coverage(comparisons: Iterable[Comparison]) -> str:
    """Return what the intervals of comparisons between methods cover, as a sentence."""
    items = list(comparisons)
    units = " and ".join(describe_unit(unit) for unit in dict.fromkeys(item.unit for item in items))
    if all(item.covers_seeds for item in items):
        return (
            f"95 % intervals cover the choice of seeds and {units}. * The interval excludes 0: if two methods were "
            "equally good, about one in twenty would."
        )
    return (
        f"With one seed, 95 % intervals cover the choice of {units} only. They compare these trainings, not the "
        "methods. Pass more --seeds."
    )


def estimate_metrics(
    task: Task,
    truth: ArrayLike,
    prediction: ArrayLike,
    rows: NDArray[np.int64],
    units: Units,
    metrics: Iterable[str],
) -> dict[str, Estimate]:
    """Return metrics of one training under one condition, for example on one subset of modalities.

    Args:
        task: Determines the metrics.
        truth: Labels of the condition's samples, as in `measure`.
        prediction: Predictions of these samples, as in `measure`.
        rows: (n,): numbers of these samples in the split.
        units: Units of the whole split, so that estimates under several conditions can be averaged and compared.
        metrics: Keys of the metrics.

    Raises:
        EdgeMsaError: `measure` rejects the arrays, or a metric is unknown.
    """
    labels, predicted = check_pair(task, truth, prediction)
    without_each = (np.arange(units.count)[:, None] != units.numbers[rows]).astype(np.float64)
    estimates = {}
    for name in metrics:
        metric = metric_function(task, name)
        value = float(metric(labels, predicted, equal_weights(len(labels)))[0])
        effects = value - metric(labels, predicted, without_each)
        estimates[name] = Estimate(value, _rounded((units.count - 1) * effects), units.kind)
    return estimates


def average_estimates(estimates: Sequence[Estimate]) -> Estimate:
    """Return the mean of a metric of one training over several conditions."""
    return Estimate(
        float(np.mean([item.value for item in estimates])),
        _rounded(np.mean([item.contributions for item in estimates], axis=0)),
        estimates[0].unit,
    )


def compare_methods(first: Method, second: Method, *, level: float = 0.95) -> Comparison:
    """Return the difference of two methods with its interval.

    If both methods depend on the seed and one of them has a single seed, the interval covers the choice of videos only.

    Args:
        first: The reference.
        second: The other method, on the same conditions.
        level: Probability that the interval contains the true difference.

    Raises:
        EdgeMsaError: A method has no estimate, the units differ, or there is a single sample.
    """
    methods = (first, second)
    if not first.estimates or not second.estimates:
        raise EdgeMsaError("Each method must have at least one prediction.")
    before, after = (np.array([item.contributions for item in method.estimates]) for method in methods)
    units = before.shape[1]
    if units < MIN_UNITS:
        raise EdgeMsaError("A difference needs at least 2 samples, got 1. Use a larger split.")
    if after.shape[1] != units:
        raise EdgeMsaError(f"Both methods must be tested on the same {units} videos, got {after.shape[1]}.")
    means = [float(np.mean([item.value for item in method.estimates])) for method in methods]
    value = means[1] - means[0]
    trained = [method.estimates for method in methods if method.depends_on_seed]
    covers_seeds = all(len(estimates) > 1 for estimates in trained)
    between_videos = _variance_of_mean(after.mean(axis=0) - before.mean(axis=0))
    if trained and covers_seeds:
        noise = sum(_noise_of_seeds(np.array([item.contributions for item in estimates])) for estimates in trained)
        values = [[item.value for item in estimates] for estimates in trained]
        parts = [_seed_variance(values), (max(between_videos - noise, 0.0), units - 1)]
    else:
        parts = [(between_videos, units - 1)]
    margin = _margin(parts, level)
    return Comparison(value, value - margin, value + margin, covers_seeds, first.estimates[0].unit)


def _rounded(contributions: Contributions) -> tuple[float, ...]:
    """Return the contributions with 6 digits after the point, so that records stay small."""
    return tuple(np.round(contributions, 6).tolist())


def _seed_variance(trained: Sequence[Sequence[float]]) -> tuple[float, int]:
    """Return the variance of the difference of the means that comes from the seeds, and its degrees of freedom."""
    values = [np.array(items) for items in trained]
    degrees = sum(len(items) - 1 for items in values)
    pooled = sum(float(np.square(items - items.mean()).sum()) for items in values) / degrees
    return pooled * sum(1.0 / len(items) for items in values), degrees


def _noise_of_seeds(contributions: Contributions) -> float:
    """Return the variance of the mean that comes from errors of single seeds on single videos.

    Both the variance between seeds and that between videos contain it.
    """
    seeds, units = contributions.shape
    residual = contributions - contributions.mean(axis=0) - contributions.mean(axis=1, keepdims=True)
    residual += contributions.mean()
    return float(np.square(residual).sum() / ((seeds - 1) * (units - 1)) / (seeds * units))


def _variance_of_mean(contributions: Contributions) -> float:
    return float(contributions.var(ddof=1)) / len(contributions)


def _margin(parts: Sequence[tuple[float, int]], level: float) -> float:
    """Return half the width of the interval, from variances with their degrees of freedom."""
    from scipy.special import stdtrit

    total = sum(variance for variance, _ in parts)
    if total == 0.0:
        return 0.0
    freedom = total**2 / sum(variance**2 / degrees for variance, degrees in parts if variance)
    return float(stdtrit(freedom, (1.0 + level) / 2.0)) * math.sqrt(total)
