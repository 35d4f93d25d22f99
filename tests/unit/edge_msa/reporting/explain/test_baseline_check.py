from __future__ import annotations

import numpy as np
import pytest

from edge_msa.data.dataset import FloatArray
from edge_msa.data.tasks import EMOTIONS, MOSI
from edge_msa.reporting.explain.baseline_check import check_against_baselines

WARNING = "no better than a constant"
GROUPS = tuple(f"video{row // 4}" for row in range(80))
SCORES = np.random.default_rng(0).uniform(-3, 3, 80).astype(np.float32)


def test_a_good_model_is_compared_with_both_baselines() -> None:
    sentence = check_against_baselines(MOSI, SCORES, SCORES[:, None] * 0.8, GROUPS, SCORES + 1)
    assert WARNING not in sentence
    assert "for the baseline median" in sentence
    assert "for the baseline best constant" in sentence


@pytest.mark.parametrize("predictions", [np.full(80, 0.8), np.random.default_rng(1).uniform(-3, 3, 80)])
def test_constant_and_random_predictions_are_warned_of(predictions: FloatArray) -> None:
    assert WARNING in check_against_baselines(MOSI, SCORES, predictions[:, None].astype(np.float32), GROUPS, SCORES)


def test_without_training_labels_there_is_no_median() -> None:
    assert "median" not in check_against_baselines(MOSI, SCORES, SCORES[:, None], GROUPS, None)


def test_the_threshold_of_emotions_is_one_half() -> None:
    truth = (np.random.default_rng(2).random((80, 4)) < 0.4).astype(np.float32)
    assert WARNING not in check_against_baselines(EMOTIONS, truth, truth * 0.8 + 0.1, GROUPS, truth)
    assert WARNING in check_against_baselines(EMOTIONS, truth, np.full((80, 4), 0.1, np.float32), GROUPS, truth)
