"""Test whether two methods differ, with an interval that covers the choice of seeds and the choice of videos.

Training a method with another seed gives another metric, and so does testing it on other videos. A bootstrap over
videos alone ignores the seeds, so it calls a method different from itself far too often. This module estimates the
variance of a difference of means over seeds from its parts:

- for each method, the variance between its seeds divided by their number;
- the part of the variance between videos that is not noise of single seeds. It comes from a jackknife: the metric is
  computed with each video left out once, for both methods on the same videos.

The last part subtracts what the others already contain, as in a two-way analysis of variance (seeds x videos).
The interval uses Student's t with Satterthwaite's degrees of freedom, because five seeds are few. The variances of the
methods are not pooled: if one method hardly varies, it adds no degrees of freedom (Welch's test).

`tests/unit/edge_msa/evaluation/metrics/test_comparison.py` simulates the error rates of two equally good methods. With
5 seeds, 3 to 6 % of the 95 % intervals exclude 0: if the methods vary alike between seeds, if only one of them varies,
and if they are good on different videos. In the last case, 16 to 55 % of the intervals over seeds alone exclude 0. With
2 or 3 seeds, 4 to 6 % exclude 0, and up to 9 % with 2 seeds if only one method varies.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
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
    """Effect of each unit of the split on `value`. Their variance divided by their number is the variance of `value`.
    A unit without samples contributes 0."""
    unit: Unit
    """What the units are."""
    count: int
    """Number of units with samples. For a mean, the largest one of the conditions."""

    @property
    def has_variance(self) -> bool:
        """Whether the variance between units can be estimated. `compare_methods` needs it."""
        return self.count >= MIN_UNITS


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
        interval = f"{name.format_signed(self.value)} ({name.format_interval(self.low, self.high)})"
        return f"{interval}{' *' if self.is_significant else ''}"


def seed_interval(first: Sequence[float], second: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % interval of the difference of two means over seeds that covers the choice of seeds only.

    Use it if only one value per training is known. It says nothing about other videos.

    Args:
        first: A metric of the reference, one value per seed.
        second: The metric of the other method.

    Returns:
        Its ends, or None with a single seed.
    """
    if min(len(first), len(second)) < 2:
        return None
    value = float(np.mean(second) - np.mean(first))
    margin = _margin([_seed_variance(values) for values in (first, second)])
    return value - margin, value + margin


