"""Simulate how often two methods are called different: `pytest FILE -k rate -s` prints the rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_msa.data.tasks import MOSI
from edge_msa.errors import EdgeMsaError
from edge_msa.evaluation.metrics import (
    Estimate,
    Method,
    Units,
    average_estimates,
    compare_methods,
    compare_paired,
    estimate_metrics,
    measure,
    seed_interval,
)
from edge_msa.evaluation.metrics.units import MAX_UNITS

VIDEOS = 31
METRICS = ("mae", "acc2_non0", "f1_non0")
BOTH = ("mae", "f1_non0")
Floats = NDArray[np.float64]


def units_of(videos: NDArray[np.int64]) -> Units:
    return Units.of([f"video{number:04}" for number in videos])


def estimate(truth: Floats, prediction: Floats, videos: NDArray[np.int64], metric: str = "mae") -> Estimate:
    return estimate_metrics(MOSI, truth, prediction, np.arange(len(truth)), units_of(videos), [metric])[metric]


def simulate_trainings(
    generator: np.random.Generator,
    seeds: int,
    seed_deviations: tuple[float, float],
    gain: float,
    *,
    video_deviation: float = 0.0,
    subsets: int = 1,
    metrics: Sequence[str] = BOTH,
) -> tuple[Mapping[str, Method], Mapping[str, Method]]:
    """Return two methods on the same test split by metric. The second one's errors are smaller by the share `gain`.

    The errors of all trainings have a common part, which varies between videos and samples. The quality of a training
    depends on its seed, and so do its errors on each video and each sample. With `video_deviation`, each method also
    has its own error on each video, which all its trainings share.
    """
    sizes = generator.integers(5, 26, VIDEOS)
    videos = np.repeat(np.arange(VIDEOS), sizes)
    samples = len(videos)
    truth = generator.normal(0, 1, VIDEOS)[videos] + generator.normal(0, 1, samples)
    common = [generator.normal(0, 0.5, VIDEOS)[videos] + generator.normal(0, 1.0, samples) for _ in range(subsets)]
    units, rows = units_of(videos), np.arange(samples)

    def training(scale: float, deviation: float, own: Floats) -> Mapping[str, Estimate]:
        quality = scale + generator.normal(0, deviation)
        predictions = [
            truth
            + own
            + quality * errors
            + generator.normal(0, 0.1, VIDEOS)[videos]
            + generator.normal(0, 0.3, samples)
            for errors in common
        ]
        by_subset = [estimate_metrics(MOSI, truth, item, rows, units, metrics) for item in predictions]
        return {metric: average_estimates([item[metric] for item in by_subset]) for metric in metrics}

    def method(scale: float, deviation: float) -> Mapping[str, Method]:
        own = generator.normal(0, video_deviation, VIDEOS)[videos] if video_deviation else np.zeros(samples)
        trainings = [training(scale, deviation, own) for _ in range(seeds)]
        return {metric: Method([item[metric] for item in trainings]) for metric in metrics}

    return method(1.0, seed_deviations[0]), method(1.0 - gain, seed_deviations[1])


SEEDS_ONLY = "mae over seeds alone"


@cache
def rates(
    *,
    seeds: int = 5,
    seed_deviations: tuple[float, float] = (0.04, 0.04),
    video_deviation: float = 0.0,
    gain: float = 0.0,
    subsets: int = 1,
    metrics: Sequence[str] = BOTH,
    repeats: int = 400,
) -> Mapping[str, float]:
    """Return the share of repeats in which the two methods are called different, by metric and for `SEEDS_ONLY`."""
    generator = np.random.default_rng(12)
    found = dict.fromkeys((*metrics, SEEDS_ONLY), 0)
    for _ in range(repeats):
        first, second = simulate_trainings(
            generator, seeds, seed_deviations, gain, video_deviation=video_deviation, subsets=subsets, metrics=metrics
        )
        for metric in metrics:
            found[metric] += compare_methods(first[metric], second[metric]).is_significant
        interval = seed_interval(*([item.value for item in method["mae"].estimates] for method in (first, second)))
        found[SEEDS_ONLY] += interval is not None and not interval[0] <= 0 <= interval[1]
    result = {metric: count / repeats for metric, count in found.items()}
    shown = ", ".join(f"{metric} {100 * rate:.1f} %" for metric, rate in result.items())
    print(
        f"{seeds} seeds, deviations {seed_deviations} between seeds and {video_deviation:g} between videos, "
        f"gain {gain:g}, {subsets} subsets: called different in {shown} of {repeats} repeats"
    )
    return result


@pytest.mark.case("E1")
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.slow
def test_the_error_rate_of_a_method_against_itself(metric: str) -> None:
    assert 0.03 <= rates(metrics=METRICS)[metric] <= 0.08


@pytest.mark.case("E1")
def test_the_error_rate_if_the_seeds_are_alike() -> None:
    assert 0.03 <= rates(seed_deviations=(0.0, 0.0), metrics=("mae",))["mae"] <= 0.08


@pytest.mark.case("E1")
def test_the_error_rate_if_only_one_method_depends_on_the_seed() -> None:
    assert 0.03 <= rates(seed_deviations=(0.0, 0.08), metrics=("mae",))["mae"] <= 0.08


@pytest.mark.case("E1")
@pytest.mark.parametrize("seed_deviations", [(0.04, 0.04), (0.0, 0.0), (0.0, 0.08)])
def test_the_error_rate_of_methods_that_are_good_on_different_videos(seed_deviations: tuple[float, float]) -> None:
    result = rates(seed_deviations=seed_deviations, video_deviation=0.3, metrics=("mae",))
    assert 0.03 <= result["mae"] <= 0.08
    assert result[SEEDS_ONLY] > 0.1


@pytest.mark.slow
@pytest.mark.case("E1")
@pytest.mark.parametrize("seeds", [2, 3])
@pytest.mark.parametrize("seed_deviations", [(0.04, 0.04), (0.0, 0.08)])
@pytest.mark.parametrize("video_deviation", [0.0, 0.3])
def test_the_error_rate_with_few_seeds(
    seeds: int, seed_deviations: tuple[float, float], video_deviation: float
) -> None:
    result = rates(
        seeds=seeds, seed_deviations=seed_deviations, video_deviation=video_deviation, metrics=("mae",), repeats=1200
    )
    assert result["mae"] <= (0.11 if 0.0 in seed_deviations else 0.07)


@pytest.mark.slow
@pytest.mark.case("E1")
@pytest.mark.parametrize(
    ("seed_deviations", "subsets"), [((0.04, 0.04), 1), ((0.0, 0.0), 1), ((0.0, 0.08), 1), ((0.04, 0.04), 6)]
)
def test_the_error_rates_of_classes_in_many_repeats(seed_deviations: tuple[float, float], subsets: int) -> None:
    result = rates(seed_deviations=seed_deviations, subsets=subsets, metrics=METRICS, repeats=1200)
    assert all(0.02 <= result[metric] <= 0.07 for metric in METRICS)


@pytest.mark.case("E1")
@pytest.mark.slow
def test_the_error_rate_of_the_average_of_six_subsets() -> None:
    assert 0.03 <= rates(subsets=6, metrics=("mae",))["mae"] <= 0.08


@pytest.mark.case("E1")
def test_the_rate_at_which_a_real_difference_is_found() -> None:
    assert rates(gain=0.1, repeats=100)["mae"] > 0.8


@pytest.mark.case("E1")
def test_one_seed_covers_videos_only() -> None:
    first, second = simulate_trainings(np.random.default_rng(0), 1, (0.04, 0.04), 0.5)
    result = compare_methods(first["mae"], second["mae"])
    assert not result.includes_zero
    assert not result.covers_seeds
    assert not result.is_significant


def test_a_constant_needs_no_seeds() -> None:
    first, second = simulate_trainings(np.random.default_rng(0), 3, (0.04, 0.04), 0.5)
    constant = Method(first["mae"].estimates[:1], depends_on_seed=False)
    assert compare_methods(constant, second["mae"]).is_significant


def test_a_comparison_has_a_direction() -> None:
    first, second = simulate_trainings(np.random.default_rng(0), 2, (0.04, 0.04), 0.2, subsets=2)
    result, reverse = (
        compare_methods(*pair) for pair in ((first["mae"], second["mae"]), (second["mae"], first["mae"]))
    )
    assert result.low < result.value < result.high
    assert (result.value, result.low) == pytest.approx((-reverse.value, -reverse.high))


def test_the_jackknife_leaves_out_whole_videos() -> None:
    generator = np.random.default_rng(3)
    videos = np.repeat(np.arange(8), 4)
    truth, prediction = generator.normal(0, 1, (2, 32))
    result = estimate(truth, prediction, videos)
    value = measure(MOSI, truth, prediction)["mae"]
    without = [measure(MOSI, truth[videos != one], prediction[videos != one])["mae"] for one in range(8)]
    assert result.value == pytest.approx(value)
    assert result.contributions == pytest.approx([7 * (value - other) for other in without], abs=1e-6)


def test_dependent_samples_widen_the_interval() -> None:
    """Both methods err by the same amount on every sample of a video."""
    generator = np.random.default_rng(3)
    videos = np.repeat(np.arange(20), 30)
    truth = np.zeros(600)
    predictions = generator.normal(0, 1, (2, 20))[:, videos]
    by_video, by_sample = (
        [Method([estimate(truth, one, units)], depends_on_seed=False) for one in predictions]
        for units in (videos, np.arange(600))
    )
    widths = [result.high - result.low for result in (compare_methods(*by_video), compare_methods(*by_sample))]
    assert widths[0] > 4 * widths[1]


def test_many_videos_are_left_out_together() -> None:
    truth, prediction = np.random.default_rng(3).normal(0, 1, (2, 5000))
    many = estimate(truth, prediction, np.arange(5000))
    assert len(many.contributions) == MAX_UNITS
    variance = np.var(np.abs(prediction - truth)) / 5000
    assert np.var(many.contributions, ddof=1) / MAX_UNITS == pytest.approx(variance, rel=0.2)


def test_with_few_videos_the_units_are_samples() -> None:
    assert (units_of(np.zeros(40, np.int64)).kind, units_of(np.zeros(40, np.int64)).count) == ("samples", 40)
    assert (units_of(np.arange(40) % 5).kind, units_of(np.arange(40) % 5).count) == ("groups", 5)


def test_absent_samples_do_not_contribute() -> None:
    truth, prediction = np.random.default_rng(3).normal(0, 1, (2, 40))
    rows = np.arange(10, 40)
    result = estimate_metrics(MOSI, truth[rows], prediction[rows], rows, units_of(np.arange(40)), ["mae"])["mae"]
    assert set(result.contributions[:10]) == {0.0}
    assert 0.0 not in result.contributions[10:]


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ([], [(5, 5)], "at least one prediction"),
        ([(6, 6)], [(7, 7)], "same 6 videos, got 7"),
        ([(1, 1)], [(1, 1)], "at least 2 videos, got 1"),
    ],
    ids=["none", "other-videos", "one-sample"],
)
def test_incomparable_methods_are_refused(
    first: Sequence[tuple[int, int]], second: Sequence[tuple[int, int]], message: str
) -> None:
    def method(sizes: Sequence[tuple[int, int]]) -> Method:
        return Method([estimate(np.ones(size), np.zeros(size), np.arange(videos)) for size, videos in sizes])

    with pytest.raises(EdgeMsaError, match=message):
        compare_methods(method(first), method(second))


def test_units_without_samples_add_no_degrees_of_freedom() -> None:
    """On a subset with samples of 3 of 40 videos, the interval is as wide as if there were no others."""
    generator = np.random.default_rng(3)
    videos, rows = np.repeat(np.arange(40), 4), np.arange(12)
    truth, *predictions = generator.normal(0, 1, (3, 12))
    many, few = (
        compare_methods(
            *(
                Method([estimate_metrics(MOSI, truth, one, rows, units, ["mae"])["mae"]], depends_on_seed=False)
                for one in predictions
            )
        )
        for units in (units_of(videos), Units(videos[rows], 3, "groups"))
    )
    assert many.high - many.low == pytest.approx(few.high - few.low, rel=0.25)


def test_a_comparison_of_two_given_models_does_not_cover_seeds() -> None:
    first, second = simulate_trainings(np.random.default_rng(0), 1, (0.04, 0.04), 0.5)
    models = (Method(item["mae"].estimates, depends_on_seed=False) for item in (first, second))
    result = compare_methods(*models)
    assert not result.includes_zero
    assert not result.covers_seeds
    assert not result.is_significant


def test_methods_that_share_trainings_are_compared_in_pairs() -> None:
    first, _ = simulate_trainings(np.random.default_rng(0), 3, (0.1, 0.1), 0.0)
    shifted = Method([replace(item, value=item.value + 0.02) for item in first["mae"].estimates])
    result, apart = (compare(first["mae"], shifted) for compare in (compare_paired, compare_methods))
    assert result.is_significant
    assert (result.low, result.value, result.high) == pytest.approx((0.02, 0.02, 0.02))
    assert apart.includes_zero


def test_equal_models_do_not_differ() -> None:
    truth = np.random.default_rng(3).normal(0, 1, 40)
    model = Method([estimate(truth, truth[::-1], np.arange(40))], depends_on_seed=False)
    result = compare_methods(model, model)
    assert (result.low, result.value, result.high) == (0.0, 0.0, 0.0)
