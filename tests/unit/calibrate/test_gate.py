from __future__ import annotations

import math

import pytest

from edge_msa_calibrate.errors import CalibrationError, GateFailedError
from edge_msa_calibrate.gate import decide

FP32 = {"l": 80.0, "a": 61.0, "v": 50.0}


def test_worst_subset_with_signal_decides() -> None:
    verdict = decide(FP32, {"l": 79.6, "a": 59.5, "v": 40.0}, {"l", "a"}, 1.0)
    assert (verdict.passed, verdict.worst_subset, verdict.drop) == (False, "a", 1.5)
    assert verdict.reason == "loses 1.50 points on subset a, more than the 1 that may be lost"


def test_a_drop_where_there_is_no_signal_is_not_counted() -> None:
    verdict = decide(FP32, {"l": 79.6, "a": 61.5, "v": 40.0}, {"l", "a"}, 1.0)
    assert verdict.passed
    assert verdict.worst_subset == "l"


def test_exactly_the_largest_drop_passes() -> None:
    assert decide({"l": 70.3}, {"l": 69.3}, {"l"}, 1.0).passed
    assert not decide({"l": 70.3}, {"l": 69.2}, {"l"}, 1.0).passed
    assert decide({"l": 70.3}, {"l": 70.3}, {"l"}, 0.0).passed


def test_a_gain_is_told_as_one() -> None:
    verdict = decide({"l": 70.0}, {"l": 71.0}, {"l"}, 1.0)
    assert verdict.drop == -1
    assert verdict.reason.startswith("gains 1.00 points on subset l")


def test_without_signal_nothing_can_be_lost() -> None:
    verdict = decide(FP32, {}, set(), 1.0)
    assert (verdict.passed, verdict.worst_subset) == (True, None)


def test_a_metric_that_is_not_a_number_fails() -> None:
    verdict = decide({"l": 70.0}, {"l": math.nan}, {"l"}, 100.0)
    assert not verdict.passed


def test_what_cannot_be_decided_is_refused() -> None:
    with pytest.raises(CalibrationError, match="candidate was not measured on subset 'a'"):
        decide(FP32, {"l": 80.0}, {"l", "a"}, 1.0)
    with pytest.raises(CalibrationError, match="largest drop is -1"):
        decide(FP32, FP32, {"l"}, -1.0)


def test_exit_codes_are_the_documented_ones() -> None:
    assert (CalibrationError.exit_code, GateFailedError.exit_code) == (1, 3)
