"""Statistics of latencies, on samples that are drawn instead of measured."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edge_msa_runtime.benchmark.latency_statistics import (
    CANNOT_TELL,
    FASTER,
    NO_DIFFERENCE,
    SLOWER,
    Measured,
    Outliers,
    compare,
    count_outliers,
    find_distribution,
    is_steady,
    min_samples,
    spread_of,
    student_t,
    summarize,
)


def draw(seed: int, processes: int = 5, samples: int = 200) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.lognormal(0.0, 0.1, samples) for _ in range(processes)]


@pytest.mark.parametrize(("quantile", "samples"), [(0.5, 11), (0.9, 64), (0.95, 130), (0.99, 662)])
def test_percentiles_need_the_samples_of_the_rule_of_mlperf(quantile: float, samples: int) -> None:
    assert min_samples(quantile) == samples


def test_a_percentile_is_unknown_below_the_number_of_samples_it_needs() -> None:
    unknown = {63: {"p90", "p95", "p99"}, 64: {"p95", "p99"}, 661: {"p99"}, 662: set()}
    for samples, names in unknown.items():
        summary = summarize(draw(0, processes=1, samples=samples))
        assert {name for name, value in summary.items() if value is None} == names


def test_intervals_contain_the_value_and_need_two_processes() -> None:
    summary = summarize(draw(1))
    for name in ("p50", "p90", "p95", "p99", "mean"):
        item = summary[name]
        assert item is not None
        assert item.low is not None
        assert item.high is not None
        assert 0 < item.low <= item.value <= item.high
    assert summary["max"] == Measured(max(samples.max() for samples in draw(1)))
    assert summarize(draw(1, processes=1))["p50"] == Measured(float(np.median(draw(1, processes=1)[0])))


def test_the_order_of_percentiles_is_kept() -> None:
    summary = summarize([np.arange(1.0, 701.0), np.arange(1.0, 701.0)])
    assert [summary[name].value for name in ("p50", "p90", "p95", "p99")] == pytest.approx(  # type: ignore[union-attr]
        [350.5, 630.1, 665.05, 693.01]
    )
    assert find_distribution([np.arange(0.0, 21.0)]) == pytest.approx(list(range(21)))


def test_processes_that_differ_widen_the_interval() -> None:
    def width(shift: float) -> float:
        item = summarize([samples + shift * index for index, samples in enumerate(draw(2))])["p50"]
        assert item is not None
        assert item.low is not None
        assert item.high is not None
        return item.high - item.low

    assert width(0.2) > 5 * width(0.0)


@pytest.mark.parametrize("processes", [[], [[]], [[1.0, math.nan]], [[1.0, math.inf]]])
def test_no_samples_and_infinite_ones_are_errors(processes: list[list[float]]) -> None:
    with pytest.raises(ValueError, match=r"at least one sample|must be finite"):
        summarize(processes)


def test_outliers_are_classified_by_the_fences_of_their_process() -> None:
    ordinary = list(np.linspace(9.0, 11.0, 101))  # quartiles 9.5 and 10.5: fences at 6.5, 8, 12 and 13.5
    outliers = count_outliers([[*ordinary, 6.0, 7.0, 12.5, 13.0, 14.0, 99.0], [100.0, 101.0, 102.0, 103.0]])
    assert outliers == Outliers(low_severe=1, low_mild=1, high_mild=2, high_severe=2)


def test_the_spread_is_the_median_and_the_range() -> None:
    assert spread_of([3.0, 1.0, 2.0]) == Measured(2.0, 1.0, 3.0)
    assert spread_of([]) is None


def test_quantiles_of_student_are_those_of_tables() -> None:
    assert student_t(0.975, 1) == pytest.approx(12.7062, abs=1e-4)
    assert student_t(0.975, 4) == pytest.approx(2.7764, abs=1e-4)
    assert student_t(0.995, 9) == pytest.approx(3.2498, abs=1e-4)
    assert student_t(0.975, 1000) == pytest.approx(1.9623, abs=1e-4)


def test_a_comparison_finds_what_is_slower_and_faster() -> None:
    first, second = draw(3), draw(4)
    slower = [1.1 * samples for samples in first]
    assert compare(slower, second).verdict == SLOWER
    assert compare(second, slower).verdict == FASTER
    same = compare(first, first)
    assert (same.verdict, same.ratio) == (NO_DIFFERENCE, Measured(1.0, 1.0, 1.0))


def test_drift_that_both_programs_share_does_not_matter() -> None:
    drift = [np.exp(0.5 * np.sin(np.arange(200) / 60 + process)) for process in range(5)]
    first = [samples * shared for samples, shared in zip(draw(5), drift)]
    second = [1.1 * samples * shared for samples, shared in zip(draw(6), drift)]
    result = compare(first, second)
    assert result.verdict == FASTER
    assert result.ratio.low is not None
    assert result.ratio.high is not None
    assert result.ratio.low <= 1 / 1.1 <= result.ratio.high


def test_one_process_and_few_noisy_ones_cannot_tell() -> None:
    first, second = draw(7, processes=1), draw(8, processes=1)
    assert compare(first, second).verdict == CANNOT_TELL
    assert compare(first, second).ratio.low is None
    noisy = [samples * factor for samples, factor in zip(draw(7, processes=2), (1.0, 1.5))]
    assert compare(noisy, draw(8, processes=2)).verdict == CANNOT_TELL


def test_more_looks_need_a_wider_interval() -> None:
    def width(looks: int) -> float:
        ratio = compare(draw(9), draw(10), looks=looks).ratio
        assert ratio.low is not None
        assert ratio.high is not None
        return ratio.high - ratio.low

    assert width(1) < width(2) < width(3)


def test_samples_that_cannot_be_compared_are_errors() -> None:
    with pytest.raises(ValueError, match="same number of samples"):
        compare(draw(0), draw(0, samples=100))
    with pytest.raises(ValueError, match="positive"):
        compare([np.zeros(20)], [np.ones(20)])


def test_a_warm_up_is_steady_when_windows_no_longer_differ() -> None:
    falling = 1.0 + 5.0 * np.exp(-np.arange(200) / 20)
    assert not is_steady(falling[:59])  # fewer than three windows
    assert not is_steady(falling[:60])
    assert not is_steady(falling[:100])
    assert is_steady(falling)
    assert sum(is_steady(samples) for samples in draw(11, processes=200, samples=60)) > 160  # 180 are expected
