from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_msa.data.tasks import EMOTIONS, MOSI
from edge_msa.errors import EdgeMsaError
from edge_msa.evaluation.metrics import (
    bootstrap_interval,
    has_signal,
    mean_interval,
    measure,
    prediction_correlation,
    ratio_interval,
    simultaneous_mean_intervals,
)


def videos(seed: int, *, count: int = 30, each: int = 10) -> tuple[NDArray[np.float32], list[str]]:
    """Return labels that vary more between videos than within a video, and the video of each sample."""
    generator = np.random.default_rng(seed)
    means = np.repeat(generator.normal(0, 1, count), each)
    labels = means + generator.normal(0, 0.2, count * each)
    return labels.astype(np.float32), [f"video{row // each}" for row in range(count * each)]


def test_an_interval_contains_the_value_and_is_reproducible() -> None:
    truth, groups = videos(0)
    prediction = truth + np.random.default_rng(1).normal(0, 1, len(truth))
    interval = bootstrap_interval(MOSI, truth, prediction, groups, 5, metric="mae", resamples=200)
    assert interval.value == pytest.approx(measure(MOSI, truth, prediction)["mae"])
    assert interval.low < interval.value < interval.high
    assert interval == bootstrap_interval(MOSI, truth, prediction, groups, 5, metric="mae", resamples=200)
    assert interval.unit == "groups"


def test_dependent_samples_widen_the_interval() -> None:
    truth, groups = videos(0)
    prediction = np.zeros_like(truth)
    alone = [str(row) for row in range(len(truth))]
    by_video = bootstrap_interval(MOSI, truth, prediction, groups, metric="mae", resamples=300)
    by_sample = bootstrap_interval(MOSI, truth, prediction, alone, metric="mae", resamples=300)
    assert by_video.high - by_video.low > 1.5 * (by_sample.high - by_sample.low)


def test_with_few_videos_samples_are_resampled() -> None:
    truth, _ = videos(0)
    interval = bootstrap_interval(MOSI, truth, truth, ["one"] * len(truth), resamples=20)
    assert interval.unit == "samples"


def test_noise_and_constants_have_no_signal() -> None:
    truth, groups = videos(4)
    generator = np.random.default_rng(5)
    weak = 5.0 + truth + generator.normal(0, 1.5, len(truth))
    assert has_signal(MOSI, truth, weak, groups, resamples=200)
    assert not has_signal(MOSI, truth, np.full_like(truth, -1.0), groups, resamples=200)
    passed = [
        has_signal(MOSI, truth, generator.normal(0, 1, len(truth)), groups, seed, resamples=100) for seed in range(20)
    ]
    assert sum(passed) <= 4


def test_signal_of_emotions_uses_logits() -> None:
    generator = np.random.default_rng(6)
    truth = (generator.random((200, 4)) < 0.3).astype(np.float32)
    groups = [str(row // 5) for row in range(200)]
    assert has_signal(EMOTIONS, truth, truth + generator.normal(0, 1, truth.shape), groups, resamples=100)
    assert not has_signal(EMOTIONS, truth, np.full(truth.shape, -1.0), groups, resamples=100)


def test_prediction_correlation_compares_two_models() -> None:
    predictions = np.random.default_rng(7).normal(0, 1, 40)
    assert prediction_correlation(predictions, 2.0 * predictions + 1.0) == pytest.approx(1.0)
    assert prediction_correlation(np.ones(40), np.full(40, 3.0)) == 1.0
    assert prediction_correlation(np.ones(40), predictions) == 0.0
    with pytest.raises(EdgeMsaError, match="same non-empty shape"):
        prediction_correlation(predictions, predictions[:-1])


def test_unknown_metrics_and_wrong_groups_are_refused() -> None:
    truth, groups = videos(0)
    with pytest.raises(EdgeMsaError, match="Unknown metric 'accuracy'"):
        bootstrap_interval(MOSI, truth, truth, groups, metric="accuracy")
    with pytest.raises(EdgeMsaError, match="each of the 300 samples, got 299"):
        bootstrap_interval(MOSI, truth, truth, groups[:-1])


def test_ratio_of_means_resamples_pairs() -> None:
    """Values that are always a third of the others have no uncertainty, however much they vary."""
    others = np.random.default_rng(0).exponential(size=200)
    groups = [str(index) for index in range(200)]
    exact = ratio_interval(others / 3, others, groups)
    assert (exact.value, exact.low, exact.high) == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    varying = ratio_interval(np.random.default_rng(1).exponential(size=200), others, groups)
    assert varying.low < varying.value < varying.high
    with pytest.raises(EdgeMsaError, match="same non-empty shape"):
        ratio_interval(others, others[:3], groups)


def test_simultaneous_intervals_are_wider_than_single_ones() -> None:
    rng = np.random.default_rng(0)
    groups = [f"video{row // 4}" for row in range(120)]
    values = rng.normal(size=(120, 30))
    values[:, 0] = 0.25  # A constant column has no uncertainty.
    intervals = simultaneous_mean_intervals(values, groups)
    assert (intervals[0].low, intervals[0].high) == (0.25, 0.25)
    for column in range(1, 30):
        single, joint = mean_interval(values[:, column], groups), intervals[column]
        assert joint.value == pytest.approx(single.value)
        assert joint.high - joint.low > 1.2 * (single.high - single.low)
    assert intervals == simultaneous_mean_intervals(values, groups)


def test_simultaneous_intervals_refuse_wrong_shapes() -> None:
    with pytest.raises(EdgeMsaError, match=r"non-empty shape \(n, k\), got \(3,\)"):
        simultaneous_mean_intervals([1.0, 2.0, 3.0], ["a", "b", "c"])
    with pytest.raises(EdgeMsaError, match="each of the 2 samples, got 1"):
        simultaneous_mean_intervals([[1.0], [2.0]], ["a"])


@pytest.mark.slow
def test_one_set_of_simultaneous_intervals_in_twenty_misses_a_mean() -> None:
    rng = np.random.default_rng(0)
    groups = [f"video{row // 3}" for row in range(180)]
    missed = 0
    for _ in range(200):
        values = np.repeat(rng.normal(size=(60, 25)), 3, axis=0) + rng.normal(size=(180, 25))
        intervals = simultaneous_mean_intervals(values, groups, resamples=500)
        missed += any(item.low > 0 or item.high < 0 for item in intervals)
    assert 2 <= missed <= 22  # 10 are expected; fewer or more have a probability below 0.1 %.
