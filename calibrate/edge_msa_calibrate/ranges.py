"""Choose the range of values that eight bits cover, from a tensor's histogram.

Every method is a pure function of a histogram. A range always includes zero.
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

_POINTS_PER_BIN = 4
_SHARES = np.linspace(0.2, 1.0, 161)


class ActivationRange(NamedTuple):
    """The range of a tensor, `low` <= 0 <= `high`. Values outside saturate."""

    low: float
    high: float


def compute_ranges(
    statistics: Statistics, method: Method, smoothing: Mapping[str, Array] | None = None
) -> dict[str, ActivationRange]:
    """Return the range of every observed tensor by key.

    Args:
        statistics: of the calibration samples.
        method: how to choose a range from a histogram.
        smoothing: factors by weight name, from `compute_smoothing`. The input of a smoothed layer has no outliers left
            to clip, so its range covers all observed values with every method.

    Raises:
        CalibrationError: the method is unknown.
    """
    functions: dict[str, Callable[[Histogram], ActivationRange]] = {
        "minmax": minmax_range,
        "percentile": percentile_range,
        "entropy": entropy_range,
        "mse": mse_range,
    }
    if method not in functions:
        raise CalibrationError(f"Unknown calibration method {method!r}. Available: {', '.join(METHODS)}.")
    ranges = {key: functions[method](item) for key, item in statistics.histograms.items()}
    for weight, factors in (smoothing or {}).items():
        low, high = statistics.channel_ranges[f"{weight}:input"] / factors
        ranges[f"{weight}:input"] = ActivationRange(min(float(low.min()), 0.0), max(float(high.max()), 0.0))
    return ranges


def minmax_range(histogram: Histogram) -> ActivationRange:
    """Return the range of all observed values."""
    return _clipped(histogram, histogram.minimum, histogram.maximum)


def percentile_range(histogram: Histogram, percent: float = 99.99) -> ActivationRange:
    """Return the range of the middle `percent` of the values, clipping both ends equally as ONNX Runtime does.

    Raises:
        CalibrationError: `percent` is not in (0, 100].
    """
    if not 0 < percent <= 100:
        raise CalibrationError(f"percent must be above 0 and at most 100, got {percent:g}.")
    cut = (1 - percent / 100) / 2
    below = np.concatenate([[0], np.cumsum(histogram.counts)]) / histogram.count
    low, high = np.interp([cut, 1 - cut], below, histogram.edges)
    return _clipped(histogram, float(low), float(high))


def entropy_range(histogram: Histogram, bits: int = 8) -> ActivationRange:
    """Return the symmetric range whose quantized distribution has the least KL divergence from the original.

    This is TensorRT's calibrator (S. Migacz, 8-bit Inference with TensorRT, GTC 2017). For every number of bins i from
    128 on, P is the first i bins of |value| with all outliers added to the last bin. Q is the same bins without the
    outliers, merged into 128 levels and distributed evenly over the bins that were not empty. The first bin takes the
    count of the second, as in NVIDIA's pytorch-quantization: a Relu's exact zeros cost nothing at any scale and would
    dominate the rest.
    """
    levels = 2 ** (bits - 1)
    counts = histogram.magnitudes().astype(np.float64)
    counts[0] = counts[1]
    used = int(np.flatnonzero(counts)[-1]) + 1 if counts.any() else 0
    # Every filled bin can have its own level, so clipping gains nothing.
    if np.count_nonzero(counts) <= levels:
        return minmax_range(histogram)
    divergences = [_kullback_leibler(counts, size, levels) for size in range(levels, used + 1)]
    threshold = (levels + int(np.argmin(divergences))) * histogram.width
    return _clipped(histogram, -threshold, threshold)


def mse_range(histogram: Histogram, bits: int = 8) -> ActivationRange:
    """Return the range with the least mean squared error of rounding and saturation.

    The candidates are 0.2 to 1 times the full range, with both ends scaled alike.
    """
    full = minmax_range(histogram)
    filled = histogram.counts > 0
    # Several points per bin: the centers alone would alias with the quantization steps, which are a few bins wide.
    offsets = (np.arange(_POINTS_PER_BIN) + 0.5) / _POINTS_PER_BIN * histogram.width
    points = histogram.edges[:-1, None] + offsets
    # A Relu's exact zeros fall into this bin and have no error at any scale; the bin's center would have one.
    points[histogram.bins] = 0
    values = np.clip(points[filled], histogram.minimum, histogram.maximum)
    weights = histogram.counts[filled][:, None] / _POINTS_PER_BIN
    candidates = [ActivationRange(full.low * share, full.high * share) for share in _SHARES.tolist()]
    errors = [_squared_error(values, weights, candidate, bits) for candidate in candidates]
    # On a tie the widest range wins: it saturates least.
    return candidates[len(errors) - 1 - int(np.argmin(errors[::-1]))]


def format_ranges(ranges: Mapping[str, tuple[float, float]]) -> str:
    """Return a text table of tensor, low, high and the quantization step of eight bits."""
    if not ranges:
        return "no ranges"
    width = max(len(key) for key in ranges)
    lines = [f"{'tensor':<{width}}  {'low':>9}  {'high':>9}  {'step':>9}"]
    for key, (low, high) in ranges.items():
        lines.append(f"{key:<{width}}  {low:>9.4g}  {high:>9.4g}  {(high - low) / 255:>9.2e}")
    return "\n".join(lines)


def _clipped(histogram: Histogram, low: float, high: float) -> ActivationRange:
    return ActivationRange(min(max(low, histogram.minimum), 0.0), max(min(high, histogram.maximum), 0.0))


def _kullback_leibler(counts: Array, size: int, levels: int) -> float:
    """Return KL(P || Q) for the first `size` bins, infinite if Q is zero where P is not."""
    kept = counts[:size]
    p = kept.copy()
    p[-1] += counts[size:].sum()
    level = np.arange(size) * levels // size
    filled = kept > 0
    totals = np.bincount(level, kept, levels)
    members = np.bincount(level, filled, levels)
    q = np.where(filled, (totals / np.maximum(members, 1))[level], 0.0)
    nonzero = p > 0
    if not q.sum() or (q[nonzero] == 0).any():
        return float("inf")
    p, q = p[nonzero] / p.sum(), q[nonzero] / q.sum()
    return float((p * np.log(p / q)).sum())


def _squared_error(values: Array, weights: Array, candidate: ActivationRange, bits: int) -> float:
    step = (candidate.high - candidate.low) / (2**bits - 1)
    if step == 0:
        return 0.0
    zero = np.rint(-candidate.low / step)
    rounded = (np.clip(np.rint(values / step) + zero, 0, 2**bits - 1) - zero) * step
    return float((weights * (values - rounded) ** 2).sum())
