from __future__ import annotations

import numpy as np
import pytest

from edge_msa.data.dataset import FloatArray
from edge_msa.data.tasks import EMOTIONS, MOSI
from edge_msa.reporting.explain.baseline_check import baseline_check

WARNING = "no better than a constant"
GROUPS = tuple(f"video{row // 4}" for row in range(80))
SCORES = np.random.default_rng(0).uniform(-3, 3, 80).astype(np.float32)


def test_a_model_that_reads_is_set_beside_both_baselines() -> None:
    told = baseline_check(MOSI, SCORES, SCORES[:, None] * 0.8, GROUPS, SCORES + 1)
    assert WARNING not in told
    assert "having learned nothing" in told
    assert "the best constant" in told


@pytest.mark.parametrize("predictions", [np.full(80, 0.8), np.random.default_rng(1).uniform(-3, 3, 80)])
def test_a_model_that_says_one_thing_or_anything_is_warned_of(
    predictions: FloatArray,
) -> None:
    assert WARNING in baseline_check(MOSI, SCORES, predictions[:, None].astype(np.float32), GROUPS, SCORES)


def test_without_training_labels_the_best_constant_stands_alone() -> None:
    assert "learned nothing" not in baseline_check(MOSI, SCORES, SCORES[:, None], GROUPS, None)


def test_probabilities_of_emotions_are_read_at_one_half() -> None:
    truth = (np.random.default_rng(2).random((80, 4)) < 0.4).astype(np.float32)
    assert WARNING not in baseline_check(EMOTIONS, truth, truth * 0.8 + 0.1, GROUPS, truth)
    assert WARNING in baseline_check(EMOTIONS, truth, np.full((80, 4), 0.1, np.float32), GROUPS, truth)
