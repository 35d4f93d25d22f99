from __future__ import annotations

import numpy as np
import pytest

from edge_msa.benchmark.streams.measure import synthetic_utterances
from edge_msa.benchmark.streams.playback import play, split_utterances
from edge_msa.benchmark.streams.regret import Optimum, optimum, prior_prediction
from edge_msa.data.synthetic.bayes_optimum import mean
from edge_msa.data.synthetic.posterior import combine, log_likelihoods
from edge_msa.data.synthetic.world import GRID
from edge_msa_runtime.modalities import Subset
from edge_msa_runtime.replay.scenarios import PRESETS

SPLIT = synthetic_utterances(30)
PLAYBACK = play(split_utterances(SPLIT), PRESETS["bursty"], 0)


def best() -> Optimum:
    return optimum(SPLIT, PLAYBACK.rows, PLAYBACK.seen)


def test_regret_of_the_optimal_prediction_is_zero() -> None:
    result = best()
    assert result.regret(result.prediction) == pytest.approx(np.zeros(len(PLAYBACK.rows)))


def test_regret_of_other_predictions_is_positive() -> None:
    result = best()
    for predictions in (
        np.full(len(PLAYBACK.rows), prior_prediction()),
        mean(result.probability),
        result.prediction + 1,
    ):
        regret = result.regret(predictions)
        assert regret.min() >= -1e-12
        assert regret.mean() > 0
    assert result.regret(np.full(len(PLAYBACK.rows), prior_prediction())).mean() > 0.2


def test_coverage_is_the_probability_of_the_interval() -> None:
    result = best()
    count = len(PLAYBACK.rows)
    assert result.coverage(np.full(count, -3), np.full(count, 3)) == pytest.approx(np.ones(count))
    assert result.coverage(np.full(count, -3), np.full(count, -0.1)) + result.coverage(
        np.zeros(count), np.full(count, 3)
    ) == pytest.approx(np.ones(count))
    assert result.coverage(result.prediction, result.prediction) == pytest.approx(
        result.probability[np.arange(count), np.searchsorted(GRID, result.prediction - 0.05)]
    )


def test_prior_is_optimal_before_anything_arrives() -> None:
    nothing = {name: np.zeros((3, mask.shape[1]), dtype=np.bool_) for name, mask in PLAYBACK.seen.items()}
    result = optimum(SPLIT, np.array([0, 0, 7]), nothing)
    assert result.prediction == pytest.approx([prior_prediction()] * 3)
    assert prior_prediction() == 0


def test_error_falls_as_frames_arrive() -> None:
    playback = play(split_utterances(SPLIT), PRESETS["clean"], 0)
    error = optimum(SPLIT, playback.rows, playback.seen).error
    by_time = [error[np.isclose(playback.times, time)].mean() for time in (0.4, 1.2, 2.0, 3.2)]
    assert by_time == sorted(by_time, reverse=True)


def test_expected_error_is_the_mean_under_the_posterior() -> None:
    probability = np.zeros((1, len(GRID)))
    probability[0, [0, -1]] = 0.25, 0.75  # -3 and 3
    assert Optimum(probability).error == pytest.approx([1.5])
    assert Optimum(probability).regret([0.0]) == pytest.approx([1.5])


def test_optimum_of_many_moments_equals_that_of_single_samples() -> None:
    result = best()
    for moment in (0, 5, 60):
        row = PLAYBACK.rows[[moment]]
        seen = {name: mask[[moment]] for name, mask in PLAYBACK.seen.items()}
        logs = log_likelihoods(SPLIT.select(row), valid=seen)
        assert result.probability[[moment]] == pytest.approx(combine(logs, Subset.LAV))
