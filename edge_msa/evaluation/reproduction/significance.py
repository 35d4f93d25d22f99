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
ConditionEstimates = Mapping[str, Mapping[str, Sequence[Estimate]]]
"""Estimates by the condition's key or `AVERAGE`, then by metric, one per seed."""


def estimate_conditions(
    task: Task,
    split: Split,
    conditions: Sequence[Condition],
    predictions: SeedPredictions,
    metrics: Sequence[str],
) -> ConditionEstimates:
    """Return the estimates of a variant for each condition, and for the incomplete subsets together.

    Args:
        task: The task of the split.
        split: The test split.
        conditions: The conditions, without corruption.
        predictions: Predictions of the variant.
        metrics: The metrics to compare.
    """
    units = Units.of(split.groups)
    by_condition: dict[str, dict[str, list[Estimate]]] = {}
    for condition in conditions:
        key, rows = condition.key, condition.rows(split)
        by_seed = [
            estimate_metrics(task, split.labels[rows], by_key[key], rows, units, metrics) for by_key in predictions
        ]
        by_condition[key] = {metric: [items[metric] for items in by_seed] for metric in metrics}
    incomplete = [item.key for item in conditions if item.subset != Subset.LAV.value and not item.kind]
    if len(incomplete) > 1:
        by_condition[AVERAGE] = {
            metric: [
                average_estimates(of_seed)
                for of_seed in zip(*(by_condition[key][metric] for key in incomplete), strict=True)
            ]
            for metric in metrics
        }
    return by_condition


def compare_with_baselines(
    task: Task,
    split: Split,
    conditions: Sequence[Condition],
    method: tuple[str, ConditionEstimates],
    constants: Mapping[str, FloatArray],
) -> Iterator[Difference]:
    """Yield the method minus the better baseline for each condition, the average, and each metric.

    Args:
        task: The task of the split.
        split: The test split.
        conditions: The conditions of the estimates.
        method: Name and estimates of the method.
        constants: The constants of `baseline_constants`. Which one is better depends on the metric.
    """
    name, tested = method
    metrics = list(next(iter(tested.values())))
    baselines = {}
    for baseline, value in constants.items():
        predictions = {item.key: constant_predictions(task, value, len(item.rows(split))) for item in conditions}
        baselines[baseline] = estimate_conditions(task, split, conditions, [predictions], metrics)
    for key, metric in _comparable(tested):
        best = better_baseline({item: known[key][metric][0].value for item, known in baselines.items()}, metric)
        base = Method(baselines[best][key][metric], depends_on_seed=False)
        yield _difference((best, base), (name, Method(tested[key][metric])), key, metric)


def compare_with_variant(
    base: tuple[str, ConditionEstimates], other: tuple[str, ConditionEstimates]
) -> Iterator[Difference]:
    """Yield `other` minus `base` for each condition, the average, and each metric.

    `base` and `other` are the name of a variant and its estimates.
    """
    for key, metric in _comparable(base[1]):
        before, after = ((name, Method(estimates[key][metric])) for name, estimates in (base, other))
        yield _difference(before, after, key, metric)


def _comparable(estimates: ConditionEstimates) -> Iterator[tuple[str, str]]:
    """Yield the keys of conditions, with the metrics, whose variance between videos can be estimated."""
    for key, by_metric in estimates.items():
        for metric, by_seed in by_metric.items():
            if by_seed[0].has_variance:
                yield key, metric


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
