"""Tables of conformal thresholds, by subset of modalities and evidence.

`edge-msa export` computes them by split conformal prediction over the videos of the validation split, with complete
utterances and with utterances of which frames are missing. They depend on the subset of modalities and on the
*evidence*: for each modality of the subset, the number of valid frames as a share of the typical number, at most 1;
averaged over the modalities.

`intervals` uses them as half widths of the intervals of scores, `prediction_sets` as thresholds of sets of classes.
"""

from __future__ import annotations

import dataclasses
import math
from bisect import bisect_left, bisect_right
from typing import Any, Dict, Mapping, Optional, Tuple

from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.json_fields import JsonFields
from edge_msa_runtime.modalities import MODALITIES, Subset

DEFAULT_COVERAGE = 0.9
UNCERTAIN = "uncertain"
"""The label of a prediction that abstains."""

Thresholds = Mapping[str, Tuple[Tuple[Optional[float], ...], ...]]
"""By subset, for each bin of evidence, a threshold per coverage. None: the data support no finite one."""
Tables = Mapping[str, Mapping[str, Thresholds]]
"""Thresholds by backend and precision."""

# For one coverage: by subset, the shares that turn counts into evidence, and the threshold of each bin.
_Lookup = Dict[str, Tuple[Tuple[Tuple[str, float], ...], Tuple[Optional[float], ...]]]


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What all conformal tables of a bundle have in common.

    Attributes:
        coverages: the coverages that thresholds are stated for, ascending, between 0 and 1.
        edges: values of the evidence that separate its bins, ascending, between 0 and 1. A value on an edge is in the
            upper bin.
        typical_frames: the median number of valid frames of a validation sample, by modality.
        videos: number of videos of the validation split, which are the units of the calibration.
    """

    coverages: tuple[float, ...]
    edges: tuple[float, ...]
    typical_frames: Mapping[str, float]
    videos: int


class Lookup:
    """Finds thresholds at one coverage: at the next larger one that is stated. It is called for every prediction.

    Args:
        calibration: the coverages and bins of the thresholds.
        thresholds: the thresholds of one backend and precision.
        coverage: the coverage.
    """

    def __init__(self, calibration: Calibration, thresholds: Thresholds, coverage: float) -> None:
        index = bisect_left(calibration.coverages, coverage)
        self._edges = calibration.edges
        self._lookup: _Lookup = {}
        for subset, bins in thresholds.items():
            names = Subset(subset).modalities
            shares = tuple((name, 1.0 / (calibration.typical_frames[name] * len(names))) for name in names)
            self._lookup[subset] = (shares, tuple(row[index] if index < len(row) else None for row in bins))

    def find(self, subset: str, counts: Mapping[str, int]) -> float | None:
        """Return the threshold for numbers of valid frames; None if the data support none.

        Args:
            subset: the modalities of the prediction, such as `la`.
            counts: number of valid frames of each of them.
        """
        found = self._lookup.get(subset)
        if found is None:
            return None
        shares, thresholds = found
        limit = 1.0 / len(shares)
        evidence = 0.0
        for name, share in shares:
            part = counts[name] * share
            evidence += min(limit, part)
        return thresholds[bisect_right(self._edges, evidence)]


def check_coverage(coverage: object) -> float:
    """Return a coverage as a number.

    Raises:
        UsageError: it is not a number between 0 and 1.
    """
    if isinstance(coverage, bool) or not isinstance(coverage, (int, float)) or not 0 < coverage < 1:
        raise UsageError(f"coverage must be a number between 0 and 1, such as 0.9, got {coverage!r}.")
    return float(coverage)


def read_calibration(fields: JsonFields) -> tuple[tuple[float, ...], tuple[float, ...], dict[str, float], int]:
    """Return the fields of `Calibration`, in their order. A ValueError names the invalid field."""
    coverages, edges = (_fractions(fields, name) for name in ("coverages", "edges"))
    if not coverages:
        raise ValueError(f"{fields.path('coverages')} must not be empty")
    videos = fields.integer("videos")
    if videos < 0:
        raise ValueError(f"{fields.path('videos')} must be at least 0, got {videos}")
    return coverages, edges, _typical_frames(fields), videos


def read_tables(fields: JsonFields, name: str, typical: Mapping[str, float], shape: tuple[int, int]) -> Tables:
    """Return a field with tables. A ValueError names the invalid value.

    Args:
        fields: the fields.
        name: name of the field.
        typical: `typical_frames`, which must have the modalities of every subset.
        shape: number of bins and of coverages.
    """
    tables: dict[str, dict[str, Thresholds]] = {}
    for backend, precisions in fields.mapping(name).items():
        tables[backend] = {}
        where = fields.path(f"{name}.{backend}")
        for precision, subsets in _object(precisions, where).items():
            path = f"{where}.{precision}"
            tables[backend][precision] = {
                _subset(subset, path, typical): _bins(bins, f"{path}.{subset}", shape, name.replace("_", " "))
                for subset, bins in _object(subsets, path).items()
            }
    return tables


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


def _bins(value: Any, path: str, shape: tuple[int, int], what: str) -> tuple[tuple[float | None, ...], ...]:
    """Return the thresholds of each bin, which must not be smaller for a larger coverage."""
    bins, coverages = shape
    if not isinstance(value, (list, tuple)) or len(value) != bins:
        raise _invalid(path, f"be an array of {bins} bins", value)
    for index, row in enumerate(value):
        where = f"{path}[{index}]"
        if not isinstance(row, (list, tuple)) or len(row) != coverages:
            raise _invalid(where, f"be an array of {coverages} {what}", row)
        previous = 0.0
        for item in row:
            number = math.inf if item is None else item
            if isinstance(number, bool) or not isinstance(number, (int, float)) or not number >= previous:
                raise _invalid(where, f"have ascending {what}, or null", item)
            if item is not None and number == math.inf:
                raise _invalid(where, f"have finite {what}, or null", item)
            previous = number
    return tuple(tuple(row) for row in value)
