"""The question that a search answers: is there a point at 80 % of the default recipe's latency that is as accurate?"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edge_msa.search.points import Point, words_of
from edge_msa.search.record import SearchRecord

SHARE = 0.8
CHECKED = 3
"""Candidates that are trained with further seeds, at most."""


@dataclass(frozen=True)
class Answer:
    """`found`: the trial, None if there is none. `exact`: as accurate to the last digit, not only within the spread.

    `share`: its latency over the default's. `error` and `default_error` are means over `seeds` trainings, `spread`
    the standard deviation of the default's.
    """

    found: int | None
    exact: bool
    share: float | None
    error: float | None
    default_error: float | None
    spread: float
    seeds: int
    text: str

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def spread_of(errors: Sequence[float]) -> float:
    """Standard deviation over seeds; 0 of a single one."""
    return statistics.stdev(errors) if len(errors) > 1 else 0.0


def candidates(record: SearchRecord) -> tuple[Point, ...]:
    """Points of the Pareto set that are fast enough, and accurate enough at their one seed; the best first.

    Where any point is, one of the set is: what beats it is at least as fast and as accurate.
    """
    base = record.baseline
    if base is None:
        return ()
    limit = base.costs[0] + spread_of(record.errors.get(base.number, ()))
    good = [point for point in _fast(record) if point.costs[0] <= limit]
    return tuple(sorted(good, key=lambda point: point.costs)[:CHECKED])


def answer(record: SearchRecord) -> Answer:
    """The answer, in words and numbers; candidates that were trained over all seeds are judged by their mean."""
    base = record.baseline
    if base is None:
        reasons = "; ".join(dict.fromkeys(point.reason for point in record.points if point.default))
        return Answer(None, False, None, None, None, 0.0, 0, f"There is nothing to compare with: the default {reasons}")
    own = record.errors.get(base.number, (base.costs[0],))
    mean, spread = statistics.fmean(own), spread_of(own)
    for point in candidates(record):
        errors = record.errors.get(point.number, (point.costs[0],))
        error = statistics.fmean(errors)
        if len(errors) == len(own) and error <= mean + spread:
            share = record.share(point)
            text = _yes(record, point, base, (error, mean, spread), len(own))
            return Answer(point.number, error <= mean, share, error, mean, spread, len(own), text)
    return Answer(None, False, None, None, mean, spread, len(own), _no(record, base, (mean, spread), len(own)))


def _fast(record: SearchRecord) -> list[Point]:
    return [point for point in record.pareto if (record.share(point) or 1.0) <= SHARE]


def _yes(record: SearchRecord, point: Point, base: Point, numbers: tuple[float, float, float], seeds: int) -> str:
    error, mean, spread = numbers
    how = "no higher than" if error <= mean else "within the seeds' spread of"
    return (
        f"Yes: trial {point.number} ({words_of(point.params)}) takes {record.share(point):.0%} of the default recipe's "
        f"latency ({_ms(record, point)} against {_ms(record, base)}) at a validation {record.error_name} of "
        f"{error:.4f}, {how} the default's {mean:.4f}{_over(seeds, spread)}."
    )


def _no(record: SearchRecord, base: Point, numbers: tuple[float, float], seeds: int) -> str:
    mean, spread = numbers
    text = (
        f"No: of {len(record.points)} trials none takes at most {SHARE:.0%} of the default recipe's latency "
        f"({_ms(record, base)}, {base.precision}) at its validation {record.error_name} of "
        f"{mean:.4f}{_over(seeds, spread)}."
    )
    for point in candidates(record):
        errors = record.errors.get(point.number, (point.costs[0],))
        text += f" Trial {point.number} did at its own seed, and has {statistics.fmean(errors):.4f} over all."
    others = [point for point in _fast(record) if point not in candidates(record)]
    if others:
        near = min(others, key=lambda point: point.costs[0])
        text += f" The nearest, trial {near.number}, has {near.costs[0]:.4f} at {record.share(near):.0%}."
    return text


def _over(seeds: int, spread: float) -> str:
    return f" (means of {seeds} seeds; the default's standard deviation over them is {spread:.4f})" if seeds > 1 else ""


def _ms(record: SearchRecord, point: Point) -> str:
    found = record.final_ms.get(point.number, point.p50_ms)
    return f"{found:.3f} ms"
