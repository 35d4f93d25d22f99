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
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_msa.data.tasks import Task
from edge_msa.errors import EdgeMsaError
from edge_msa.evaluation.metrics.families import check_pair, metric_function
from edge_msa.evaluation.metrics.scores import equal_weights
from edge_msa.evaluation.metrics.units import Unit, assign_units

MAX_UNITS = 256
"""With more videos, each jackknife estimate leaves out several. This limits the time and hardly changes the result."""

MIN_UNITS = 2
"""With fewer, the variance between units cannot be estimated."""

Contributions = NDArray[np.float64]


@dataclass(frozen=True)
class ConditionLabels:
    """The labels of one condition, for example one subset of modalities."""

    truth: ArrayLike
    """Labels, as in `measure`."""
    groups: Sequence[str]
    """Video of each sample."""
    rows: NDArray[np.int64]
    """(N,): number of each sample in its split, so that conditions with different samples are matched."""


@dataclass(frozen=True)
class Estimate:
    """A metric of one training."""

    value: float
    """The metric, or its mean over conditions."""
    contributions: Contributions
    """(units,): effect of each unit on `value`. Their variance divided by their number is the variance of `value`."""
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


def estimate_metrics(
    task: Task,
    conditions: Sequence[ConditionLabels],
    predictions: Sequence[ArrayLike],
    metrics: Sequence[str],
) -> dict[str, Estimate]:
    """Return each metric of one training, averaged over the conditions.

    Args:
        task: Determines the metrics.
        conditions: Labels of each condition. A video may occur in several conditions.
        predictions: Predictions of each condition, as in `measure`.
        metrics: Keys of the metrics.

    Raises:
        EdgeMsaError: `measure` rejects the arrays, a metric is unknown, or the number of groups is wrong.
    """
    pairs = [check_pair(task, item.truth, values) for item, values in zip(conditions, predictions, strict=True)]
    for (labels, _), item in zip(pairs, conditions, strict=True):
        if len(item.groups) != len(labels):
            raise EdgeMsaError(
                f"groups must name the video of each of the {len(labels)} samples, got {len(item.groups)}."
            )
    members, unit = _units(conditions)
    units = int(max(item.max() for item in members)) + 1
    left_out = np.arange(units)[:, None]
    values: dict[str, float] = dict.fromkeys(metrics, 0.0)
    contributions = {name: np.zeros(units) for name in metrics}
    for (labels, predicted), units_of in zip(pairs, members, strict=True):
        without_each = (left_out != units_of).astype(np.float64)
        for name in metrics:
            metric = metric_function(task, name)
            value = metric(labels, predicted, equal_weights(len(labels)))[0]
            effect = value - metric(labels, predicted, without_each)
            values[name] += float(value) / len(pairs)
            contributions[name] += (units - 1) * effect / len(pairs)
    return {name: Estimate(values[name], contributions[name], unit) for name in metrics}


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
    before, after = (np.stack([item.contributions for item in method.estimates]) for method in methods)
    units = before.shape[1]
    if units < MIN_UNITS:
        raise EdgeMsaError("A difference needs at least 2 test samples, got 1. Use a larger split.")
    if after.shape[1] != units:
        raise EdgeMsaError(f"Both methods must be tested on the same {units} videos, got {after.shape[1]}.")
    means = [float(np.mean([item.value for item in method.estimates])) for method in methods]
    value = means[1] - means[0]
    trained = [method.estimates for method in methods if method.depends_on_seed]
    covers_seeds = all(len(estimates) > 1 for estimates in trained)
    between_videos = _variance_of_mean(after.mean(axis=0) - before.mean(axis=0))
    if trained and covers_seeds:
        noise = sum(_noise_of_seeds(np.stack([item.contributions for item in estimates])) for estimates in trained)
        parts = [_seed_variance(trained), (max(between_videos - noise, 0.0), units - 1)]
    else:
        parts = [(between_videos, units - 1)]
    margin = _margin(parts, level)
    return Comparison(value, value - margin, value + margin, covers_seeds, first.estimates[0].unit)


def _units(conditions: Sequence[ConditionLabels]) -> tuple[list[NDArray[np.int64]], Unit]:
    """Return the unit of each sample of each condition. A video is the same unit in all conditions."""
    numbers, unit = assign_units([name for item in conditions for name in item.groups])
    if unit == "samples":
        _, numbers = np.unique(np.concatenate([item.rows for item in conditions]), return_inverse=True)
    count = int(numbers.max()) + 1
    if count > MAX_UNITS:
        numbers = np.random.default_rng(0).permutation(count)[numbers] % MAX_UNITS
    ends = np.cumsum([len(item.groups) for item in conditions])
    return np.split(numbers.reshape(-1), ends[:-1]), unit


def _seed_variance(trained: Sequence[Sequence[Estimate]]) -> tuple[float, int]:
    """Return the variance of the difference of the means that comes from the seeds, and its degrees of freedom."""
    values = [np.array([item.value for item in estimates]) for estimates in trained]
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
