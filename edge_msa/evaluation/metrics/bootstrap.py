"""Intervals by bootstrap over videos: utterances of one video are not independent, so whole videos are drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_msa.data.dataset import FloatArray
from edge_msa.data.tasks import Task
from edge_msa.errors import EdgeMsaError
from edge_msa.evaluation.metrics.families import checked_pair, gate_metric, metrics_of
from edge_msa.evaluation.metrics.scores import correlation, is_constant

DRAWS = 1000
MIN_GROUPS = 5
"""With fewer videos there is nothing to draw from; samples are drawn instead, and the interval says so."""

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Interval:
    """A value with its percentile-bootstrap interval.

    `value` on the sample itself; `low`, `high` bound the `level` (0..1) central share of the draws; `deviation` is
    their standard deviation. `unit` is what was drawn: `groups` (videos), or `samples` where there are fewer than
    `MIN_GROUPS` videos, which makes the interval too narrow.
    """

    value: float
    low: float
    high: float
    deviation: float
    level: float
    unit: str


def bootstrap_interval(
    task: Task,
    truth: ArrayLike,
    prediction: ArrayLike,
    groups: Sequence[str],
    seed: int = 0,
    *,
    metric: str | None = None,
    draws: int = DRAWS,
    level: float = 0.95,
) -> Interval:
    """One metric's interval; the gate's metric unless another key of `measure` is named.

    Raises:
        EdgeMsaError: arrays that `measure` refuses, an unknown metric, or another number of groups than samples.
    """
    first, second = checked_pair(task, truth, prediction)
    of = _metric(task, metric)
    return _interval(
        lambda rows: of(first[rows], second[rows]), groups, samples=len(first), seed=seed, draws=draws, level=level
    )


def mean_interval(
    values: ArrayLike, groups: Sequence[str], seed: int = 0, *, draws: int = DRAWS, level: float = 0.95
) -> Interval:
    """The mean of one number a sample, (n,), with its interval.

    Raises:
        EdgeMsaError: there is no sample, or another number of groups than samples.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if not numbers.size:
        raise EdgeMsaError("there is no sample to take the mean of")
    return _interval(
        lambda rows: float(numbers[rows].mean()), groups, samples=len(numbers), seed=seed, draws=draws, level=level
    )


def paired_difference(
    task: Task,
    truth: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    groups: Sequence[str],
    *,
    seed: int = 0,
    metric: str | None = None,
    draws: int = DRAWS,
    level: float = 0.95,
) -> Interval:
    """Metric of `second` minus metric of `first` over the same drawn videos: what both find hard cancels out.

    An interval that holds 0 means that this split cannot tell the two apart.

    Raises:
        EdgeMsaError: as `bootstrap_interval`.
    """
    return mean_difference(task, truth, (first,), (second,), groups, seed=seed, metric=metric, draws=draws, level=level)


def mean_difference(
    task: Task,
    truth: ArrayLike,
    first: Sequence[ArrayLike],
    second: Sequence[ArrayLike],
    groups: Sequence[str],
    *,
    seed: int = 0,
    metric: str | None = None,
    draws: int = DRAWS,
    level: float = 0.95,
) -> Interval:
    """`paired_difference` of two methods trained several times: the mean of the metric over each one's predictions.

    The interval is over videos for these very trainings; how much another seed would move it is in their deviation.

    Raises:
        EdgeMsaError: as `bootstrap_interval`, or a method without a prediction.
    """
    if not first or not second:
        raise EdgeMsaError("a difference needs at least one prediction of either method")
    of = _metric(task, metric)
    labels, _ = checked_pair(task, truth, first[0])
    before, after = ([checked_pair(task, truth, one)[1] for one in predictions] for predictions in (first, second))

    def mean(predictions: Sequence[FloatArray], rows: Rows) -> float:
        return float(np.mean([of(labels[rows], one[rows]) for one in predictions]))

    def difference(rows: Rows) -> float:
        return mean(after, rows) - mean(before, rows)

    return _interval(difference, groups, samples=len(labels), seed=seed, draws=draws, level=level)


