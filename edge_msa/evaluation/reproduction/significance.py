"""Test whether two methods differ on the test split, with a paired bootstrap over videos of the mean over seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from edge_msa.data.dataset import FloatArray, Split
from edge_msa.data.tasks import Task
from edge_msa.evaluation.metrics import constant_predictions, describe, mean_difference, measure
from edge_msa.evaluation.metrics.bootstrap import RESAMPLES
from edge_msa.evaluation.reproduction.conditions import Condition
from edge_msa.evaluation.reproduction.record import Difference

SeedPredictions = Sequence[Mapping[str, FloatArray]]
"""Predictions by the condition's key, for each seed of a variant."""


def compare_with_baselines(
    task: Task,
    split: Split,
    conditions: Sequence[Condition],
    method: tuple[str, SeedPredictions],
    constants: Mapping[str, FloatArray],
    metrics: Sequence[str],
    *,
    resamples: int = RESAMPLES,
) -> Iterator[tuple[Difference, str]]:
    """Yield the method minus the better baseline for each condition and metric, and the unit that was resampled.

    Args:
        task: The task of the split.
        split: The test split.
        conditions: The conditions to compare.
        method: Name and predictions of the method.
        constants: The constants of `baseline_constants`. Which one is better depends on the metric.
        metrics: The metrics to compare.
        resamples: Number of bootstrap resamples.
    """
    name, predictions = method
    for condition in conditions:
        rows = condition.rows(split)
        baselines = {baseline: constant_predictions(task, value, len(rows)) for baseline, value in constants.items()}
        scores = [by_condition[condition.key] for by_condition in predictions]
        for metric in metrics:
            best = _better_baseline(task, split.labels[rows], baselines, metric)
            base = (best, [baselines[best]])
            yield from _differences(task, split, condition, base, (name, scores), (metric,), resamples)


def _better_baseline(task: Task, labels: FloatArray, baselines: Mapping[str, FloatArray], metric: str) -> str:
    sign = 1.0 if describe(metric).higher_is_better else -1.0
    values = {
        baseline: sign * measure(task, labels, predictions)[metric] for baseline, predictions in baselines.items()
    }
    return max(reversed(list(values)), key=values.__getitem__)  # on a tie the last one, the best constant


def compare_with_variant(
    task: Task,
    split: Split,
    conditions: Sequence[Condition],
    base: tuple[str, SeedPredictions],
    other: tuple[str, SeedPredictions],
    metrics: Sequence[str],
    *,
    resamples: int = RESAMPLES,
) -> Iterator[tuple[Difference, str]]:
    """Yield `other` minus `base` for each condition and metric, and the unit that was resampled.

    `base` and `other` are the name of a variant and its predictions.
    """
    for condition in conditions:
        before, after = (
            [by_condition[condition.key] for by_condition in predictions] for _, predictions in (base, other)
        )
        yield from _differences(task, split, condition, (base[0], before), (other[0], after), metrics, resamples)


def _differences(
    task: Task,
    split: Split,
    condition: Condition,
    base: tuple[str, Sequence[FloatArray]],
    other: tuple[str, Sequence[FloatArray]],
    metrics: Sequence[str],
    resamples: int,
) -> Iterator[tuple[Difference, str]]:
    rows = condition.rows(split)
    labels, groups = split.labels[rows], [split.groups[row] for row in rows]
    for metric in metrics:
        interval = mean_difference(task, labels, base[1], other[1], groups, metric=metric, resamples=resamples)
        agree = _count_agreeing_seeds(task, labels, base[1], other[1], metric, interval.value)
        yield (
            Difference(other[0], base[0], condition.key, metric, interval.value, interval.low, interval.high, agree),
            interval.unit,
        )


def _count_agreeing_seeds(
    task: Task,
    labels: FloatArray,
    before: Sequence[FloatArray],
    after: Sequence[FloatArray],
    metric: str,
    value: float,
) -> int:
    """Return the number of seeds whose difference has the sign of the mean difference. A baseline has no seeds."""
    bases = [measure(task, labels, predictions)[metric] for predictions in before]
    others = [measure(task, labels, predictions)[metric] for predictions in after]
    if len(bases) == 1:
        bases *= len(others)
    return sum(bool(np.sign(other - base) == np.sign(value)) for base, other in zip(bases, others, strict=True))
