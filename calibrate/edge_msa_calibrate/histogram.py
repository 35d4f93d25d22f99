"""Histograms whose limit grows with the data, so that one pass over any number of values is enough.

The bins cover [-limit, limit), and the limit is a power of two. Doubling the limit merges bins in pairs without
rounding. The result therefore depends neither on the order of the values nor on the batches that they come in.
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
# Exponent of the initial limit, far below any activation that matters.
_FIRST_EXPONENT = -32


@dataclass(frozen=True)
class Histogram:
    """Counts of values.

    `counts`: int64 (2 * bins,), `bins` on either side of zero; bin i starts at -limit + i * width.
    `limit`: a power of two above every magnitude. `minimum`, `maximum`: exact.
    """

    counts: Array
    limit: float
    minimum: float
    maximum: float

    @property
    def bins(self) -> int:
        """Number of bins on either side of zero."""
        return len(self.counts) // 2

    @property
    def width(self) -> float:
        """Width of a bin."""
        return self.limit / self.bins

    @property
    def count(self) -> int:
        """Number of values."""
        return int(self.counts.sum())

    @property
    def edges(self) -> Array:
        """The 2 * bins + 1 bin edges, float64."""
        return np.arange(-self.bins, self.bins + 1) * self.width

    @property
    def centers(self) -> Array:
        """The 2 * bins bin centers, float64."""
        return (self.edges[:-1] + self.edges[1:]) / 2

    def magnitudes(self) -> Array:
        """Return the counts of |value|, (bins,), from 0 to `limit`."""
        return self.counts[self.bins :] + self.counts[: self.bins][::-1]


class HistogramBuilder:
    """Count values incrementally. Memory does not grow with the number of values.

    Raises:
        CalibrationError: `bins` is odd or less than 2.
    """

    def __init__(self, bins: int = DEFAULT_BINS) -> None:
        if bins < 2 or bins % 2:
            raise CalibrationError(f"bins must be even and at least 2, got {bins}.")
        self._counts: Array = np.zeros(2 * bins, np.int64)
        self._bins = bins
        self._exponent = _FIRST_EXPONENT
        self._minimum = np.inf
        self._maximum = -np.inf

    @property
    def is_empty(self) -> bool:
        """Whether no value was counted yet."""
        return self._minimum > self._maximum

    def add(self, values: Array) -> None:
        """Count float32 values of any shape.

        Raises:
            CalibrationError: a value is NaN or infinite.
        """
        if not values.size:
            return
        low, high = float(values.min()), float(values.max())
        if not np.isfinite(low + high):
            raise CalibrationError("An activation is NaN or infinite. Check the features with `edge-msa data inspect`.")
        self._minimum, self._maximum = min(self._minimum, low), max(self._maximum, high)
        magnitude = max(-low, high)
        if magnitude > 0:  # zeros fit any limit
            self._grow(int(np.frexp(magnitude)[1]))
        # Scaling by a power of two is exact and np.floor is too: a value on an edge always falls into the same bin.
        scaled = values.ravel() * np.float32(self._bins * 2.0**-self._exponent)
        indices = np.floor(scaled).astype(np.intp) + self._bins
        self._counts += np.bincount(indices, minlength=2 * self._bins)

    def histogram(self) -> Histogram:
        """Return the histogram of all values so far.

        Raises:
            CalibrationError: no value was counted.
        """
        if self.is_empty:
            raise CalibrationError("The histogram is empty.")
        return Histogram(self._counts.copy(), 2.0**self._exponent, self._minimum, self._maximum)

    def add_histogram(self, other: Histogram) -> None:
        """Add the counts of another histogram. The result is the same as adding its values one by one.

        Raises:
            CalibrationError: the number of bins differs.
        """
        if other.bins != self._bins:
            raise CalibrationError(
                f"Cannot merge a histogram of {other.bins} bins into one of {self._bins}. Calibrate again."
            )
        self._minimum, self._maximum = min(self._minimum, other.minimum), max(self._maximum, other.maximum)
        exponent = int(np.log2(other.limit))
        self._grow(exponent)
        self._counts += _coarsen(other.counts, self._exponent - exponent)

    def _grow(self, exponent: int) -> None:
        self._counts = _coarsen(self._counts, max(exponent - self._exponent, 0))
        self._exponent = max(exponent, self._exponent)


def merge_histograms(histograms: Sequence[Histogram]) -> Histogram:
    """Return one histogram of the values of all histograms, in any order.

    Raises:
        CalibrationError: `histograms` is empty, or the numbers of bins differ.
    """
    builder = HistogramBuilder(histograms[0].bins if histograms else DEFAULT_BINS)
    for item in histograms:
        builder.add_histogram(item)
    return builder.histogram()


def align_counts(first: Histogram, second: Histogram) -> tuple[Array, Array]:
    """Return the counts of both histograms over the same bins.

    Raises:
        CalibrationError: the numbers of bins differ.
    """
    if first.bins != second.bins:
        raise CalibrationError(f"Cannot compare histograms of {first.bins} and of {second.bins} bins. Calibrate again.")
    limit = max(first.limit, second.limit)
    aligned = [_coarsen(item.counts, int(np.log2(limit / item.limit))) for item in (first, second)]
    return aligned[0], aligned[1]


def _coarsen(counts: Array, doublings: int) -> Array:
    """Return the counts after doubling the limit: bins merge in pairs and stay centered."""
    for _ in range(doublings):
        counts = np.pad(counts.reshape(-1, 2).sum(axis=1), (len(counts) // 4, len(counts) // 4))
    return counts
