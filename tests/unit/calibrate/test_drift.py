from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.spatial.distance import jensenshannon

from edge_msa_calibrate.drift import jensen_shannon, measure_drift, share_outside, significant_drift
from edge_msa_calibrate.errors import CalibrationError
from edge_msa_calibrate.histogram import Histogram, HistogramBuilder
from edge_msa_calibrate.ranges import compute_ranges
from edge_msa_calibrate.statistics import Statistics
from edge_msa_runtime.bundle.manifest import GraphKey
from edge_msa_runtime.modalities import Subset

Array = npt.NDArray[Any]

GRAPH = GraphKey.window(Subset.L)


def histogram_of(values: Array, bins: int = 2048) -> Histogram:
    builder = HistogramBuilder(bins)
    builder.add(values.astype(np.float32))
    return builder.histogram()


def normal(seed: int, count: int = 20_000) -> Array:
    return np.random.default_rng(seed).standard_normal(count)


def statistics(values: Array) -> Statistics:
    histograms = {"w:input": histogram_of(values), "w:output": histogram_of(np.maximum(values, 0))}
    return Statistics({GRAPH: histograms}, {GRAPH: 1})


def drifting_tensors(calibrated: Array, other: Array) -> list[str]:
    one = statistics(calibrated)
    return [item.key for item in significant_drift(measure_drift(one, statistics(other), compute_ranges(one, "mse")))]


def test_distance_equals_scipy_over_quantile_bins() -> None:
    one, two = normal(0), normal(1) * 1.7 + 0.3
    edges = np.quantile(one, np.arange(1, 32) / 32)
    shares = [np.bincount(np.searchsorted(edges, values), minlength=32) / len(values) for values in (one, two)]
    expected = jensenshannon(*shares, base=2) ** 2
    assert jensen_shannon(histogram_of(one), histogram_of(two)) == pytest.approx(expected, rel=0.02)
    assert jensen_shannon(histogram_of(one), histogram_of(one)) == 0
    assert jensen_shannon(histogram_of(one), histogram_of(one + 100)) > 0.9


def test_share_outside_equals_numpy() -> None:
    values = normal(2)
    expected = ((values < -1) | (values > 1.5)).mean()
    assert share_outside(histogram_of(values), -1.0, 1.5) == pytest.approx(expected, abs=0.002)
    assert share_outside(histogram_of(np.maximum(values, 0)), 0.0, 9.0) == 0


def test_samples_of_one_distribution_do_not_drift() -> None:
    assert drifting_tensors(normal(3), normal(4)) == []
    assert drifting_tensors(normal(3), normal(4, 1000)) == []


@pytest.mark.parametrize("change", [lambda x: x * 2.5, lambda x: x + 1.5, lambda x: x * 0.3, lambda x: x * 0])
def test_rescaled_or_shifted_values_drift(change: Any) -> None:
    assert "w:input" in drifting_tensors(normal(5), change(normal(6)))


def test_outliers_are_reported_by_their_share() -> None:
    other = normal(7)
    other[:800] = 30
    one = statistics(normal(8))
    drifts = significant_drift(measure_drift(one, statistics(other), compute_ranges(one, "minmax")))
    assert drifts[0].outside == pytest.approx(0.04, abs=0.001)
    assert "4.0% of the values are outside the range (0.0% in calibration)" in str(drifts[0])


def test_histograms_of_different_bins_are_rejected() -> None:
    with pytest.raises(CalibrationError, match="Cannot compare histograms of 2048 and of 64 bins"):
        jensen_shannon(histogram_of(normal(0)), histogram_of(normal(0), 64))
