"""Does what a student is validated on look like what it was calibrated on? Compared tensor by tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_msa_calibrate.histogram import Histogram, aligned
from edge_msa_calibrate.statistics import Statistics

Array = npt.NDArray[Any]

_LEVELS = 32
# Above what splits of one corpus differ by, below what another scale does: figures in `differing`.
DISTANCE = 0.04
BEYOND = 0.02


@dataclass(frozen=True)
class Drift:
    """One tensor, `key` as in statistics, that differs.

    `beyond`: share of the other set's values outside the range, and `beyond_calibrated` of the calibration's own.
    `distance`: Jensen-Shannon divergence in bits, 0 of equal distributions, 1 of such that never meet.
    """

    key: str
    beyond: float
    beyond_calibrated: float
    distance: float

    def __str__(self) -> str:
        return (
            f"{self.key}: {self.beyond:.1%} of its values lie beyond the range ({self.beyond_calibrated:.1%} in "
            f"calibration), Jensen-Shannon {self.distance:.2f} (0: the same distribution, 1: no value in common)"
        )


def drifts_of(
    calibrated: Statistics, other: Statistics, ranges: Mapping[str, tuple[float, float]]
) -> tuple[Drift, ...]:
    """How far another set is from the calibration's, for every tensor that both have, in the order of keys."""
    mine, theirs = calibrated.histograms, other.histograms
    return tuple(
        Drift(
            key,
            share_beyond(theirs[key], *ranges[key]),
            share_beyond(mine[key], *ranges[key]),
            jensen_shannon(mine[key], theirs[key]),
        )
        for key in mine
        if key in theirs and key in ranges
    )


def differing(drifts: tuple[Drift, ...]) -> tuple[Drift, ...]:
    """Those that are baseline check a warning, the farthest first.

    Measured through a student with random weights, the farthest tensor of each: synthetic, MOSI with two and with
    three modalities lie .001 to .013 apart between train and validation; with validation scaled by 1.5 .074 to .088,
    by a half .155 to .173, moved by one deviation .19 to .20.
    """
    far = [item for item in drifts if item.distance > DISTANCE or item.beyond - item.beyond_calibrated > BEYOND]
    return tuple(sorted(far, key=lambda item: (-item.distance, item.key)))


def share_beyond(histogram: Histogram, low: float, high: float) -> float:
    """Share of the values outside [low, high], to within half a bin."""
    middles = histogram.centers
    # Those in the bin of an end are inside: a Relu's zeros are not below a range that starts at 0.
    outside = (middles < low - histogram.width) | (middles > high + histogram.width)
    return float(histogram.counts[outside].sum() / histogram.count)


def jensen_shannon(one: Histogram, two: Histogram) -> float:
    """Divergence in bits of two histograms over the bins that cut the first into equal parts.

    So few and so filled that a small set does not look different for being small.
    """
    counts = aligned(one, two)
    below = np.concatenate([[0], np.cumsum(counts[0])[:-1]])
    level = np.minimum(below * _LEVELS // max(counts[0].sum(), 1), _LEVELS - 1)
    shares = [np.bincount(level, item, _LEVELS) / item.sum() for item in counts]
    middle = (shares[0] + shares[1]) / 2
    return float(sum(_divergence(share, middle) for share in shares) / 2)


def _divergence(share: Array, middle: Array) -> float:
    real = share > 0
    return float((share[real] * np.log2(share[real] / middle[real])).sum())
