"""Whether two methods differ on this test split: paired bootstrap over videos of the mean over trainings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from edge_msa.data.dataset import FloatArray, Split
from edge_msa.data.tasks import Task
from edge_msa.evaluation.metrics import constant_predictions, describe, mean_difference, measure
from edge_msa.evaluation.metrics.bootstrap import DRAWS
from edge_msa.evaluation.reproduction.conditions import Condition, rows_of
from edge_msa.evaluation.reproduction.record import Difference

SeedPredictions = Sequence[Mapping[str, FloatArray]]
"""Predictions by a condition's key, of every training of a variant."""


def against_baseline(
    task: Task,
    split: Split,
    conditions: Sequence[Condition],
    method: tuple[str, SeedPredictions],
    constants: Mapping[str, FloatArray],
    metrics: Sequence[str],
    *,
    draws: int = DRAWS,
) -> Iterator[tuple[Difference, str]]:
    """The method, its name and predictions, against the better baseline of each metric; each with the unit that was drawn.

    `constants` are those of `baseline_constants`. Which one is better differs: the best constant is so by its MAE.
    """
    name, predictions = method
    for condition in conditions:
        rows = rows_of(split, condition.subset)
        baselines = {baseline: constant_predictions(task, value, len(rows)) for baseline, value in constants.items()}
        ours = [one[condition.key] for one in predictions]
        for metric in metrics:
            best = _better_baseline(task, split.labels[rows], baselines, metric)
            base = (best, [baselines[best]])
            yield from _differences(task, split, condition, base, (name, ours), (metric,), draws)


def _better_baseline(task: Task, labels: FloatArray, baselines: Mapping[str, FloatArray], metric: str) -> str:
    sign = 1.0 if describe(metric).higher_is_better else -1.0
    values = {
        baseline: sign * measure(task, labels, predictions)[metric] for baseline, predictions in baselines.items()
    }
    return max(reversed(list(values)), key=values.__getitem__)  # of equal ones the best constant, which comes last


def against_variant(
    task: Task,
    split: Split,
    conditions: Sequence[Condition],
    base: tuple[str, SeedPredictions],
    other: tuple[str, SeedPredictions],
    metrics: Sequence[str],
    *,
    draws: int = DRAWS,
) -> Iterator[tuple[Difference, str]]:
    """`other` against `base`, each a name and its predictions."""
    for condition in conditions:
        before, after = ([one[condition.key] for one in predictions] for _, predictions in (base, other))
        yield from _differences(task, split, condition, (base[0], before), (other[0], after), metrics, draws)


def _differences(
    task: Task,
    split: Split,
    condition: Condition,
    base: tuple[str, Sequence[FloatArray]],
    other: tuple[str, Sequence[FloatArray]],
    metrics: Sequence[str],
    draws: int,
) -> Iterator[tuple[Difference, str]]:
    rows = rows_of(split, condition.subset)
    labels, groups = split.labels[rows], [split.groups[row] for row in rows]
    for metric in metrics:
        found = mean_difference(task, labels, base[1], other[1], groups, metric=metric, draws=draws)
        agree = _agreeing(task, labels, base[1], other[1], metric, found.value)
        yield (
            Difference(other[0], base[0], condition.key, metric, found.value, found.low, found.high, agree),
            found.unit,
        )


def _agreeing(
    task: Task,
    labels: FloatArray,
    before: Sequence[FloatArray],
    after: Sequence[FloatArray],
    metric: str,
    value: float,
) -> int:
    """Seeds whose own difference has the sign of the mean one; a baseline, which has no seed, is the same for all."""
    bases = [measure(task, labels, one)[metric] for one in before]
    others = [measure(task, labels, one)[metric] for one in after]
    if len(bases) == 1:
        bases *= len(others)
    return sum(bool(np.sign(other - base) == np.sign(value)) for base, other in zip(bases, others, strict=True))
