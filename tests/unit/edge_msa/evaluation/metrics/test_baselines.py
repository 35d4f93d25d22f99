from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_msa.data.tasks import EMOTIONS, MOSI, REGRESSION, SIMS, Task
from edge_msa.evaluation.metrics import baseline_constants, describe_constant, measure, measure_constants
from tests.locations import SHARED_DATA

ARCHIVE = SHARED_DATA / "mosi_language_audio.npz"
Labels = Sequence[float] | NDArray[Any]


def measure_baselines(task: Task, train: Labels, labels: Labels) -> dict[str, dict[str, float]]:
    return measure_constants(task, baseline_constants(task, train, labels), np.asarray(labels, np.float32))


def test_baselines_of_mosi_match_the_literature() -> None:
    if not ARCHIVE.exists():
        pytest.skip(f"{ARCHIVE} is absent")
    with np.load(ARCHIVE, allow_pickle=False) as archive:
        labels, split = archive["label"], archive["split"]
    result = measure_baselines(MOSI, labels[split == "train"], labels[split == "test"])
    printed = {
        name: (round(row["mae"], 3), round(100 * row["acc2_non0"], 1), round(100 * row["acc7"], 1))
        for name, row in result.items()
    }
    assert printed == {"median": (1.456, 42.2, 15.5), "best_constant": (1.411, 57.8, 21.1)}
    assert baseline_constants(MOSI, labels[split == "train"], labels[split == "test"])["best_constant"] == [-1.0]


def test_the_median_depends_on_training_labels_only() -> None:
    truth = np.array([-2.0, -2.0, -1.0])
    assert baseline_constants(MOSI, [1.0, 2.0, 9.0], truth)["median"] == [2.0]
    assert measure_baselines(MOSI, [1.0, 2.0, 9.0], truth)["median"]["mae"] == pytest.approx(11 / 3)


def test_no_constant_has_a_lower_error_than_the_median_baseline() -> None:
    truth = np.random.default_rng(0).gamma(2.0, 1.0, 101)
    best = measure_baselines(REGRESSION, [0.0], truth)["best_constant"]["mae"]
    assert all(best <= measure(REGRESSION, truth, np.full(101, c))["mae"] + 1e-6 for c in np.linspace(0, 6, 61))
    assert baseline_constants(SIMS, [0.0], [-0.4, -0.4, 0.8])["best_constant"] == pytest.approx([-0.4])


def test_emotion_baselines_are_majorities() -> None:
    train = np.array([[1, 0, 0, 1], [1, 0, 0, 0], [1, 1, 0, 1]])
    truth = np.array([[0, 0, 1, 1], [0, 0, 1, 0], [1, 0, 1, 0]])
    constants = baseline_constants(EMOTIONS, train, truth)
    assert constants["median"].tolist() == [1, -1, -1, 1]
    assert constants["best_constant"].tolist() == [-1, -1, 1, -1]
    assert measure_baselines(EMOTIONS, train, truth)["best_constant"]["acc_neutral"] == pytest.approx(2 / 3)


def test_a_constant_is_described_by_its_emotions() -> None:
    row = measure_baselines(EMOTIONS, np.zeros((1, 4)), np.zeros((1, 4)))["best_constant"]
    assert describe_constant((-1.0, 1.0, -1.0, 1.0), row) == "happy, angry"
    assert describe_constant((-1.0, -1.0, -1.0, -1.0), row) == "no emotion"
    assert describe_constant((-0.25,), measure_baselines(MOSI, [0.0], [1.0])["best_constant"]) == "-0.25"