def describe_coverage(comparisons: Iterable[Comparison]) -> str:
    """Return what the intervals of comparisons between methods cover, as a sentence."""
    items = list(comparisons)
    units = " and ".join(describe_unit(unit) for unit in dict.fromkeys(item.unit for item in items))
    if all(item.covers_seeds for item in items):
        return (
            f"95 % intervals cover the choice of seeds and {units}. * means that the interval excludes 0. For two "
            "equally good methods, this happens in about 1 of 20 comparisons."
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
    count = len(np.unique(units.numbers[rows]))
    without_each = (np.arange(units.count)[:, None] != units.numbers[rows]).astype(np.float64)
    estimates = {}
    for name in metrics:
        metric = metric_function(task, name)
        value = float(metric(labels, predicted, equal_weights(len(labels)))[0])
        effects = value - metric(labels, predicted, without_each)
        estimates[name] = Estimate(value, _rounded((units.count - 1) * effects), units.kind, count)
    return estimates


def average_estimates(estimates: Sequence[Estimate]) -> Estimate:
    """Return the mean of a metric of one training over several conditions."""
    return Estimate(
        float(np.mean([item.value for item in estimates])),
        _rounded(np.mean([item.contributions for item in estimates], axis=0)),
        estimates[0].unit,
        max(item.count for item in estimates),
    )


def compare_methods(first: Method, second: Method) -> Comparison:
    """Return the difference of two methods with its 95 % interval.

    If both methods depend on the seed and one of them has a single seed, the interval covers the choice of videos only.

    Args:
        first: The reference.
        second: The other method, on the same conditions.

    Raises:
        EdgeMsaError: A method has no estimate, the units differ, or an estimate has no variance.
    """
    methods = (first, second)
    if not first.estimates or not second.estimates:
        raise EdgeMsaError("Each method must have at least one prediction.")
    before, after = (np.array([item.contributions for item in method.estimates]) for method in methods)
    if after.shape[1] != before.shape[1]:
        raise EdgeMsaError(f"Both methods must be tested on the same {before.shape[1]} videos, got {after.shape[1]}.")
    if not all(item.has_variance for method in methods for item in method.estimates):
        raise EdgeMsaError(f"A difference needs samples of at least {MIN_UNITS} videos, got 1. Use a larger split.")
    means = [float(np.mean([item.value for item in method.estimates])) for method in methods]
    value = means[1] - means[0]
    trained = [method.estimates for method in methods if method.depends_on_seed]
    covers_seeds = bool(trained) and all(len(estimates) > 1 for estimates in trained)
    degrees = min(item.count for method in methods for item in method.estimates) - 1
    between_videos = _variance_of_mean(after.mean(axis=0) - before.mean(axis=0))
    if covers_seeds:
        noise = sum(_noise_of_seeds(np.array([item.contributions for item in estimates])) for estimates in trained)
        parts = [_seed_variance([item.value for item in estimates]) for estimates in trained]
        parts.append((max(between_videos - noise, 0.0), degrees))
    else:
        parts = [(between_videos, degrees)]
    margin = _margin(parts)
    return Comparison(value, value - margin, value + margin, covers_seeds, first.estimates[0].unit)


def compare_paired(first: Method, second: Method) -> Comparison:
    """Return the difference of two methods that share their trainings, e.g. two precisions of the same models.

    The estimates of a seed belong together, so the interval uses their difference and not the variance of each method.

    Args:
        first: The reference.
        second: The other method, with the same seeds in the same order.

    Raises:
        EdgeMsaError: As in `compare_methods`.
    """
    differences = [
        Estimate(
            after.value - before.value,
            _rounded(np.subtract(after.contributions, before.contributions)),
            before.unit,
            min(before.count, after.count),
        )
        for before, after in zip(first.estimates, second.estimates, strict=True)
    ]
    zeros = [
        dataclasses.replace(item, value=0.0, contributions=(0.0,) * len(item.contributions)) for item in differences
    ]
    return compare_methods(Method(zeros[:1], depends_on_seed=False), Method(differences))


def compare_models(first: Mapping[str, Estimate], other: Mapping[str, Estimate]) -> dict[str, Comparison]:
    """Return the differences of two given models by metric, paired by video; without metrics that have no variance.

    Args:
        first: Metrics of the reference, see `estimate_metrics`.
        other: The same metrics of the other model, on the same samples.
    """
    return {
        name: compare_paired(Method([estimate], depends_on_seed=False), Method([other[name]], depends_on_seed=False))
        for name, estimate in first.items()
        if estimate.has_variance
    }


def _rounded(contributions: Contributions) -> tuple[float, ...]:
    """Return the contributions with 6 digits after the point, so that records stay small."""
    return tuple(np.round(contributions, 6).tolist())


def _seed_variance(values: Sequence[float]) -> tuple[float, int]:
    """Return the variance of the mean of one method that comes from its seeds, and its degrees of freedom."""
    return float(np.var(values, ddof=1)) / len(values), len(values) - 1


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


def _margin(parts: Sequence[tuple[float, int]]) -> float:
    """Return half the width of the 95 % interval, from variances with their degrees of freedom."""
    from scipy.special import stdtrit

    total = sum(variance for variance, _ in parts)
    if total == 0.0:
        return 0.0
    freedom = total**2 / sum(variance**2 / degrees for variance, degrees in parts if variance)
    return float(stdtrit(freedom, 0.975)) * math.sqrt(total)
