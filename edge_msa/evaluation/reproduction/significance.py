"""Compare methods on the test split, per condition and on average over the incomplete subsets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from edge_msa.data.dataset import FloatArray, Split
from edge_msa.data.tasks import Task
from edge_msa.evaluation.metrics import (
    Estimate,
    Method,
    Units,
    average_estimates,
    better_baseline,
    compare_methods,
    constant_predictions,
    estimate_metrics,
)
from edge_msa.evaluation.reproduction.conditions import Condition
from edge_msa.evaluation.reproduction.published import AVERAGE
from edge_msa.evaluation.reproduction.record import Difference
from edge_msa_runtime.modalities import Subset

SeedPredictions = Sequence[Mapping[str, FloatArray]]
"""Predictions by the condition's key, for each seed of a variant."""


def compare_with_baselines(
    task: Task,
    split: Split,
    conditions: Sequence[Condition],
    method: tuple[str, SeedPredictions],
    constants: Mapping[str, FloatArray],
    metrics: Sequence[str],
) -> Iterator[Difference]:
    """Yield the method minus the better baseline for each condition, the average, and each metric.

    Args:
        task: The task of the split.
        split: The test split.
        conditions: The conditions to compare, without corruption.
        method: Name and predictions of the method.
        constants: The constants of `baseline_constants`. Which one is better depends on the metric.
        metrics: The metrics to compare.
    """
    name, predictions = method
    for key, members in _with_average(split, conditions):
        tested = _by_metric(task, split, members, predictions, metrics)
        baselines = {
            baseline: _by_metric(
                task,
                split,
                members,
                [{item.key: constant_predictions(task, value, len(item.rows(split))) for item in members}],
                metrics,
            )
            for baseline, value in constants.items()
        }
        for metric in metrics:
            best = better_baseline({baseline: items[metric][0].value for baseline, items in baselines.items()}, metric)
            base = Method(baselines[best][metric], depends_on_seed=False)
            yield _difference((best, base), (name, Method(tested[metric])), key, metric)


def compare_with_variant(
    task: Task,
    split: Split,
    conditions: Sequence[Condition],
    base: tuple[str, SeedPredictions],
    other: tuple[str, SeedPredictions],
    metrics: Sequence[str],
) -> Iterator[Difference]:
    """Yield `other` minus `base` for each condition, the average, and each metric.

    `base` and `other` are the name of a variant and its predictions.
    """
    for key, members in _with_average(split, conditions):
        before, after = (_by_metric(task, split, members, item[1], metrics) for item in (base, other))
        for metric in metrics:
            yield _difference((base[0], Method(before[metric])), (other[0], Method(after[metric])), key, metric)


def _with_average(split: Split, conditions: Sequence[Condition]) -> Iterator[tuple[str, tuple[Condition, ...]]]:
    """Yield each condition with several samples, then the incomplete subsets together, by key.

    The variance of a condition with one sample cannot be estimated.
    """
    for condition in conditions:
        if len(condition.rows(split)) > 1:
            yield condition.key, (condition,)
    incomplete = tuple(item for item in conditions if item.subset != Subset.LAV.value and not item.kind)
    if len(incomplete) > 1:
        yield AVERAGE, incomplete


def _by_metric(
    task: Task,
    split: Split,
    conditions: Sequence[Condition],
    predictions: SeedPredictions,
    metrics: Sequence[str],
) -> dict[str, list[Estimate]]:
    """Return the estimates of all seeds by metric."""
    units = Units.of(split.groups)
    rows = {condition.key: condition.rows(split) for condition in conditions}
    by_seed = [
        [estimate_metrics(task, split.labels[rows[key]], by_condition[key], rows[key], units, metrics) for key in rows]
        for by_condition in predictions
    ]
    return {
        metric: [average_estimates([item[metric] for item in by_condition]) for by_condition in by_seed]
        for metric in metrics
    }


def _difference(base: tuple[str, Method], other: tuple[str, Method], key: str, metric: str) -> Difference:
    result = compare_methods(base[1], other[1])
    return Difference(
        variant=other[0],
        reference=base[0],
        condition=key,
        metric=metric,
        value=result.value,
        low=result.low,
        high=result.high,
        agreeing_seeds=_count_agreeing_seeds(base[1], other[1], result.value),
        covers_seeds=result.covers_seeds,
        unit=result.unit,
    )


def _count_agreeing_seeds(before: Method, after: Method, value: float) -> int:
    """Return the number of seeds whose difference has the sign of the mean difference. A baseline has no seeds."""
    bases, others = ([item.value for item in method.estimates] for method in (before, after))
    if len(bases) == 1:
        bases *= len(others)
    return sum(bool(np.sign(other - base) == np.sign(value)) for base, other in zip(bases, others, strict=True))
