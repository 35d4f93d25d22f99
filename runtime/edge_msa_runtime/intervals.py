"""Prediction intervals: how far labels were from predictions on validation data, by subset and evidence.

An interval is the score plus and minus a half width that the bundle states. `edge-msa export` computes half widths by
split conformal prediction over the videos of the validation split, with complete utterances and with utterances of
which frames are missing. They depend on the subset of modalities and on the *evidence*: for each modality of the
subset, the number of valid frames as a share of the typical number, at most 1; averaged over the modalities.
"""

from __future__ import annotations

import dataclasses
import math
from bisect import bisect_left, bisect_right
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple

from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.json_fields import JsonFields
from edge_msa_runtime.modalities import MODALITIES, Subset

DEFAULT_COVERAGE = 0.9
UNCERTAIN = "uncertain"
"""The label of a prediction that abstains."""

HalfWidths = Mapping[str, Tuple[Tuple[Optional[float], ...], ...]]
"""By subset, for each bin of evidence, a half width per coverage. None: the data support only the whole scale."""
Tables = Mapping[str, Mapping[str, HalfWidths]]
"""Half widths by backend and precision."""

# For one coverage: by subset, the shares that turn counts into evidence, and the half width of each bin.
_Lookup = Dict[str, Tuple[Tuple[Tuple[str, float], ...], Tuple[Optional[float], ...]]]


