from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    log_loss,
    mean_absolute_error,
    precision_recall_fscore_support,
    r2_score,
)
from sklearn.metrics import (
    confusion_matrix as sklearn_confusion_matrix,
)

from edge_msa.data.tasks import EMOTIONS, MOSI, REGRESSION, SIMS, Task
from edge_msa.errors import EdgeMsaError
from edge_msa.evaluation.metrics import (
    bootstrap_interval,
    confusion_matrix,
    describe,
    gate_metric,
    gate_points,
    has_signal,
    measure,
    missing_average,
)
from edge_msa.evaluation.metrics.probabilities import log_softmax
from tests.locations import SHARED_DATA

MELD = Task("classes", ("neutral", "joy", "anger", "sadness"))
GOLDEN = SHARED_DATA / "golden/metrics.json"
MMSA_NAMES = {
    "MOSI": {
        "Has0_acc_2": "acc2_has0",
        "Has0_F1_score": "f1_has0",
        "Non0_acc_2": "acc2_non0",
        "Non0_F1_score": "f1_non0",
        "Mult_acc_5": "acc5",
        "Mult_acc_7": "acc7",
        "MAE": "mae",
        "Corr": "corr",
    },
    "SIMS": {
        "Mult_acc_2": "acc2",
        "Mult_acc_3": "acc3",
        "Mult_acc_5": "acc5",
        "F1_score": "f1",
        "MAE": "mae",
        "Corr": "corr",
    },
}
MMSA_NAMES["MOSEI"] = MMSA_NAMES["MOSI"]


def golden_cases() -> list[dict[str, Any]]:
    if not GOLDEN.exists():
        pytest.skip(f"{GOLDEN} is absent")
    cases: list[dict[str, Any]] = json.loads(GOLDEN.read_text(encoding="utf-8"))
    return cases


@pytest.mark.parametrize("corpus", ["MOSI", "MOSEI", "SIMS"])
def test_metrics_equal_those_of_the_reference_code(corpus: str) -> None:
    case = next(case for case in golden_cases() if case["dataset"] == corpus)
    result = measure(SIMS if corpus == "SIMS" else MOSI, case["truth"], case["prediction"])
    assert set(case["expected"]) == set(MMSA_NAMES[corpus])
    for theirs, ours in MMSA_NAMES[corpus].items():
        assert round(result[ours], 4) == pytest.approx(round(case["expected"][theirs], 4), abs=1e-9), theirs


