"""Whether two methods differ on this test split: paired bootstrap over videos of the mean over trainings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from edge_msa.data.dataset import FloatArray, Split
from edge_msa.data.tasks import Task
from edge_msa.metrics import constant_readings, describe, mean_difference, measure
from edge_msa.metrics.resample import DRAWS
from edge_msa.study.conditions import Condition, rows_of
from edge_msa.study.record import Difference

SeedReadings = Sequence[Mapping[str, FloatArray]]
"""Readings by a condition's key, of every training of a variant."""


def against_floor(
    task: Task,
    split: Split,
    conditions: Sequence[Condition],
    method: tuple[str, SeedReadings],
    constants: Mapping[str, FloatArray],
    metrics: Sequence[str],
    *,
    draws: int = DRAWS,
) -> Iterator[tuple[Difference, str]]:
    """The method, its name and readings, against the better floor of each metric; each with the unit that was drawn.

    `constants` are those of `floor_constants`. Which one is better differs: the best constant is so by its MAE.
    """
    name, readings = method
    for condition in conditions:
        rows = rows_of(split, condition.subset)
        floors = {floor: constant_readings(task, value, len(rows)) for floor, value in constants.items()}
        ours = [one[condition.key] for one in readings]
        for metric in metrics:
            best = _better_floor(task, split.labels[rows], floors, metric)
            base = (best, [floors[best]])
            yield from _differences(task, split, condition, base, (name, ours), (metric,), draws)


def _better_floor(task: Task, labels: FloatArray, floors: Mapping[str, FloatArray], metric: str) -> str:
    sign = 1.0 if describe(metric).higher_is_better else -1.0
    values = {floor: sign * measure(task, labels, readings)[metric] for floor, readings in floors.items()}
    return max(reversed(list(values)), key=values.__getitem__)  # of equal ones the best constant, which comes last


def against_variant(
    task: Task,
    split: Split,
    conditions: Sequence[Condition],
    base: tuple[str, SeedReadings],
    other: tuple[str, SeedReadings],
    metrics: Sequence[str],
    *,
    draws: int = DRAWS,
) -> Iterator[tuple[Difference, str]]:
    """`other` against `base`, each a name and its readings."""
    for condition in conditions:
        before, after = ([one[condition.key] for one in readings] for _, readings in (base, other))
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
    """Seeds whose own difference has the sign of the mean one; a floor, which has no seed, is the same for all."""
    bases = [measure(task, labels, one)[metric] for one in before]
    others = [measure(task, labels, one)[metric] for one in after]
    if len(bases) == 1:
        bases *= len(others)
    return sum(bool(np.sign(other - base) == np.sign(value)) for base, other in zip(bases, others, strict=True))