@dataclasses.dataclass(frozen=True)
class Intervals:
    """The half widths of a bundle's intervals.

    Attributes:
        coverages: the coverages that half widths are stated for, ascending, between 0 and 1.
        edges: values of the evidence that separate its bins, ascending, between 0 and 1. A value on an edge is in the
            upper bin.
        typical_frames: the median number of valid frames of a validation sample, by modality.
        videos: number of videos of the validation split, which are the units of the calibration.
        half_widths: half widths by backend and precision.
        half_widths_with_context: the same for scores that the conversation memory has adjusted, where it adjusts any.
    """

    coverages: tuple[float, ...]
    edges: tuple[float, ...]
    typical_frames: Mapping[str, float]
    videos: int
    half_widths: Tables
    half_widths_with_context: Tables

    @classmethod
    def from_json(cls, value: Any, path: str) -> Intervals:
        """Build from JSON; a ValueError names the invalid field."""
        fields = JsonFields(value, path, [field.name for field in dataclasses.fields(cls)])
        coverages, edges = (_fractions(fields, name) for name in ("coverages", "edges"))
        if not coverages:
            raise ValueError(f"{fields.path('coverages')} must not be empty")
        typical = _typical_frames(fields)
        shape = (len(edges) + 1, len(coverages))
        names = ("half_widths", "half_widths_with_context")
        tables = [_tables(fields.mapping(name), fields.path(name), typical, shape) for name in names]
        videos = fields.integer("videos")
        if videos < 0:
            raise ValueError(f"{fields.path('videos')} must be at least 0, got {videos}")
        return cls(coverages, edges, typical, videos, *tables)

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
        lookup = _make_lookup(self, backend, precision, coverage, with_context=with_context)
        return _find(lookup, self.edges, subset, counts)

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
        self._edges = intervals.edges
        self._lookups = tuple(
            _make_lookup(intervals, backend, precision, coverage, with_context=with_context)
            for with_context in (False, True)
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
        half_width = _find(self._lookups[with_context], self._edges, subset, counts)
        low, high = self._low, self._high
        if half_width is None:
            return None if low is None or high is None else (low, high)
        lower, upper = score - half_width, score + half_width
        return (low if low is not None and lower < low else lower, high if high is not None and upper > high else upper)


def check_coverage(coverage: object) -> float:
    """Return a coverage as a number.

    Raises:
        UsageError: it is not a number between 0 and 1.
    """
    if isinstance(coverage, bool) or not isinstance(coverage, (int, float)) or not 0 < coverage < 1:
        raise UsageError(f"coverage must be a number between 0 and 1, such as 0.9, got {coverage!r}.")
    return float(coverage)


def _make_lookup(intervals: Intervals, backend: str, precision: str, coverage: float, *, with_context: bool) -> _Lookup:
    """Return the half widths at one coverage."""
    table = intervals.half_widths.get(backend, {}).get(precision, {})
    if with_context:
        table = {**table, **intervals.half_widths_with_context.get(backend, {}).get(precision, {})}
    index = bisect_left(intervals.coverages, coverage)
    lookup: _Lookup = {}
    for subset, bins in table.items():
        names = Subset(subset).modalities
        shares = tuple((name, 1.0 / (intervals.typical_frames[name] * len(names))) for name in names)
        lookup[subset] = (shares, tuple(row[index] if index < len(row) else None for row in bins))
    return lookup


def _find(lookup: _Lookup, edges: Sequence[float], subset: str, counts: Mapping[str, int]) -> float | None:
    """Return the half width for counts of valid frames. This is on the path of every prediction."""
    found = lookup.get(subset)
    if found is None:
        return None
    shares, widths = found
    limit = 1.0 / len(shares)
    evidence = 0.0
    for name, share in shares:
        part = counts[name] * share
        evidence += min(limit, part)
    return widths[bisect_right(edges, evidence)]


def _fractions(fields: JsonFields, name: str) -> tuple[float, ...]:
    """Return ascending numbers between 0 and 1."""
    values = fields.numbers(name)
    previous = 0.0
    for index, value in enumerate(values):
        if not previous < value < 1:
            path = f"{fields.path(name)}[{index}]"
            raise ValueError(f"{path} must be greater than {previous:g} and less than 1, got {value!r}")
        previous = value
    return values


def _typical_frames(fields: JsonFields) -> dict[str, float]:
    name = "typical_frames"
    typical = {}
    for modality, value in fields.mapping(name).items():
        path = fields.path(f"{name}.{modality}")
        if modality not in MODALITIES:
            raise ValueError(f"{path} must be one of {', '.join(MODALITIES)}")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
            raise _invalid(path, "be a positive number", value)
        typical[modality] = float(value)
    return typical


def _tables(
    value: Mapping[str, Any], path: str, typical: Mapping[str, float], shape: tuple[int, int]
) -> dict[str, dict[str, HalfWidths]]:
    tables: dict[str, dict[str, HalfWidths]] = {}
    for backend, precisions in value.items():
        tables[backend] = {}
        for precision, subsets in _object(precisions, f"{path}.{backend}").items():
            where = f"{path}.{backend}.{precision}"
            tables[backend][precision] = {
                _subset(subset, where, typical): _bins(bins, f"{where}.{subset}", shape)
                for subset, bins in _object(subsets, where).items()
            }
    return tables


def _object(value: Any, path: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _invalid(path, "be an object", value)
    return value


def _invalid(path: str, expected: str, value: Any) -> ValueError:
    return ValueError(f"{path} must {expected}, got {repr(value)[:40]}")


def _subset(name: str, path: str, typical: Mapping[str, float]) -> str:
    try:
        modalities = Subset(name).modalities
    except ValueError:
        raise ValueError(f"{path}.{name} must be the name of a subset, such as la") from None
    for modality in modalities:
        if modality not in typical:
            raise ValueError(f"{path}.{name} needs typical_frames of {modality}")
    return name


def _bins(value: Any, path: str, shape: tuple[int, int]) -> tuple[tuple[float | None, ...], ...]:
    """Return the half widths of each bin, which must not be smaller for a larger coverage."""
    bins, coverages = shape
    if not isinstance(value, (list, tuple)) or len(value) != bins:
        raise _invalid(path, f"be an array of {bins} bins", value)
    for index, row in enumerate(value):
        where = f"{path}[{index}]"
        if not isinstance(row, (list, tuple)) or len(row) != coverages:
            raise _invalid(where, f"be an array of {coverages} half widths", row)
        previous = 0.0
        for item in row:
            number = math.inf if item is None else item
            if isinstance(number, bool) or not isinstance(number, (int, float)) or not number >= previous:
                raise _invalid(where, "have ascending half widths, or null", item)
            if item is not None and number == math.inf:
                raise _invalid(where, "have finite half widths, or null", item)
            previous = number
    return tuple(tuple(row) for row in value)