def ties_and_outliers(seed: int, scale: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    generator = np.random.default_rng(seed)
    truth = np.round(generator.normal(0.0, scale, 300) * 5.0) / 5.0
    prediction = truth + generator.normal(0.0, scale, 300)
    prediction[:60] = np.round(prediction[:60] * 2.0) / 2.0
    prediction[:4] = (40.0, -40.0, 0.0, -0.0)
    return np.clip(truth, -3 * scale, 3 * scale).astype(np.float32), prediction.astype(np.float32)


@pytest.mark.parametrize("seed", range(4))
def test_mosi_equals_scikit_learn_on_ties_and_outliers(seed: int) -> None:
    truth, prediction = ties_and_outliers(seed, 1.2)
    nonzero = truth != 0
    seven = [np.round(np.clip(side, -3, 3)) for side in (truth, prediction)]
    expected = {
        "mae": mean_absolute_error(truth, prediction),
        "corr": np.corrcoef(truth, prediction)[0, 1],
        "acc7": accuracy_score(*seven),
        "acc2_has0": accuracy_score(truth >= 0, prediction >= 0),
        "acc2_non0": accuracy_score(truth[nonzero] > 0, prediction[nonzero] > 0),
        "f1_has0": f1_score(truth >= 0, prediction >= 0, average="weighted"),
        "f1_non0": f1_score(truth[nonzero] > 0, prediction[nonzero] > 0, average="weighted"),
    }
    result = measure(MOSI, truth, prediction)
    assert {name: result[name] for name in expected} == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_sims_clips_both_sides_and_equals_scikit_learn(seed: int) -> None:
    truth, prediction = ties_and_outliers(seed, 0.5)
    clipped = [np.clip(side, -1, 1) for side in (truth, prediction)]
    binary = [side > 0 for side in clipped]
    expected = {
        "mae": mean_absolute_error(*clipped),
        "corr": np.corrcoef(clipped[0], clipped[1])[0, 1],
        "acc2": accuracy_score(*binary),
        "f1": f1_score(*binary, average="weighted"),
    }
    result = measure(SIMS, truth, prediction)
    assert {name: result[name] for name in expected} == pytest.approx(expected, abs=1e-6)


def test_an_edge_of_sims_belongs_to_the_class_below_it() -> None:
    edges = np.array([-0.7, -0.1, 0.0, 0.1, 0.7], dtype=np.float32)
    below = edges - np.float32(0.05)
    above = edges + np.float32(0.05)
    assert measure(SIMS, edges, below)["acc5"] == 1.0
    assert measure(SIMS, edges[[0, 1, 3, 4]], above[[0, 1, 3, 4]])["acc5"] == 0.0
    assert measure(SIMS, edges[2:3], above[2:3])["acc2"] == 0.0


def test_regression_equals_scikit_learn() -> None:
    truth, prediction = ties_and_outliers(9, 2.0)
    result = measure(REGRESSION, truth, prediction)
    assert result["r2"] == pytest.approx(r2_score(truth, prediction), abs=1e-6)
    assert result["rmse"] == pytest.approx(float(np.sqrt(np.mean((truth - prediction) ** 2))), abs=1e-4)


def test_emotions_are_logits_with_threshold_0() -> None:
    generator = np.random.default_rng(3)
    truth = (generator.random((90, 4)) < 0.3).astype(np.float32)
    logits = (truth - 0.5 + generator.normal(0, 0.7, truth.shape)).astype(np.float32)
    logits[:5] = 0.0
    result = measure(EMOTIONS, truth, logits)
    f1 = [f1_score(truth[:, column] > 0, logits[:, column] > 0, average="weighted") for column in range(4)]
    assert [result[f"f1_{label}"] for label in EMOTIONS.labels] == pytest.approx(f1)
    assert result["f1_average"] == pytest.approx(np.mean(f1))
    assert result["acc_sad"] == pytest.approx(accuracy_score(truth[:, 2] > 0, logits[:, 2] > 0))


def test_metrics_of_classes_equal_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    truth, logits = rng.integers(0, 4, 80).astype(np.float32), rng.normal(size=(80, 4))
    logits[:, 2] -= 9  # a class that is never predicted
    predicted = logits.argmax(axis=1)
    result = measure(MELD, truth, logits)
    precision, recall, f1, _ = precision_recall_fscore_support(truth, predicted, zero_division=0)
    assert result["accuracy"] == pytest.approx(accuracy_score(truth, predicted))
    assert result["weighted_f1"] == pytest.approx(f1_score(truth, predicted, average="weighted"))
    assert result["macro_f1"] == pytest.approx(f1_score(truth, predicted, average="macro"))
    for key, expected in (("f1", f1), ("precision", precision), ("recall", recall)):
        assert [result[f"{key}_{label}"] for label in MELD.labels] == pytest.approx(expected)
    assert result["nll"] == pytest.approx(log_loss(truth, np.exp(log_softmax(logits))), rel=1e-5)
    assert (confusion_matrix(MELD, truth, logits) == sklearn_confusion_matrix(truth, predicted)).all()
    assert gate_metric(MELD) == "weighted_f1"


def test_classes_have_signal_and_intervals_by_video() -> None:
    rng = np.random.default_rng(4)
    truth = rng.integers(0, 4, 100).astype(np.float32)
    groups = [f"video{number // 5}" for number in range(100)]
    noise = rng.normal(size=(100, 4))
    informed = noise + 2 * np.eye(4)[truth.astype(int)]
    assert has_signal(MELD, truth, informed, groups)
    assert not has_signal(MELD, truth, noise, groups)
    interval = bootstrap_interval(MELD, truth, informed, groups, metric="macro_f1", resamples=200)
    assert interval.low < interval.value < interval.high
    assert interval.unit == "groups"


def test_f1_is_not_symmetric_in_its_arguments() -> None:
    truth = np.array([1.0] * 6 + [-1.0] * 4)
    constant = np.ones(10)
    assert measure(MOSI, truth, constant)["f1_non0"] == pytest.approx(0.45)
    assert measure(MOSI, constant, truth)["f1_non0"] == pytest.approx(0.75)


@pytest.mark.parametrize("task", [MOSI, SIMS, REGRESSION, EMOTIONS, MELD], ids=lambda task: task.kind)
def test_constant_predictions_and_labels_stay_finite(task: Task) -> None:
    result = measure(task, np.zeros((6, *task.label_shape)), np.zeros((6, task.outputs)))
    assert all(np.isfinite(value) for value in result.values())
    assert gate_metric(task) in result
    assert result.get("corr", 0.0) == 0.0


def test_a_constant_up_to_float_rounding_has_no_correlation() -> None:
    truth = np.linspace(-1, 1, 50)
    nearly = np.float32(0.7) + np.float32(6e-8) * np.arange(50, dtype=np.float32) / 50
    assert measure(MOSI, truth, nearly)["corr"] == 0.0


@pytest.mark.parametrize(
    ("truth", "prediction", "message"),
    [
        ([1.0, 2.0], [1.0], "shape"),
        ([], [], "at least one sample"),
        ([1.0, 2.0], [1.0, float("nan")], "sample 1 must be finite, got nan"),
        ([[1.0, 2.0]], [[1.0, 2.0]], r"must have shape \(N,\)"),
    ],
)
def test_invalid_arrays_are_refused(truth: list[float], prediction: list[float], message: str) -> None:
    with pytest.raises(EdgeMsaError, match=message):
        measure(MOSI, truth, prediction)


def test_a_column_of_scores_is_accepted() -> None:
    truth, prediction = ties_and_outliers(1, 1.0)
    assert measure(MOSI, truth, prediction[:, None]) == measure(MOSI, truth, prediction)


def test_missing_average_excludes_the_complete_subset() -> None:
    by_subset = {"l": {"mae": 1.0}, "a": {"mae": 2.0}, "lav": {"mae": 100.0}}
    assert missing_average(by_subset) == {"mae": 1.5}
    assert missing_average({"lav": {"mae": 1.0}}) == {}


def test_gate_points_are_100_times_the_gate_metric() -> None:
    truth, prediction = ties_and_outliers(2, 1.0)
    metrics = measure(MOSI, truth, prediction)
    assert gate_points(MOSI, metrics) == pytest.approx(100.0 * metrics["acc2_non0"])


def test_every_metric_has_a_printed_name() -> None:
    assert describe("acc2_non0").title == "Acc-2 Non0"
    assert describe("f1_happy").title == "F1 happy"
    assert describe("acc7").format(0.1234) == "12.3"
    assert describe("mae").format(0.71567) == "0.716"
    assert not describe("mae").higher_is_better
