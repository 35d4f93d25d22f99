"""Bootstrap intervals over videos: samples of one video are not independent, so whole videos are resampled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_msa.data.dataset import FloatArray
from edge_msa.data.tasks import Task
from edge_msa.errors import EdgeMsaError
from edge_msa.evaluation.metrics.families import check_pair, gate_metric, metric_functions
from edge_msa.evaluation.metrics.scores import correlation, is_constant

RESAMPLES = 1000
MIN_GROUPS = 5
"""With fewer videos, samples are resampled instead, and `Interval.unit` says so."""

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Interval:
    """A value with its percentile bootstrap interval."""

    value: float
    """The value on the samples themselves."""
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end of the interval."""
    deviation: float
    """Standard deviation over the resamples."""
    level: float
    """Share of the resamples inside the interval, 0 to 1."""
    unit: str
    """What was resampled: `groups` (videos). With too few videos, `samples`, so the interval is too narrow."""


def bootstrap_interval(
    task: Task,
    truth: ArrayLike,
    prediction: ArrayLike,
    groups: Sequence[str],
    seed: int = 0,
    *,
    metric: str | None = None,
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> Interval:
    """Return the interval of one metric, by default the gate metric.

    Raises:
        EdgeMsaError: `measure` rejects the arrays, the metric is unknown, or the number of groups is wrong.
    """
    first, second = check_pair(task, truth, prediction)
    compute = _metric_function(task, metric)
    return _interval(
        lambda rows: compute(first[rows], second[rows]),
        groups,
        samples=len(first),
        seed=seed,
        resamples=resamples,
        level=level,
    )


def mean_interval(
    values: ArrayLike, groups: Sequence[str], seed: int = 0, *, resamples: int = RESAMPLES, level: float = 0.95
) -> Interval:
    """Return the mean of one value per sample, (n,), with its interval.

    Raises:
        EdgeMsaError: There are no samples, or the number of groups is wrong.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if not numbers.size:
        raise EdgeMsaError("The values must have at least one sample, got none.")
    return _interval(
        lambda rows: float(numbers[rows].mean()),
        groups,
        samples=len(numbers),
        seed=seed,
        resamples=resamples,
        level=level,
    )


def mean_difference(
    task: Task,
    truth: ArrayLike,
    first: Sequence[ArrayLike],
    second: Sequence[ArrayLike],
    groups: Sequence[str],
    *,
    seed: int = 0,
    metric: str | None = None,
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> Interval:
    """Return the mean metric of `second` minus that of `first`, computed on the same resampled videos.

    If the interval contains 0, the two methods cannot be distinguished on this split. It covers the choice of videos
    for these trainings. It does not cover the choice of seeds.

    Args:
        task: Determines the metrics.
        truth: Labels, as in `measure`.
        first: Predictions of one method, one array per seed.
        second: Predictions of the other method, one array per seed.
        groups: Video of each sample.
        seed: Seed of the bootstrap.
        metric: Key of the metric, by default the gate metric.
        resamples: Number of bootstrap resamples.
        level: Share of the resamples inside the interval.

    Raises:
        EdgeMsaError: As in `bootstrap_interval`, or a method has no predictions.
    """
    if not first or not second:
        raise EdgeMsaError("Each method must have at least one prediction.")
    compute = _metric_function(task, metric)
    labels, _ = check_pair(task, truth, first[0])
    before, after = (
        [check_pair(task, truth, prediction)[1] for prediction in predictions] for predictions in (first, second)
    )

    def mean(predictions: Sequence[FloatArray], rows: Rows) -> float:
        return float(np.mean([compute(labels[rows], prediction[rows]) for prediction in predictions]))

    def difference(rows: Rows) -> float:
        return mean(after, rows) - mean(before, rows)

    return _interval(difference, groups, samples=len(labels), seed=seed, resamples=resamples, level=level)


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
    correlation of logits and labels. This test is one-sided, so noise passes in one of twenty cases. Unlike Acc-2, Corr
    needs no threshold: predictions with a constant bias still contain information. The accuracy gate compares
    accuracies only for subsets with signal. For the others, accuracy is chance, and `prediction_correlation` shows what
    changed.
    """
    labels, predictions = check_pair(task, truth, prediction)

    def signal(rows: Rows) -> float:
        return _column_correlation(labels[rows], predictions[rows])

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
    columns = zip(_columns(before), _columns(after), strict=True)
    return float(np.mean([1.0 if is_constant(a) and is_constant(b) else correlation(a, b) for a, b in columns]))


def _columns(values: FloatArray) -> FloatArray:
    return np.atleast_2d(values.T)


def _column_correlation(truth: FloatArray, predictions: FloatArray) -> float:
    pairs = zip(_columns(truth), _columns(predictions), strict=True)
    return float(np.mean([correlation(label, prediction) for label, prediction in pairs]))


def _metric_function(task: Task, name: str | None) -> Callable[[FloatArray, FloatArray], float]:
    functions = metric_functions(task)
    key = gate_metric(task) if name is None else name
    if key not in functions:
        raise EdgeMsaError(f"Unknown metric {key!r} for a {task.kind} task. Available: {', '.join(functions)}.")
    return functions[key]


def _interval(
    statistic: Callable[[Rows], float], groups: Sequence[str], *, samples: int, seed: int, resamples: int, level: float
) -> Interval:
    if len(groups) != samples:
        raise EdgeMsaError(f"groups must name the video of each of the {samples} samples, got {len(groups)}.")
    names, members = np.unique(np.asarray(groups), return_inverse=True)
    by_group = len(names) >= MIN_GROUPS
    clusters = members.astype(np.int64) if by_group else np.arange(samples)
    draw = _resampler(clusters, np.random.default_rng(seed))
    values = np.array([statistic(draw()) for _ in range(resamples)])
    low, high = np.quantile(values, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    value = statistic(np.arange(samples))
    unit = "groups" if by_group else "samples"
    return Interval(value, float(low), float(high), float(values.std()), level, unit)


def _resampler(clusters: Rows, generator: np.random.Generator) -> Callable[[], Rows]:
    """Return a function that draws whole clusters with replacement and returns their rows."""
    order = np.argsort(clusters, kind="stable")
    sizes = np.bincount(clusters)
    starts = np.cumsum(sizes) - sizes

    def draw() -> Rows:
        picked = generator.integers(len(sizes), size=len(sizes))
        counts = sizes[picked]
        ends = np.cumsum(counts)
        within = np.arange(ends[-1]) - np.repeat(ends - counts, counts)
        rows: Rows = order[np.repeat(starts[picked], counts) + within]
        return rows

    return draw
