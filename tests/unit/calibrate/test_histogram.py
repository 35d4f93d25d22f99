from __future__ import annotations

import numpy as np
import pytest

from edge_msa_calibrate.errors import CalibrationError
from edge_msa_calibrate.histogram import Histogram, HistogramBuilder, merge_histograms


def histogram_of_ones(bins: int) -> Histogram:
    builder = HistogramBuilder(bins)
    builder.add(np.ones(3, np.float32))
    return builder.histogram()


def test_histogram_equals_numpy_on_all_values() -> None:
    values = np.random.default_rng(0).standard_normal(5000).astype(np.float32) * 3
    # Sorted by magnitude, so that the limit grows several times.
    values = values[np.argsort(np.abs(values))]
    builder = HistogramBuilder(64)
    for batch in np.array_split(values, 17):
        builder.add(batch)
    histogram = builder.histogram()
    assert np.array_equal(histogram.counts, np.histogram(values, histogram.edges)[0])
    assert (histogram.minimum, histogram.maximum, histogram.count) == (values.min(), values.max(), 5000)
    assert histogram.limit / 2 <= np.abs(values).max() < histogram.limit


def test_histogram_does_not_depend_on_order_or_batches() -> None:
    values = (np.random.default_rng(1).standard_normal(3000) ** 5).astype(np.float32)
    one, many = HistogramBuilder(), HistogramBuilder()
    one.add(values)
    for batch in np.array_split(values[::-1], 29):
        many.add(batch)
    assert np.array_equal(one.histogram().counts, many.histogram().counts)
    assert one.histogram().limit == many.histogram().limit


def test_batches_of_zeros_do_not_change_the_limit() -> None:
    values, zeros = np.full(5, 1e-3, np.float32), np.zeros(4, np.float32)
    histograms = []
    for batches in ((zeros, values), (values, zeros), (np.concatenate([zeros, values]),)):
        builder = HistogramBuilder()
        for batch in batches:
            builder.add(batch)
        histograms.append(builder.histogram())
    assert {item.limit for item in histograms} == {2.0**-9}
    for item in histograms[1:]:
        assert np.array_equal(item.counts, histograms[0].counts)


def test_merged_histograms_equal_one_of_all_values() -> None:
    rng = np.random.default_rng(1)
    parts = [(rng.standard_normal(500) * scale).astype(np.float32) for scale in (1, 30, 0.01)]
    builders = [HistogramBuilder(64) for _ in parts]
    for builder, values in zip(builders, parts, strict=True):
        builder.add(values)
    whole = HistogramBuilder(64)
    whole.add(np.concatenate(parts))
    merged, expected = merge_histograms([builder.histogram() for builder in builders]), whole.histogram()
    assert np.array_equal(merged.counts, expected.counts)
    assert (merged.limit, merged.minimum, merged.maximum) == (expected.limit, expected.minimum, expected.maximum)


def test_histograms_of_different_bins_do_not_merge() -> None:
    with pytest.raises(CalibrationError, match="Cannot merge a histogram of 64 bins into one of 32"):
        merge_histograms([histogram_of_ones(32), histogram_of_ones(64)])


def test_non_finite_values_and_odd_bins_are_rejected() -> None:
    with pytest.raises(CalibrationError, match="NaN or infinite"):
        HistogramBuilder().add(np.array([0.0, np.nan], np.float32))
    with pytest.raises(CalibrationError, match="bins must be even and at least 2, got 3"):
        HistogramBuilder(3)
