"""Ranges: from a histogram to the interval that eight bits will cover.

Every method is a pure function of a histogram. A range always holds zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from edge_msa_calibrate.errors import CalibrationError
from edge_msa_calibrate.histogram import Histogram
from edge_msa_calibrate.statistics import Statistics

Array = npt.NDArray[Any]

Method = Literal["minmax", "percentile", "entropy", "mse"]
METHODS: tuple[str, ...] = get_args(Method)

_POINTS = 4
_SHRINKS = np.linspace(0.2, 1.0, 161)


class Range(NamedTuple):
    """Values from `low` <= 0 to `high` >= 0 are represented; beyond, they saturate."""

    low: float
    high: float


def compute_ranges(
    statistics: Statistics, method: Method, smoothing: Mapping[str, Array] | None = None
) -> dict[str, Range]:
    """The range of every tensor that was observed, by its key.

    Args:
        statistics: what was observed.
        method: how a range follows from a histogram.
        smoothing: of `smoothing_of`, by weight name. What a smoothed layer reads has no outliers left to cut: its range
            is everything that was seen, whatever the method.

    Raises:
        CalibrationError: there is no such method.
    """
    functions: dict[str, Callable[[Histogram], Range]] = {
        "minmax": minmax_range,
        "percentile": percentile_range,
        "entropy": entropy_range,
        "mse": mse_range,
    }
    if method not in functions:
        raise CalibrationError(f"there is no calibration method {method!r}; choose one of {', '.join(METHODS)}")
    found = {key: functions[method](item) for key, item in statistics.histograms.items()}
    for weight, factors in (smoothing or {}).items():
        low, high = statistics.channels[f"{weight}:input"] / factors
        found[f"{weight}:input"] = Range(min(float(low.min()), 0.0), max(float(high.max()), 0.0))
    return found


def minmax_range(histogram: Histogram) -> Range:
    """Everything that was seen."""
    return _clipped(histogram, histogram.minimum, histogram.maximum)


def percentile_range(histogram: Histogram, percent: float = 99.99) -> Range:
    """The middle `percent` of the values: half of the rest is cut off each end, as ONNX Runtime's calibrator does.

    Raises:
        CalibrationError: `percent` is not in (0, 100].
    """
    if not 0 < percent <= 100:
        raise CalibrationError(f"the percentile is {percent}; it must be above 0 and at most 100")
    cut = (1 - percent / 100) / 2
    below = np.concatenate([[0], np.cumsum(histogram.counts)]) / histogram.count
    low, high = np.interp([cut, 1 - cut], below, histogram.edges)
    return _clipped(histogram, float(low), float(high))


def entropy_range(histogram: Histogram, bits: int = 8) -> Range:
    """The threshold whose quantized distribution is nearest to the original's, by Kullback-Leibler divergence.

    TensorRT's calibrator (S. Migacz, 8-bit Inference with TensorRT, GTC 2017): for every number of bins i from 128 on,
    P is the first i bins of |value| with all that lies beyond added to the last of them, and Q the same bins without
    it, merged into 128 levels and spread again over those that were not empty. The first bin takes the second's count,
    as in NVIDIA's pytorch-quantization: a Relu's exact zeros cost nothing at any scale, and would drown the rest.
    """
    levels = 2 ** (bits - 1)
    counts = histogram.magnitudes().astype(np.float64)
    counts[0] = counts[1]
    used = int(np.flatnonzero(counts)[-1]) + 1 if counts.any() else 0
    # Each value can have a level of its own: there is nothing to trade, and an only bin is as near to itself anywhere.
    if np.count_nonzero(counts) <= levels:
        return minmax_range(histogram)
    divergences = [_divergence(counts, size, levels) for size in range(levels, used + 1)]
    threshold = (levels + int(np.argmin(divergences))) * histogram.width
    return _clipped(histogram, -threshold, threshold)


def mse_range(histogram: Histogram, bits: int = 8) -> Range:
    """The range with the least mean squared error of rounding and saturation together.

    Tried are the shares 0.2 to 1 of the full range, both ends alike.
    """
    full = minmax_range(histogram)
    kept = histogram.counts > 0
    # Several points a bin: the middles alone would heartbeat against the steps of eight bits, which are a few bins wide.
    offsets = (np.arange(_POINTS) + 0.5) / _POINTS * histogram.width
    places = histogram.edges[:-1, None] + offsets
    # A Relu's exact zeros lie in this bin and are exact at any scale; its middle would count them as errors.
    places[histogram.bins] = 0
    values = np.clip(places[kept], histogram.minimum, histogram.maximum)
    weights = histogram.counts[kept][:, None] / _POINTS
    errors = [_squared_error(values, weights, Range(full.low * share, full.high * share), bits) for share in _SHRINKS]
    # On a tie the widest: it saturates least.
    best = _SHRINKS[len(errors) - 1 - int(np.argmin(errors[::-1]))]
    return Range(full.low * float(best), full.high * float(best))


def format_ranges(ranges: Mapping[str, tuple[float, float]]) -> str:
    """A table for people: tensor, low, high, and the step of eight bits between them."""
    if not ranges:
        return "no ranges"
    width = max(len(key) for key in ranges)
    lines = [f"{'tensor':<{width}}  {'low':>9}  {'high':>9}  {'step':>9}"]
    for key, (low, high) in ranges.items():
        lines.append(f"{key:<{width}}  {low:>9.4g}  {high:>9.4g}  {(high - low) / 255:>9.2e}")
    return "\n".join(lines)


def _clipped(histogram: Histogram, low: float, high: float) -> Range:
    return Range(min(max(low, histogram.minimum), 0.0), max(min(high, histogram.maximum), 0.0))


def _divergence(counts: Array, size: int, levels: int) -> float:
    """KL(P || Q) of the first `size` bins; infinite where Q has nothing and P has."""
    kept = counts[:size]
    p = kept.copy()
    p[-1] += counts[size:].sum()
    level = np.arange(size) * levels // size
    filled = kept > 0
    totals = np.bincount(level, kept, levels)
    members = np.bincount(level, filled, levels)
    q = np.where(filled, (totals / np.maximum(members, 1))[level], 0.0)
    real = p > 0
    if not q.sum() or (q[real] == 0).any():
        return float("inf")
    p, q = p[real] / p.sum(), q[real] / q.sum()
    return float((p * np.log(p / q)).sum())


def _squared_error(values: Array, weights: Array, tried: Range, bits: int) -> float:
    step = (tried.high - tried.low) / (2**bits - 1)
    if step == 0:
        return 0.0
    zero = np.rint(-tried.low / step)
    rounded = (np.clip(np.rint(values / step) + zero, 0, 2**bits - 1) - zero) * step
    return float((weights * (values - rounded) ** 2).sum())
