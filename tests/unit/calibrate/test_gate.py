from __future__ import annotations

import math

import numpy as np
import pytest

from edge_msa_calibrate.errors import CalibrationError, GateFailedError
from edge_msa_calibrate.gate import check_accuracy, check_agreement, measure_distance

FP32 = {"l": 80.0, "a": 61.0, "v": 50.0}


def test_worst_subset_with_signal_decides() -> None:
    result = check_accuracy(FP32, {"l": 79.6, "a": 59.5, "v": 40.0}, {"l", "a"}, 1.0)
    assert (result.passed, result.worst_subset, result.drop) == (False, "a", 1.5)
    assert result.reason == "loses 1.50 points on subset a, more than the allowed 1"


def test_subset_without_signal_is_ignored() -> None:
    result = check_accuracy(FP32, {"l": 79.6, "a": 61.5, "v": 40.0}, {"l", "a"}, 1.0)
    assert result.passed
    assert result.worst_subset == "l"


def test_drop_equal_to_the_limit_passes() -> None:
    assert check_accuracy({"l": 70.3}, {"l": 69.3}, {"l"}, 1.0).passed
    assert not check_accuracy({"l": 70.3}, {"l": 69.2}, {"l"}, 1.0).passed
    assert check_accuracy({"l": 70.3}, {"l": 70.3}, {"l"}, 0.0).passed


def test_gain_is_reported_as_a_negative_drop() -> None:
    result = check_accuracy({"l": 70.0}, {"l": 71.0}, {"l"}, 1.0)
    assert result.drop == -1
    assert result.reason.startswith("gains 1.00 points on subset l")


def test_gate_passes_without_signal() -> None:
    result = check_accuracy(FP32, {}, set(), 1.0)
    assert (result.passed, result.worst_subset) == (True, None)


def test_nan_metric_fails() -> None:
    result = check_accuracy({"l": 70.0}, {"l": math.nan}, {"l"}, 100.0)
    assert not result.passed


def test_distance_is_in_standard_deviations_of_all_reference_predictions() -> None:
    reference = {"l": np.array([-2, 2], np.float32), "a": np.array([-1, 1], np.float32)}
    candidate = {"l": np.array([-2, 2.2], np.float32), "a": np.array([-1, 1], np.float32)}
    assert measure_distance(reference, candidate) == pytest.approx(0.05 / np.sqrt(2.5))
    assert measure_distance({}, {}) == 0


def test_different_means_of_logits_do_not_hide_a_distance() -> None:
    logits = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    means = np.array([-9, 0, 9], np.float32)
    noise = np.float32(0.5)
    distances = [measure_distance({"l": values}, {"l": values + noise}) for values in (logits, logits + means)]
    assert distances[0] == pytest.approx(distances[1], rel=1e-4)
    assert distances[0] == pytest.approx(0.5, abs=0.05)


def test_predictions_that_are_not_finite_do_not_agree() -> None:
    reference, broken = {"l": np.array([-2, 2], np.float32)}, {"l": np.array([-2, np.nan], np.float32)}
    assert check_agreement(reference, reference).passed
    assert not check_agreement(reference, broken, 100.0).passed


def test_invalid_arguments_are_rejected() -> None:
    with pytest.raises(CalibrationError, match="candidate has no measurement on subset 'a'"):
        check_accuracy(FP32, {"l": 80.0}, {"l", "a"}, 1.0)
    with pytest.raises(CalibrationError, match="largest drop must be at least 0 points, got -1"):
        check_accuracy(FP32, FP32, {"l"}, -1.0)


def test_failed_gate_has_exit_code_3() -> None:
    assert (CalibrationError.exit_code, GateFailedError.exit_code) == (1, 3)


@pytest.mark.parametrize(("candidate", "reason"), [(80.0, "loses no points"), (80.004, "changes by less than 0.01")])
def test_a_difference_of_zero_is_no_gain(candidate: float, reason: str) -> None:
    result = check_accuracy({"l": 80.0}, {"l": candidate}, {"l"}, 1.0)
    assert result.reason.startswith(reason)
    assert "0.00" not in result.reason
