from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_msa.benchmark import precisions
from edge_msa.benchmark.precisions import PrecisionChoice, PrecisionMeasurement, choose_precision, skip_latency
from edge_msa.data.dataset import Dataset, FloatArray, Frames, Split
from edge_msa.data.tasks import MOSI, Task
from edge_msa.evaluation.metrics import measure
from edge_msa.models.student import StudentConfig, untrained_student
from edge_msa_calibrate.gate import GateLimits
from edge_msa_export.build import build_graphs
from edge_msa_export.request import GoldenSample
from edge_msa_runtime.modalities import Subset
from tests.unit.export.students import NORMALIZATION, make_frames, make_request


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
    return choose_precision(backend, measurements, requested, GateLimits(max_drop))


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


@pytest.mark.parametrize("requested", ["auto", "int8"])
def test_a_precision_that_predicts_otherwise_is_rejected(requested: str) -> None:
    values = np.linspace(-2, 2, 9, dtype=np.float32)
    reference = replace(FP32, predictions={"lav": values})
    near, far = (replace(measurement("int8", 85, 1.0), predictions={"lav": values + shift}) for shift in (0.02, 0.2))
    assert choose(reference, near, requested=requested).precision == "int8"
    choice = choose(reference, far, requested=requested)
    assert choice.precision == "fp32"
    assert "differ from fp32 by 0.155 standard deviations on average, more than the allowed 0.1" in choice.reason


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


@pytest.mark.case("F9")
@pytest.mark.slow
def test_float16_for_tensorrt_is_measured_on_all_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU, the predictions are those of true float16 arithmetic."""
    dims, lengths, count = {"audio": 5}, {"audio": 6}, 150
    student = untrained_student(StudentConfig(dims, width=8, blocks=2, tokens=1, hidden=4), seed=0)
    rng = np.random.default_rng(0)
    frames = np.stack([make_frames(rng, 6, 5) for _ in range(count)])
    labels = rng.uniform(-3, 3, count).astype(np.float32)
    ids = tuple(map(str, range(count)))
    valid = Split(ids, ids, labels, {"audio": Frames(np.ones(frames.shape[:2], np.bool_), frames)})
    golden = [GoldenSample(Subset.A, {"audio": frames[0]})]
    normalization = {"audio": NORMALIZATION["audio"]}
    request = replace(
        make_request(golden, dims, lengths, lengths, "jetson-agx-orin", normalization=normalization),
        precisions=("fp32", "fp16"),
    )

    def count_metrics(task: Task, truth: FloatArray, prediction: FloatArray) -> dict[str, float]:
        return {**measure(task, truth, prediction), "samples": len(prediction), "sum": float(prediction.sum())}

    monkeypatch.setattr(precisions, "measure", count_metrics)
    measurements = precisions.measure_precisions(
        build_graphs(student, request, tmp_path / "graphs"),
        request,
        Dataset("toy", MOSI, {"train": valid, "valid": valid, "test": valid}, "digest"),
        lambda split, _: np.zeros(len(split), np.float32),
        tmp_path,
        skip_latency,
    )
    by_name = {(item.backend, item.precision): item for item in measurements}
    fp32, fp16 = by_name["tensorrt", "fp32"], by_name["tensorrt", "fp16"]
    assert (fp32.measured_by, fp16.measured_by) == ("onnxruntime", "onnx-reference")
    assert fp32.by_subset["a"]["samples"] == fp16.by_subset["a"]["samples"] == count
    assert fp32.by_subset["a"]["sum"] != fp16.by_subset["a"]["sum"]
    assert fp16.points == {"a": 100 * fp16.by_subset["a"]["acc2_non0"]}
