from __future__ import annotations

from dataclasses import replace

import pytest

from edge_msa.benchmark.precision_choice import Measured, choose


def measured(precision: str, points: float, p50_ms: float | None = None, backend: str = "onnxruntime") -> Measured:
    return Measured(
        backend,
        precision,
        backend,
        {"l": 80.0, "lav": points},
        {},
        frozenset({"lav"}),
        () if p50_ms is None else (p50_ms,),
    )


FP32, FP16, INT8 = measured("fp32", 85, 2.0), measured("fp16", 84.8, 1.5), measured("int8", 83, 1.0)


def test_the_fastest_that_passes_is_chosen() -> None:
    assert choose("onnxruntime", (FP32, FP16, INT8), "auto", 2.0).precision == "int8"
    assert choose("onnxruntime", (FP32, FP16, INT8), "auto", 1.0).precision == "fp16"
    assert choose("onnxruntime", (FP32, measured("int8", 85, 3.0)), "auto", 1.0).precision == "fp32"


def test_less_than_noise_is_no_reason_to_leave_fp32() -> None:
    assert choose("onnxruntime", (FP32, measured("int8", 85, 1.9)), "auto", 1.0).precision == "fp32"
    assert choose("onnxruntime", (FP32, measured("int8", 85, 1.79)), "auto", 1.0).precision == "int8"


def test_why_the_others_were_refused_is_told() -> None:
    choice = choose("onnxruntime", (FP32, FP16, INT8), "auto", 1.0)
    assert "int8 refused: loses 2.00 points on subset lav" in choice.reason
    assert "fp16 1.500 ms" in choice.reason
    assert choice.kept == ("fp32", "fp16")
    assert choice.failure is None


@pytest.mark.parametrize(("max_drop", "passes"), [(2.0, True), (1.99, False), (0.0, False)])
def test_a_precision_that_was_asked_for_passes_the_gate_or_falls_back_to_fp32(max_drop: float, passes: bool) -> None:
    choice = choose("onnxruntime", (FP32, INT8), "int8", max_drop)
    assert choice.precision == ("int8" if passes else "fp32")
    assert (choice.failure is None) == passes
    assert passes or "loses 2.00 points on subset lav" in str(choice.failure)


def test_a_subset_without_signal_decides_nothing() -> None:
    worse = Measured("onnxruntime", "int8", "onnxruntime", {"l": 0.0, "lav": 85.0}, {}, frozenset({"lav"}), (1.0,))
    assert choose("onnxruntime", (FP32, worse), "auto", 0.0).precision == "int8"


def test_what_an_backend_was_not_given_is_no_failure() -> None:
    choice = choose("onnxruntime", (FP32,), "fp16", 1.0)
    assert (choice.precision, choice.failure) == ("fp32", None)
    assert "no fp16" in choice.reason


def test_fp32_that_was_asked_for_passes_without_a_gate() -> None:
    choice = choose("onnxruntime", (FP32, INT8), "fp32", 0.0)
    assert (choice.precision, choice.kept, choice.failure) == ("fp32", ("fp32",), None)


def test_without_a_speed_nothing_is_pretended() -> None:
    here = tuple(
        measured(name, points, None, "tensorrt") for name, points in (("fp32", 85), ("fp16", 85), ("int8", 85))
    )
    choice = choose("tensorrt", here, "auto", 1.0)
    assert choice.precision == "fp16"
    assert "executes neither here nor on a --host" in choice.reason
    lossy = (here[0], measured("fp16", 70, None, "tensorrt"))
    assert choose("tensorrt", lossy, "auto", 1.0).precision == "fp32"


def test_the_speed_of_another_backend_says_nothing() -> None:
    other = (measured("fp32", 85, 9.0, "openvino"), measured("int8", 85, 0.1, "openvino"))
    choice = choose("onnxruntime", (FP32, measured("int8", 85, 2.5), *other), "auto", 1.0)
    assert choice.precision == "fp32"


def test_a_time_of_another_machine_says_so_and_keeps_what_passes() -> None:
    here = [
        Measured(item.backend, item.precision, item.measured_by, item.points, {}, item.signal, item.rounds, "x86_64")
        for item in (FP32, INT8)
    ]
    choice = choose("onnxruntime", tuple(here), "auto", 2.0)
    assert (choice.precision, choice.kept) == ("int8", ("fp32", "int8"))
    assert "on x86_64, not on the target" in choice.reason
    assert "not on the target" not in choose("onnxruntime", (FP32, INT8), "auto", 2.0).reason


def test_what_is_faster_in_one_round_and_not_in_another_is_not_chosen() -> None:
    reference = replace(FP32, rounds=(2.0, 2.0, 2.0))
    for rounds, chosen in (((1.7, 1.7, 1.7), "int8"), ((1.5, 1.95, 1.5), "fp32")):
        lower = replace(measured("int8", 85, 1.5), rounds=rounds)
        assert choose("onnxruntime", (reference, lower), "auto", 1.0).precision == chosen
