from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from edge_msa_calibrate.errors import CalibrationError
from edge_msa_calibrate.histogram import Histogram, HistogramBuilder
from edge_msa_calibrate.ranges import (
    METHODS,
    ActivationRange,
    compute_ranges,
    entropy_range,
    format_ranges,
    minmax_range,
    mse_range,
    percentile_range,
)
from edge_msa_calibrate.statistics import Statistics
from edge_msa_runtime.bundle.manifest import GraphKey
from edge_msa_runtime.modalities import Subset

Array = npt.NDArray[Any]

GRAPH = GraphKey.window(Subset.L)


def histogram_of(values: Array, bins: int = 2048) -> Histogram:
    builder = HistogramBuilder(bins)
    builder.add(values.astype(np.float32))
    return builder.histogram()


def signed(count: int = 40_000) -> Array:
    return (np.random.default_rng(0).standard_t(4, count) + 0.3).astype(np.float32)


def rectified(count: int = 40_000) -> Array:
    return np.maximum(signed(count), 0)


@pytest.mark.parametrize("values", [signed(), rectified(), -rectified() - 1])
def test_minmax_covers_all_values_and_zero(values: Array) -> None:
    assert minmax_range(histogram_of(values)) == (min(values.min(), 0), max(values.max(), 0))


@pytest.mark.parametrize("percent", [99.99, 99.0, 100.0])
@pytest.mark.parametrize("values", [signed(), rectified()])
def test_percentile_equals_numpy_on_raw_data(values: Array, percent: float) -> None:
    histogram = histogram_of(values)
    cut = (100 - percent) / 2
    low, high = np.percentile(values, [cut, 100 - cut])
    assert percentile_range(histogram, percent) == pytest.approx((min(low, 0), max(high, 0)), abs=0.05 * high)
    assert percentile_range(histogram, percent).high <= values.max()


def reference_entropy(values: Array, width: float, levels: int) -> float:
    """Follow Migacz's description literally on the raw magnitudes."""
    size = int(np.abs(values).max() / width) + 1
    bins = [0.0] * size
    for value in np.abs(values):
        bins[int(value / width)] += 1
    bins[0] = bins[1]
    best, threshold = float("inf"), 0.0
    for i in range(levels, size + 1):
        p = bins[:i]
        outliers = sum(bins[i:])
        q = [0.0] * i
        for level in range(levels):
            members = [b for b in range(i) if b * levels // i == level]
            filled = [b for b in members if bins[b] > 0]
            for b in filled:
                q[b] = sum(bins[m] for m in members) / len(filled)
        p = [*p[:-1], p[-1] + outliers]
        if any(a > 0 and b == 0 for a, b in zip(p, q, strict=True)):
            continue
        terms = [(a / sum(p)) * np.log((a / sum(p)) / (b / sum(q))) for a, b in zip(p, q, strict=True) if a > 0]
        if sum(terms) < best - 1e-12:
            best, threshold = sum(terms), i * width
    return threshold


@pytest.mark.parametrize("values", [signed(4000), rectified(4000)])
def test_entropy_equals_the_reference_on_raw_data(values: Array) -> None:
    histogram = histogram_of(values, 128)
    expected = reference_entropy(values, histogram.width, 16)
    actual = entropy_range(histogram, bits=5)
    assert actual.high == pytest.approx(min(expected, values.max()))
    assert actual.low == pytest.approx(max(-expected, min(values.min(), 0)))
    assert expected < np.abs(values).max()


def test_entropy_covers_all_of_a_few_distinct_values() -> None:
    assert entropy_range(histogram_of(np.zeros(10))) == (0, 0)
    assert entropy_range(histogram_of(np.full(10, 1e-3))) == ActivationRange(0, float(np.float32(1e-3)))


def squared_error(values: Array, low: float, high: float) -> float:
    """Return the mean squared error of uint8 with an integer zero point, on raw data."""
    step = (high - low) / 255
    zero = round(-low / step)
    integers = np.clip(np.rint(values.astype(np.float64) / step) + zero, 0, 255)
    return float(np.mean((values - (integers - zero) * step) ** 2))


@pytest.mark.parametrize("values", [signed(), rectified()])
def test_mse_is_the_best_of_all_candidates_on_raw_data(values: Array) -> None:
    low, high = mse_range(histogram_of(values))
    full = minmax_range(histogram_of(values))
    best = min(squared_error(values, full.low * share, full.high * share) for share in np.linspace(0.2, 1, 161))
    assert squared_error(values, low, high) <= best * 1.02
    assert squared_error(values, low, high) < squared_error(values, *full)


def test_mse_does_not_clip_uniform_values() -> None:
    values = np.random.default_rng(0).uniform(0, 1, 20_000)
    assert mse_range(histogram_of(values)).high > 0.99 * values.max()


@pytest.mark.parametrize("method", METHODS)
def test_every_range_includes_zero_and_no_unseen_values(method: Any) -> None:
    data = {"a": signed(), "b": rectified() + 1, "c": np.zeros(5, np.float32), "d": -rectified()}
    ranges = compute_ranges(
        Statistics({GRAPH: {key: histogram_of(item) for key, item in data.items()}}, {GRAPH: 1}), method
    )
    assert list(ranges) == list(data)
    for key, values in data.items():
        assert min(values.min(), 0) <= ranges[key].low <= 0 <= ranges[key].high <= max(values.max(), 0)
    # The method may clip part of a heavy tail but not the bulk of the values.
    assert ranges["a"].high > np.quantile(signed(), 0.99)


def test_invalid_method_and_percentile_are_rejected() -> None:
    statistics = Statistics({GRAPH: {"a": histogram_of(signed())}}, {GRAPH: 1})
    with pytest.raises(CalibrationError, match=r"Unknown calibration method 'median'\. Available: minmax"):
        compute_ranges(statistics, "median")  # type: ignore[arg-type]
    with pytest.raises(CalibrationError, match="percent must be above 0 and at most 100, got 0"):
        percentile_range(statistics.histograms["a"], 0)


def test_table_has_one_line_per_tensor() -> None:
    text = format_ranges({"encoders.audio.embed.weight:input": ActivationRange(-1.5, 2.5), "b": ActivationRange(0, 1)})
    assert [line.split() for line in text.splitlines()] == [
        ["tensor", "low", "high", "step"],
        ["encoders.audio.embed.weight:input", "-1.5", "2.5", "1.57e-02"],
        ["b", "0", "1", "3.92e-03"],
    ]
    assert format_ranges({}) == "no ranges"
