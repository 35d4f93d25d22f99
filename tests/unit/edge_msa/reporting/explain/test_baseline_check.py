from __future__ import annotations

import numpy as np
import pytest

from edge_msa.data.dataset import Dataset, FloatArray, Split
from edge_msa.data.tasks import EMOTIONS, MOSI, Task
from edge_msa.reporting.explain.baseline_check import check_against_baselines

WARNING = "does not beat a constant"
GROUPS = tuple(f"video{row // 4}" for row in range(80))
SCORES = np.random.default_rng(0).uniform(-3, 3, 80).astype(np.float32)


def check(task: Task, labels: FloatArray, predictions: FloatArray, train_labels: FloatArray | None) -> str:
    splits = {
        name: Split(tuple(map(str, range(80))), GROUPS, values, {})
        for name, values in (("train", train_labels), ("test", labels))
        if values is not None
    }
    dataset = Dataset("toy", task, splits, "digest")  # type: ignore[arg-type]
    result = check_against_baselines(dataset, dataset.split("test"), predictions)
    assert result.beats_constant == (WARNING not in result.sentence)
    return result.sentence


def test_a_good_model_is_compared_with_the_better_baseline() -> None:
    sentence = check(MOSI, SCORES, SCORES[:, None] * 0.8, SCORES + 1)
    assert WARNING not in sentence
    assert "for the baseline best constant" in sentence


@pytest.mark.case("F30")
@pytest.mark.parametrize("predictions", [np.full(80, 0.8), np.random.default_rng(1).uniform(-3, 3, 80)])
def test_constant_and_random_predictions_are_warned_of(predictions: FloatArray) -> None:
    assert WARNING in check(MOSI, SCORES, predictions[:, None].astype(np.float32), SCORES)


def test_without_training_labels_there_is_no_median() -> None:
    assert "median" not in check(MOSI, SCORES, SCORES[:, None], None)


def test_the_threshold_of_emotions_is_one_half() -> None:
    truth = (np.random.default_rng(2).random((80, 4)) < 0.4).astype(np.float32)
    assert WARNING not in check(EMOTIONS, truth, truth * 0.8 + 0.1, truth)
    assert WARNING in check(EMOTIONS, truth, np.full((80, 4), 0.1, np.float32), truth)
