from __future__ import annotations

from dataclasses import replace

import pytest

from edge_msa.benchmark.precisions import PrecisionChoice, PrecisionMeasurement, choose_precision


def measurement(
    precision: str, points: float, p50_ms: float | None = None, backend: str = "onnxruntime"
) -> PrecisionMeasurement:
    return PrecisionMeasurement(
        backend,
        precision,
        backend,
        {"l": 80.0, "lav": points},
        {},
        frozenset({"lav"}),
        () if p50_ms is None else (p50_ms,),
    )


FP32, FP16, INT8 = measurement("fp32", 85, 2.0), measurement("fp16", 84.8, 1.5), measurement("int8", 83, 1.0)


def choose(
    *measurements: PrecisionMeasurement, requested: str = "auto", max_drop: float = 1.0, backend: str = "onnxruntime"
) -> PrecisionChoice:
    return choose_precision(backend, measurements, requested, max_drop)


def test_the_fastest_precision_that_passes_the_gate_is_chosen() -> None:
    assert choose(FP32, FP16, INT8, max_drop=2.0).precision == "int8"
    assert choose(FP32, FP16, INT8, max_drop=1.0).precision == "fp16"
    assert choose(FP32, measurement("int8", 85, 3.0)).precision == "fp32"


def test_a_speedup_within_measurement_noise_keeps_fp32() -> None:
    assert choose(FP32, measurement("int8", 85, 1.9)).precision == "fp32"
    assert choose(FP32, measurement("int8", 85, 1.79)).precision == "int8"


def test_the_reason_names_rejected_precisions_and_latencies() -> None:
    choice = choose(FP32, FP16, INT8)
    assert "int8 rejected: loses 2.00 points on subset lav" in choice.reason
    assert "fp16 1.500 ms" in choice.reason
    assert choice.passing == ("fp32", "fp16")
    assert choice.failure is None


@pytest.mark.parametrize(("max_drop", "passes"), [(2.0, True), (1.99, False), (0.0, False)])
def test_a_requested_precision_that_fails_the_gate_becomes_fp32(max_drop: float, passes: bool) -> None:
    choice = choose(FP32, INT8, requested="int8", max_drop=max_drop)
    assert choice.precision == ("int8" if passes else "fp32")
    assert (choice.failure is None) == passes
    assert passes or "loses 2.00 points on subset lav" in str(choice.failure)


def test_subsets_without_signal_do_not_count_for_the_gate() -> None:
    worse = replace(INT8, points={"l": 0.0, "lav": 85.0})
    assert choose(FP32, worse, max_drop=0.0).precision == "int8"


def test_a_precision_that_the_backend_lacks_becomes_fp32() -> None:
    choice = choose(FP32, requested="fp16")
    assert (choice.precision, choice.failure) == ("fp32", None)
    assert "fp16 is not available" in choice.reason


def test_requested_fp32_needs_no_gate() -> None:
    choice = choose(FP32, INT8, requested="fp32", max_drop=0.0)
    assert (choice.precision, choice.passing, choice.failure) == ("fp32", ("fp32",), None)


def test_without_latency_fp16_is_the_default_if_it_passes() -> None:
    measurements = [measurement(name, 85, None, "tensorrt") for name in ("fp32", "fp16", "int8")]
    choice = choose(*measurements, backend="tensorrt")
    assert choice.precision == "fp16"
    assert "latency unknown" in choice.reason
    lossy = measurement("fp16", 70, None, "tensorrt")
    assert choose(measurements[0], lossy, backend="tensorrt").precision == "fp32"


def test_measurements_of_other_backends_are_ignored() -> None:
    other = (measurement("fp32", 85, 9.0, "openvino"), measurement("int8", 85, 0.1, "openvino"))
    assert choose(FP32, measurement("int8", 85, 2.5), *other).precision == "fp32"


def test_the_reason_says_that_latency_is_not_the_targets() -> None:
    elsewhere = [replace(item, measured_on="x86_64") for item in (FP32, INT8)]
    choice = choose(*elsewhere, max_drop=2.0)
    assert (choice.precision, choice.passing) == ("int8", ("fp32", "int8"))
    assert "on x86_64, not on the target" in choice.reason
    assert "not on the target" not in choose(FP32, INT8, max_drop=2.0).reason


@pytest.mark.parametrize(("rounds", "chosen"), [((1.7, 1.7, 1.7), "int8"), ((1.5, 1.95, 1.5), "fp32")])
def test_a_precision_must_be_faster_in_every_round(rounds: tuple[float, ...], chosen: str) -> None:
    reference = replace(FP32, rounds=(2.0, 2.0, 2.0))
    assert choose(reference, replace(measurement("int8", 85), rounds=rounds)).precision == chosen


def test_an_unknown_latency_is_not_faster() -> None:
    unknown = measurement("int8", 85)
    assert not unknown.is_faster_than(FP32)
    assert not FP32.is_faster_than(unknown)
    assert not replace(INT8, rounds=(1.0, 1.0)).is_faster_than(FP32)
    assert INT8.is_faster_than(FP32)
