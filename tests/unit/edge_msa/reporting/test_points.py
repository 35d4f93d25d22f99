from __future__ import annotations

from dataclasses import replace

import pytest

from edge_msa.benchmark.records import BenchRecord, Records
from edge_msa.errors import RunError
from edge_msa.evaluation.evaluate import Evaluation, Source
from edge_msa.reporting import ReportPoint, join_points, pareto_front, pareto_front_points
from edge_msa.reporting.figures import Value
from edge_msa.reporting.points import headline_subset, omission_reason, short_names, subset_title
from edge_msa_runtime.benchmark.latency_statistics import Measured

FP32 = ReportPoint(
    "bundle",
    "laptop-x86",
    "onnxruntime",
    "fp32",
    "CPU",
    "acc2_non0",
    by_subset={"l": {"acc2_non0": 0.75, "mae": 0.9}, "lav": {"acc2_non0": 0.80, "mae": 0.7}},
    latency_ms={"l": {"p50": 0.2, "p90": 0.3, "p99": 0.4}, "lav": {"p50": 0.5, "p90": 0.6, "p99": 0.7}},
)
INT8 = replace(
    FP32,
    precision="int8",
    by_subset={"l": {"acc2_non0": 0.74, "mae": 0.9}, "lav": {"acc2_non0": 0.798, "mae": 0.71}},
    latency_ms={"l": {"p50": 0.1}, "lav": {"p50": 0.25, "p90": 0.3, "p99": 0.4}},
)
DOMINATED = replace(FP32, backend="openvino", latency_ms={"lav": {"p50": 0.6}}, by_subset={"lav": {"acc2_non0": 0.79}})
IDLE = replace(FP32, target="jetson-orin-nano", backend="tensorrt", precision="fp16", latency_ms={}, executed=False)

EVALUATION = Evaluation(
    source=Source("bundle", "bundle", "int8", "onnxruntime"),
    task="mosi",
    split="test",
    dataset="toy",
    digest="0123456789",
    samples=4,
    counts={"l": 4},
    skipped_subsets=("a",),
    by_subset={"l": {"mae": 1.0, "acc2_non0": 0.5}},
    missing_average={"mae": 1.0, "acc2_non0": 0.5},
    baselines={"best_constant": {"mae": 1.2, "acc2_non0": 0.4}},
    baseline_constants={"best_constant": (0.0,)},
    gate_metric="acc2_non0",
)
BENCH = BenchRecord(
    "bundle", "laptop-x86", "onnxruntime", "int8", "CPU", {"l": {"p50": Measured(0.1, 0.09, 0.12)}}, size_bytes=1000
)


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([(1.0, 1.0)], (0,)),
        ([(1.0, 1.0), (2.0, 2.0), (3.0, 1.5)], (0, 1)),
        ([(3.0, 3.0), (1.0, 1.0)], (1, 0)),
        ([(1.0, 2.0), (1.0, 1.0), (2.0, 2.0)], (0,)),
        ([(1.0, 1.0), (1.0, 1.0)], (0, 1)),
        ([], ()),
    ],
)
def test_pareto_front_excludes_dominated_pairs(pairs: list[tuple[float, float]], expected: tuple[int, ...]) -> None:
    assert pareto_front(pairs) == expected


def test_pareto_front_needs_latency_and_accuracy() -> None:
    assert pareto_front_points([FP32, INT8, DOMINATED, IDLE], "lav") == (INT8, FP32)
    assert pareto_front_points([IDLE], "lav") == ()


def test_pareto_front_excludes_other_kinds_of_machines() -> None:
    elsewhere = replace(INT8, target="raspberry-pi-5", on_target=False)
    assert pareto_front_points([FP32, elsewhere], "lav") == (FP32,)


@pytest.mark.parametrize(
    ("point", "reason"),
    [
        (FP32, ""),
        (IDLE, "not executed"),
        (replace(FP32, latency_ms={}), "no latency measured on lav"),
        (
            replace(FP32, on_target=False),
            "latency measured on this machine, whose architecture differs from the target's",
        ),
        (replace(FP32, by_subset={}), "no accuracy measured on lav"),
    ],
)
def test_an_omitted_point_has_a_reason(point: ReportPoint, reason: str) -> None:
    assert omission_reason(point, "lav") == reason


@pytest.mark.parametrize(
    ("note", "remark"),
    [
        ("", "not executed"),
        ("Cannot import tensorrt (No module named 'tensorrt'). Run: x", "not executed: tensorrt is not installed here"),
        ("The plan is of TensorRT 8.6. Build it again.", "not executed: The plan is of TensorRT 8.6"),
    ],
)
def test_remarks_end_before_the_advice(note: str, remark: str) -> None:
    assert replace(IDLE, note=note).remark == remark


def test_headline_is_the_fullest_subset_of_most_points() -> None:
    assert headline_subset([FP32, INT8, IDLE]) == "lav"
    language = replace(FP32, by_subset={"l": {"acc2_non0": 0.7}}, latency_ms={"l": {"p50": 1.0}})
    assert headline_subset([language]) == "l"


def test_subset_titles_name_the_modalities() -> None:
    assert subset_title("l") == "language (l)"
    assert subset_title("av") == "audio and vision (av)"
    assert subset_title("lav") == "language, audio and vision (lav)"


def test_short_names_contain_the_bundle_only_if_needed() -> None:
    assert short_names([FP32, INT8])[0] == "laptop-x86 · onnxruntime · fp32"
    assert short_names([FP32, replace(FP32, name="other")]) == (
        "bundle · laptop-x86 · onnxruntime · fp32",
        "other · laptop-x86 · onnxruntime · fp32",
    )


def test_short_names_leave_out_the_share_of_int8() -> None:
    int8 = replace(INT8, precision_title="int8: 11 of 15 layers, 88 % of MACs")
    assert short_names([FP32, int8])[1] == "laptop-x86 · onnxruntime · int8"


def test_a_benchmark_is_joined_with_its_evaluation() -> None:
    fp32 = replace(BENCH, precision="fp32")
    torch = replace(EVALUATION, source=Source("student", "run"))
    points = join_points(Records((EVALUATION, torch), (fp32, BENCH)))
    assert [(point.backend, point.precision) for point in points] == [
        ("onnxruntime", "fp32"),
        ("onnxruntime", "int8"),
        ("torch", "fp32"),
    ]
    assert points[0].by_subset == {}
    assert points[1].by_subset == EVALUATION.by_subset
    assert points[1].latency_ms == {"l": {"p50": 0.1}}
    assert points[1].latency("l", "p50") == Value(value=0.1, low=0.09, high=0.12)
    assert points[2].latency_ms == {}


def test_evaluations_of_different_splits_are_rejected() -> None:
    other = replace(EVALUATION, split="valid")
    with pytest.raises(RunError, match=r"must use the same data.*toy test.*toy valid"):
        join_points(Records((EVALUATION, other)))
