from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_msa.data.tasks import EMOTIONS, MOSI
from edge_msa.errors import EdgeMsaError
from edge_msa.evaluation.metrics import (
    bootstrap_interval,
    carries_signal,
    mean_difference,
    measure,
    paired_difference,
    prediction_correlation,
)


def videos(seed: int, *, count: int = 30, each: int = 10) -> tuple[NDArray[np.float32], list[str]]:
    """Labels that a video's utterances share for the most part."""
    generator = np.random.default_rng(seed)
    means = np.repeat(generator.normal(0, 1, count), each)
    labels = means + generator.normal(0, 0.2, count * each)
    return labels.astype(np.float32), [f"video{row // each}" for row in range(count * each)]


def test_interval_holds_the_value_and_repeats_with_its_seed() -> None:
    truth, groups = videos(0)
    prediction = truth + np.random.default_rng(1).normal(0, 1, len(truth))
    interval = bootstrap_interval(MOSI, truth, prediction, groups, 5, metric="mae", draws=200)
    assert interval.value == measure(MOSI, truth, prediction)["mae"]
    assert interval.low < interval.value < interval.high
    assert interval == bootstrap_interval(MOSI, truth, prediction, groups, 5, metric="mae", draws=200)
    assert interval.unit == "groups"


def test_dependent_utterances_widen_the_interval() -> None:
    truth, groups = videos(0)
    prediction = np.zeros_like(truth)
    alone = [str(row) for row in range(len(truth))]
    by_video = bootstrap_interval(MOSI, truth, prediction, groups, metric="mae", draws=300)
    by_sample = bootstrap_interval(MOSI, truth, prediction, alone, metric="mae", draws=300)
    assert by_video.deviation > 1.5 * by_sample.deviation


def test_too_few_videos_are_drawn_by_sample_and_say_so() -> None:
    truth, _ = videos(0)
    interval = bootstrap_interval(MOSI, truth, truth, ["one"] * len(truth), draws=20)
    assert interval.unit == "samples"


def test_a_pair_is_told_apart_more_finely_than_its_parts() -> None:
    truth, groups = videos(2)
    noise = np.random.default_rng(3).normal(0, 1, len(truth))
    first, second = truth + noise, truth + 0.9 * noise
    difference = paired_difference(MOSI, truth, first, second, groups, metric="mae", draws=200)
    alone = bootstrap_interval(MOSI, truth, first, groups, metric="mae", draws=200)
    assert difference.high < 0.0
    assert difference.deviation < alone.deviation


def test_equal_models_do_not_differ() -> None:
    truth, groups = videos(2)
    difference = paired_difference(MOSI, truth, truth[::-1], truth[::-1], groups, draws=20)
    assert (difference.low, difference.value, difference.high) == (0.0, 0.0, 0.0)


def test_signal_is_told_from_noise_and_from_constants() -> None:
    truth, groups = videos(4)
    generator = np.random.default_rng(5)
    weak = 5.0 + truth + generator.normal(0, 1.5, len(truth))
    assert carries_signal(MOSI, truth, weak, groups, draws=200)
    assert not carries_signal(MOSI, truth, np.full_like(truth, -1.0), groups, draws=200)
    passed = [
        carries_signal(MOSI, truth, generator.normal(0, 1, len(truth)), groups, seed, draws=100) for seed in range(20)
    ]
    assert sum(passed) <= 4


def test_signal_of_emotions_is_read_from_logits() -> None:
    generator = np.random.default_rng(6)
    truth = (generator.random((200, 4)) < 0.3).astype(np.float32)
    groups = [str(row // 5) for row in range(200)]
    assert carries_signal(EMOTIONS, truth, truth + generator.normal(0, 1, truth.shape), groups, draws=100)
    assert not carries_signal(EMOTIONS, truth, np.full(truth.shape, -1.0), groups, draws=100)


def test_prediction_correlation_compares_two_models() -> None:
    predictions = np.random.default_rng(7).normal(0, 1, 40)
    assert prediction_correlation(predictions, 2.0 * predictions + 1.0) == pytest.approx(1.0)
    assert prediction_correlation(np.ones(40), np.full(40, 3.0)) == 1.0
    assert prediction_correlation(np.ones(40), predictions) == 0.0
    with pytest.raises(EdgeMsaError, match="shapes"):
        prediction_correlation(predictions, predictions[:-1])


def test_wrong_names_and_groups_are_refused() -> None:
    truth, groups = videos(0)
    with pytest.raises(EdgeMsaError, match="unknown metric 'accuracy'"):
        bootstrap_interval(MOSI, truth, truth, groups, metric="accuracy")
    with pytest.raises(EdgeMsaError, match="299 groups for 300 samples"):
        bootstrap_interval(MOSI, truth, truth, groups[:-1])


def test_trainings_of_a_method_count_by_their_mean() -> None:
    truth, groups = videos(4)
    noise = np.random.default_rng(5).normal(0, 1, (3, len(truth)))
    first, second = [truth + noise[0]], [truth + 0.5 * noise[1], truth + 0.5 * noise[2]]
    found = mean_difference(MOSI, truth, first, second, groups, metric="mae", draws=200)
    errors = [measure(MOSI, truth, one)["mae"] for one in (*first, *second)]
    assert found.value == pytest.approx(np.mean(errors[1:]) - errors[0])
    assert found.low < found.value < found.high < 0.0
    backwards = mean_difference(MOSI, truth, second, first, groups, metric="mae", draws=200)
    assert (backwards.low, backwards.high) == pytest.approx((-found.high, -found.low))


def test_one_training_of_each_is_a_pair() -> None:
    truth, groups = videos(4)
    pair = paired_difference(MOSI, truth, truth + 1, truth, groups, draws=50)
    assert mean_difference(MOSI, truth, [truth + 1], [truth], groups, draws=50) == pair


def test_a_method_without_a_training_cannot_differ() -> None:
    truth, groups = videos(4)
    with pytest.raises(EdgeMsaError, match="at least one prediction"):
        mean_difference(MOSI, truth, [], [truth], groups)
