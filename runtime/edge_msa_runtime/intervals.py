"""Prediction intervals: how far labels were from predictions on validation data, by subset and evidence.

An interval is the score plus and minus a half width that the bundle states. `conformal` explains the tables.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Mapping

from edge_msa_runtime.conformal import (
    DEFAULT_COVERAGE,
    Calibration,
    Lookup,
    Tables,
    Thresholds,
    read_calibration,
    read_tables,
)
from edge_msa_runtime.json_fields import JsonFields


@dataclasses.dataclass(frozen=True)
class Intervals(Calibration):
    """The half widths of a bundle's intervals.

    Attributes:
        half_widths: half widths by backend and precision.
        half_widths_with_context: the same for scores that the conversation memory has adjusted, where it adjusts any.
    """

    half_widths: Tables
    half_widths_with_context: Tables

    @classmethod
    def from_json(cls, value: Any, path: str) -> Intervals:
        """Build from JSON; a ValueError names the invalid field."""
        fields = JsonFields(value, path, [field.name for field in dataclasses.fields(cls)])
        coverages, edges, typical, videos = read_calibration(fields)
        shape = (len(edges) + 1, len(coverages))
        names = ("half_widths", "half_widths_with_context")
        return cls(coverages, edges, typical, videos, *(read_tables(fields, name, typical, shape) for name in names))

    def half_width(
        self,
        backend: str,
        precision: str,
        subset: str,
        counts: Mapping[str, int],
        coverage: float = DEFAULT_COVERAGE,
        *,
        with_context: bool = False,
    ) -> float | None:
        """Return the half width of an interval; None if the data support only the whole scale.

        Args:
            backend: name of the backend.
            precision: precision of the graphs.
            subset: the modalities of the prediction, such as `la`.
            counts: number of valid frames of each modality of the subset.
            coverage: share of intervals that contain the label. The next larger coverage that is stated counts.
            with_context: whether the conversation memory has adjusted the score.
        """
        return self.lookup(backend, precision, coverage, with_context=with_context).find(subset, counts)

    def lookup(self, backend: str, precision: str, coverage: float, *, with_context: bool = False) -> Lookup:
        """Return what finds half widths; the arguments are those of `half_width`."""
        table: Thresholds = self.half_widths.get(backend, {}).get(precision, {})
        if with_context:
            table = {**table, **self.half_widths_with_context.get(backend, {}).get(precision, {})}
        return Lookup(self, table, coverage)

    def renamed(self, backend: str, executing: str) -> Intervals:
        """Return the half widths of a backend under the name of the one that runs its graphs instead."""
        tables = (self.half_widths, self.half_widths_with_context)
        own, with_context = ({executing: table[backend]} if backend in table else {} for table in tables)
        return dataclasses.replace(self, half_widths=own, half_widths_with_context=with_context)


class ScoreIntervals:
    """Computes the intervals of a session's predictions at one coverage.

    Args:
        intervals: what the bundle states.
        backend: name of the session's backend.
        precision: precision of the session.
        scale: the lowest and the highest score, None if unbounded.
        coverage: share of intervals that contain the label.
        abstain: whether a prediction whose interval has values on both sides of zero gets the label `UNCERTAIN`.
    """

    def __init__(
        self,
        intervals: Intervals,
        backend: str,
        precision: str,
        scale: tuple[float | None, float | None],
        *,
        coverage: float = DEFAULT_COVERAGE,
        abstain: bool = False,
    ) -> None:
        self.coverage = coverage
        self.abstain = abstain
        self._low, self._high = scale
        self._lookups = tuple(
            intervals.lookup(backend, precision, coverage, with_context=with_context) for with_context in (False, True)
        )

    def interval(
        self, score: float, subset: str, counts: Mapping[str, int], *, with_context: bool = False
    ) -> tuple[float, float] | None:
        """Return the interval (low, high) of a score, clipped to the scale.

        If the data do not support an interval, it is the whole scale, or None if the scale has no end.

        Args:
            score: the score, within the scale.
            subset: the modalities of the prediction.
            counts: number of valid frames of each modality of the subset.
            with_context: whether the conversation memory has adjusted the score.
        """
        half_width = self._lookups[with_context].find(subset, counts)
        low, high = self._low, self._high
        if half_width is None:
            return None if low is None or high is None else (low, high)
        lower, upper = score - half_width, score + half_width
        return (low if low is not None and lower < low else lower, high if high is not None and upper > high else upper)
