from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.spatial.distance import jensenshannon

from edge_msa_calibrate.drift import differing, drifts_of, jensen_shannon, share_beyond
from edge_msa_calibrate.errors import CalibrationError
from edge_msa_calibrate.histogram import Histogram, HistogramBuilder
from edge_msa_calibrate.ranges import compute_ranges
from edge_msa_calibrate.statistics import Statistics

Array = npt.NDArray[Any]


def histogram_of(values: Array, bins: int = 2048) -> Histogram:
    builder = HistogramBuilder(bins)
    builder.add(values.astype(np.float32))
    return builder.histogram()


def normal(seed: int, count: int = 20_000) -> Array:
    return np.random.default_rng(seed).standard_normal(count)


def statistics(values: Array) -> Statistics:
    found = {"w:input": histogram_of(values), "w:output": histogram_of(np.maximum(values, 0))}
    return Statistics({"l": found}, {"l": 1})


def told(mine: Array, theirs: Array) -> list[str]:
    one = statistics(mine)
    return [item.key for item in differing(drifts_of(one, statistics(theirs), compute_ranges(one, "mse")))]


def test_distance_is_scipy_s_over_quantile_bins() -> None:
    one, two = normal(0), normal(1) * 1.7 + 0.3
    edges = np.quantile(one, np.arange(1, 32) / 32)
    shares = [np.bincount(np.searchsorted(edges, values), minlength=32) / len(values) for values in (one, two)]
    expected = jensenshannon(*shares, base=2) ** 2
    assert jensen_shannon(histogram_of(one), histogram_of(two)) == pytest.approx(expected, rel=0.02)
    assert jensen_shannon(histogram_of(one), histogram_of(one)) == 0
    assert jensen_shannon(histogram_of(one), histogram_of(one + 100)) > 0.9


def test_share_beyond_is_numpy_s() -> None:
    values = normal(2)
    beyond = ((values < -1) | (values > 1.5)).mean()
    assert share_beyond(histogram_of(values), -1.0, 1.5) == pytest.approx(beyond, abs=0.002)
    assert share_beyond(histogram_of(np.maximum(values, 0)), 0.0, 9.0) == 0


def test_two_halves_of_one_set_do_not_differ() -> None:
    assert told(normal(3), normal(4)) == []
    assert told(normal(3), normal(4, 1000)) == []


@pytest.mark.parametrize("change", [lambda x: x * 2.5, lambda x: x + 1.5, lambda x: x * 0.3, lambda x: x * 0])
def test_another_scale_or_place_is_told(change: Any) -> None:
    assert "w:input" in told(normal(5), change(normal(6)))


def test_a_few_outliers_beyond_the_range_are_told_by_their_share() -> None:
    other = normal(7)
    other[:800] = 30
    one = statistics(normal(8))
    far = differing(drifts_of(one, statistics(other), compute_ranges(one, "minmax")))
    assert far[0].beyond == pytest.approx(0.04, abs=0.001)
    assert "4.0% of its values lie beyond the range (0.0% in calibration)" in str(far[0])


def test_histograms_of_other_bins_cannot_be_compared() -> None:
    with pytest.raises(CalibrationError, match="cannot be compared"):
        jensen_shannon(histogram_of(normal(0)), histogram_of(normal(0), 64))
