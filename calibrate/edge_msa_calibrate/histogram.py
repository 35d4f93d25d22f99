"""A histogram that grows with what it sees, so that one pass over any number of values is enough.

Its bins span [-limit, limit) and the limit is a power of two. Doubling it merges bins two by two, without rounding:
what comes out does not depend on the order of the values, nor on how they were cut into batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_msa_calibrate.errors import CalibrationError

Array = npt.NDArray[Any]

DEFAULT_BINS = 2048
# Where a limit starts: below any activation baseline check telling from zero.
_FIRST_EXPONENT = -32


@dataclass(frozen=True)
class Histogram:
    """Counts of values.

    `counts`: int64 (2 * bins,), bin i from -limit + i * width to one width more, `bins` of them each side of zero.
    `limit`: a power of two above every magnitude. `minimum`, `maximum`: exact.
    """

    counts: Array
    limit: float
    minimum: float
    maximum: float

    @property
    def bins(self) -> int:
        """Bins on either side of zero."""
        return len(self.counts) // 2

    @property
    def width(self) -> float:
        """Width of a bin."""
        return self.limit / self.bins

    @property
    def count(self) -> int:
        """How many values were seen."""
        return int(self.counts.sum())

    @property
    def edges(self) -> Array:
        """The 2 * bins + 1 edges, float64."""
        return np.arange(-self.bins, self.bins + 1) * self.width

    @property
    def centers(self) -> Array:
        """The middles of the 2 * bins bins, float64."""
        return (self.edges[:-1] + self.edges[1:]) / 2

    def magnitudes(self) -> Array:
        """Counts of |value|, (bins,), from 0 to `limit`."""
        return self.counts[self.bins :] + self.counts[: self.bins][::-1]


class HistogramBuilder:
    """Counts values as they come; memory does not grow with them."""

    def __init__(self, bins: int = DEFAULT_BINS) -> None:
        if bins < 2 or bins % 2:
            raise CalibrationError(f"bins is {bins}; it must be even and at least 2, so that bins merge in pairs")
        self._counts: Array = np.zeros(2 * bins, np.int64)
        self._bins = bins
        self._exponent = _FIRST_EXPONENT
        self._minimum = np.inf
        self._maximum = -np.inf

    @property
    def seen(self) -> bool:
        """Whether anything was counted."""
        return self._minimum <= self._maximum

    def add(self, values: Array) -> None:
        """Count float32 values of any shape.

        Raises:
            CalibrationError: one of them is NaN or infinite.
        """
        if not values.size:
            return
        low, high = float(values.min()), float(values.max())
        if not np.isfinite(low + high):
            raise CalibrationError("an activation is NaN or infinite; look at the features with `data inspect`")
        self._minimum, self._maximum = min(self._minimum, low), max(self._maximum, high)
        self._grow(int(np.frexp(max(-low, high))[1]))
        # Scaling by a power of two is exact, and so is the baseline: values on an edge always fall on the same side.
        scaled = values.ravel() * np.float32(self._bins * 2.0**-self._exponent)
        places = np.floor(scaled).astype(np.intp) + self._bins
        self._counts += np.bincount(places, minlength=2 * self._bins)

    def histogram(self) -> Histogram:
        """What was counted.

        Raises:
            CalibrationError: nothing was.
        """
        if not self.seen:
            raise CalibrationError("nothing was counted")
        return Histogram(self._counts.copy(), 2.0**self._exponent, self._minimum, self._maximum)

    def add_histogram(self, other: Histogram) -> None:
        """Count what another histogram counted, exactly as if its values came here.

        Raises:
            CalibrationError: it has another number of bins.
        """
        if other.bins != self._bins:
            raise CalibrationError(f"a histogram of {other.bins} bins cannot join one of {self._bins}; calibrate again")
        self._minimum, self._maximum = min(self._minimum, other.minimum), max(self._maximum, other.maximum)
        exponent = int(np.log2(other.limit))
        self._grow(exponent)
        self._counts += _coarser(other.counts, self._exponent - exponent)

    def _grow(self, exponent: int) -> None:
        self._counts = _coarser(self._counts, max(exponent - self._exponent, 0))
        self._exponent = max(exponent, self._exponent)


def merged(histograms: Sequence[Histogram]) -> Histogram:
    """One histogram of all their values, whatever their order.

    Raises:
        CalibrationError: there is none, or they differ in bins.
    """
    builder = HistogramBuilder(histograms[0].bins if histograms else DEFAULT_BINS)
    for item in histograms:
        builder.add_histogram(item)
    return builder.histogram()


def _coarser(counts: Array, doublings: int) -> Array:
    """The counts with the limit doubled so often: bins merge in pairs, the middle keeps them."""
    for _ in range(doublings):
        counts = np.pad(counts.reshape(-1, 2).sum(axis=1), (len(counts) // 4, len(counts) // 4))
    return counts


def aligned(one: Histogram, two: Histogram) -> tuple[Array, Array]:
    """The counts of both over the same bins.

    Raises:
        CalibrationError: they differ in bins.
    """
    if one.bins != two.bins:
        raise CalibrationError(f"histograms of {one.bins} and of {two.bins} bins cannot be compared; calibrate again")
    limit = max(one.limit, two.limit)
    first, second = (_coarser(item.counts, int(np.log2(limit / item.limit))) for item in (one, two))
    return first, second