def carries_signal(
    task: Task, truth: ArrayLike, prediction: ArrayLike, groups: Sequence[str], seed: int = 0, *, draws: int = DRAWS
) -> bool:
    """Whether predictions from one subset tell anything about the truth.

    The rule: the lower end of the 90 % bootstrap interval over videos of Corr is above 0 (for emotions, of the mean
    over emotions of the correlation between logit and label). One sided, so noise passes once in twenty. Corr and not
    Acc-2, because it needs no threshold: a biased prediction that orders samples rightly carries signal. A gate compares
    accuracies only where this holds; elsewhere they are coin flips, and `prediction_correlation` says what changed.
    """
    labels, predictions = checked_pair(task, truth, prediction)

    def signal(rows: Rows) -> float:
        return _column_correlation(labels[rows], predictions[rows])

    return _interval(signal, groups, samples=len(labels), seed=seed, draws=draws, level=0.9).low > 0.0


def prediction_correlation(first: ArrayLike, second: ArrayLike) -> float:
    """How far two models' predictions of the same samples agree, Pearson's r in [-1, 1], averaged over outputs.

    For subsets without signal, where accuracies cannot be compared. Two constants agree (1.0): a subset on which
    both models give up is read alike; a constant beside predictions that vary is 0.0.

    Raises:
        EdgeMsaError: shapes differ or there is no sample.
    """
    before, after = np.asarray(first, dtype=np.float32), np.asarray(second, dtype=np.float32)
    if before.shape != after.shape or not before.size:
        raise EdgeMsaError(f"predictions have shapes {before.shape} and {after.shape}: give two predictions a sample")
    columns = zip(_columns(before), _columns(after), strict=True)
    return float(np.mean([1.0 if is_constant(a) and is_constant(b) else correlation(a, b) for a, b in columns]))


def _columns(values: FloatArray) -> FloatArray:
    return np.atleast_2d(values.T)


def _column_correlation(truth: FloatArray, predictions: FloatArray) -> float:
    pairs = zip(_columns(truth), _columns(predictions), strict=True)
    return float(np.mean([correlation(label, prediction) for label, prediction in pairs]))


def _metric(task: Task, name: str | None) -> Callable[[FloatArray, FloatArray], float]:
    family = metrics_of(task)
    chosen = gate_metric(task) if name is None else name
    if chosen not in family:
        raise EdgeMsaError(f"unknown metric {chosen!r}; a {task.kind} task has: {', '.join(family)}")
    return family[chosen]


def _interval(
    statistic: Callable[[Rows], float], groups: Sequence[str], *, samples: int, seed: int, draws: int, level: float
) -> Interval:
    if len(groups) != samples:
        raise EdgeMsaError(f"{len(groups)} groups for {samples} samples: name the video of every sample")
    names, members = np.unique(np.asarray(groups), return_inverse=True)
    by_group = len(names) >= MIN_GROUPS
    owners = members.astype(np.int64) if by_group else np.arange(samples)
    draw = _drawer(owners, np.random.default_rng(seed))
    drawn = np.array([statistic(draw()) for _ in range(draws)])
    low, high = np.quantile(drawn, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    value = statistic(np.arange(samples))
    unit = "groups" if by_group else "samples"
    return Interval(value, float(low), float(high), float(drawn.std()), level, unit)


def _drawer(owners: Rows, generator: np.random.Generator) -> Callable[[], Rows]:
    """Draws whole owners with replacement; each draw is the rows of all that were drawn."""
    order = np.argsort(owners, kind="stable")
    sizes = np.bincount(owners)
    starts = np.cumsum(sizes) - sizes

    def draw() -> Rows:
        picked = generator.integers(len(sizes), size=len(sizes))
        counts = sizes[picked]
        ends = np.cumsum(counts)
        within = np.arange(ends[-1]) - np.repeat(ends - counts, counts)
        rows: Rows = order[np.repeat(starts[picked], counts) + within]
        return rows

    return draw
