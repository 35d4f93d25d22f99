from __future__ import annotations

import re
from dataclasses import replace

import pytest

from edge_msa.reporting import Report, ReportPoint, format_tradeoff, render_report

FP32 = ReportPoint(
    "bundle",
    "laptop-x86",
    "onnxruntime",
    "fp32",
    "CPU",
    "acc2_non0",
    by_subset={"lav": {"acc2_non0": 0.80, "mae": 0.7}},
    latency_ms={"lav": {"p50": 0.5, "p90": 0.6, "p99": 0.7}},
)
INT8 = replace(
    FP32,
    precision="int8",
    chosen=True,
    by_subset={"lav": {"acc2_non0": 0.798, "mae": 0.71}},
    latency_ms={"lav": {"p50": 0.25, "p90": 0.3, "p99": 0.4}},
)
DOMINATED = replace(FP32, backend="openvino", latency_ms={"lav": {"p50": 0.6}}, by_subset={"lav": {"acc2_non0": 0.79}})
IDLE = replace(FP32, target="jetson-orin-nano", backend="tensorrt", precision="fp16", latency_ms={}, executed=False)


def test_rows_on_the_pareto_front_are_marked() -> None:
    lines = format_tradeoff([FP32, INT8, DOMINATED, IDLE]).splitlines()
    assert [line.split()[0] for line in lines[2:6]] == ["1", "2*", "3", "4"]
    assert "int8 (chosen)" in lines[3]
    assert "0.250" in lines[3]
    assert "79.8" in lines[3]
    assert "4: not executed" in lines


def test_bundles_for_one_target_are_named() -> None:
    smaller = replace(INT8, name="smaller")
    lines = format_tradeoff([FP32, smaller, IDLE]).splitlines()
    assert "laptop-x86 (bundle)" in lines[2]
    assert "laptop-x86 (smaller)" in lines[3]
    assert "(bundle)" not in lines[4]
    assert "(bundle)" not in format_tradeoff([FP32, INT8, IDLE])


def test_columns_without_values_are_left_out() -> None:
    assert "parity" not in format_tradeoff([FP32])
    assert "parity" in format_tradeoff([replace(FP32, parity=1e-6)])


def test_no_points_give_an_empty_table() -> None:
    assert format_tradeoff([]).splitlines()[0].startswith("#")


def test_rows_of_another_kind_of_machine_have_a_remark() -> None:
    text = format_tradeoff([FP32, replace(INT8, target="raspberry-pi-5", on_target=False)])
    assert "2: latency measured on this machine, whose architecture differs from the target's" in text
    assert "Rows measured on a machine with another architecture than the target are not considered." in text
    assert "another architecture" not in format_tradeoff([FP32, INT8])


def test_equal_remarks_are_merged() -> None:
    idle = replace(IDLE, note="Cannot import tensorrt (No module named 'tensorrt'). Run: apt-get")
    lines = format_tradeoff([idle, replace(idle, precision="int8"), FP32]).splitlines()
    assert lines[-1] == "1, 2: not executed: tensorrt is not installed here"


@pytest.mark.case("F34")
def test_only_the_chosen_precision_is_marked() -> None:
    """int8 is faster here, but export chose fp32."""
    points = [replace(FP32, chosen=True), replace(INT8, chosen=False)]
    lines = format_tradeoff(points).splitlines()
    assert [line.split()[0] for line in lines[2:4]] == ["1*", "2"]
    assert "fp32 (chosen)" in lines[2]
    assert "Only the chosen precision of each bundle can have a star." in lines[-1]
    html = render_report(Report("one verdict", points))
    assert re.findall(r'<tr id="row-(\d+)"[^>]* class="highlighted"><th scope="row">[^<]* \*<', html) == ["1"]
    assert html.count('class="highlighted"') == 1


@pytest.mark.case("F30")
def test_a_model_no_better_than_a_constant_is_not_marked() -> None:
    useless = replace(INT8, warning="bundle does not beat a constant on lav of the test split. Do not ship it.")
    lines = format_tradeoff([useless]).splitlines()
    assert lines[2].split()[0] == "1"
    assert "Models that do not beat a constant are not considered." in lines[-2]
    assert lines[-1] == "1: does not beat a constant"


@pytest.mark.case("F24")
def test_a_partial_plan_is_named() -> None:
    point = replace(INT8, precision_title="int8: 5 of 9 layers")
    assert "int8: 5 of 9 layers (chosen)" in format_tradeoff([point])


def test_speed_is_compared_with_the_teacher_in_onnxruntime() -> None:
    teacher = replace(FP32, name="teacher", target="", reference=True, latency_ms={"lav": {"p50": 12.5}})
    lines = format_tradeoff([FP32, INT8, teacher, IDLE]).splitlines()
    column = lines[0].index("x teacher")
    assert [line[column:].split()[0] for line in lines[2:6]] == ["25.0", "50.0", "1.0", "-"]
    assert any("x teacher: how many times as fast as the teacher in ONNX Runtime" in line for line in lines)
    assert "x teacher" not in format_tradeoff([FP32, INT8])
