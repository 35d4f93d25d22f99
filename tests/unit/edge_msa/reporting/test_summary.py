from __future__ import annotations

from dataclasses import replace

import pytest

from edge_msa.reporting import ReportPoint, summarize

FP32 = ReportPoint(
    "bundle",
    "laptop-x86",
    "onnxruntime",
    "fp32",
    "CPU",
    "acc2_non0",
    by_subset={"l": {"acc2_non0": 0.75}, "lav": {"acc2_non0": 0.80}},
    latency_ms={"l": {"p50": 0.2}, "lav": {"p50": 0.5}},
    size_bytes=2**20,
    baselines={"median": {"acc2_non0": 0.42}, "best_constant": {"acc2_non0": 0.578}},
    bayes_optimum={"lav": {"acc2_non0": 0.9}},
)
INT8 = replace(
    FP32,
    precision="int8",
    by_subset={"l": {"acc2_non0": 0.74}, "lav": {"acc2_non0": 0.798}},
    latency_ms={"l": {"p50": 0.1}, "lav": {"p50": 0.25}},
    size_bytes=2**18,
)
DOMINATED = replace(FP32, backend="openvino", latency_ms={"lav": {"p50": 0.6}}, by_subset={"lav": {"acc2_non0": 0.79}})
IDLE = replace(FP32, target="jetson-orin-nano", backend="tensorrt", precision="fp16", latency_ms={}, executed=False)


def summary_of(*points: ReportPoint) -> str:
    return "\n".join(summarize(points))


@pytest.mark.parametrize(
    "sentence",
    [
        "2 of 3 measured rows are on the Pareto front on language, audio and vision (lav), fastest first: ",
        "The best Acc-2 Non0 on lav is 80.0; the better baseline reaches 57.8 and the Bayes optimum is 90.0.",
        "a model can exceed it slightly by chance.",
        "int8 compared with fp32 on laptop-x86 · onnxruntime: 2.0 times as fast on lav (0.250 ms instead of 0.500 ms)",
        "Acc-2 Non0 changes by -1.0 points on l, the worst subset",
        "0.25 times the size",
        "Not executed, so latency is unknown: jetson-orin-nano · tensorrt · fp16.",
    ],
)
def test_the_summary_states_each_result(sentence: str) -> None:
    assert sentence in summary_of(FP32, INT8, DOMINATED, IDLE)


def test_a_change_that_rounds_to_zero_is_no_loss() -> None:
    assert "no loss of Acc-2 Non0 on any subset" in summary_of(FP32, replace(INT8, by_subset=FP32.by_subset))


def test_a_slower_precision_is_called_slower() -> None:
    assert "takes 2.0 times as long on lav" in summary_of(FP32, replace(INT8, latency_ms={"lav": {"p50": 1.0}}))


@pytest.mark.parametrize("p50", [0.46, 0.5, 0.54])
def test_a_difference_below_ten_percent_is_noise(p50: float) -> None:
    text = summary_of(FP32, replace(INT8, latency_ms={"lav": {"p50": p50}}))
    assert "equally fast within noise on lav" in text
    assert "times as fast" not in text


@pytest.mark.parametrize(
    ("p50", "size", "beneficial"),
    [(0.25, 2**18, True), (0.25, 2**20, False), (0.48, 2**18, False), (1.0, 2**21, False)],
)
def test_int8_needs_to_be_smaller_and_faster(p50: float, size: int, *, beneficial: bool) -> None:
    text = summary_of(FP32, replace(INT8, latency_ms={"lav": {"p50": p50}}, size_bytes=size))
    assert ("int8 has no benefit for a model of this size" in text) is not beneficial
    assert ("edge-msa bench long-windows" in text) is not beneficial


def test_latencies_of_other_kinds_of_machines_are_not_compared() -> None:
    text = summary_of(replace(FP32, on_target=False), replace(INT8, on_target=False))
    assert "times as fast" not in text
    assert "no benefit" not in text


def test_one_row_can_be_fastest_and_most_accurate() -> None:
    assert "One of 2 measured rows is both the fastest and the most accurate" in summary_of(FP32, DOMINATED)


def test_a_single_measured_row_is_not_compared() -> None:
    elsewhere = replace(INT8, target="raspberry-pi-5", on_target=False)
    assert "Only one row was measured on language, audio and vision (lav)" in summary_of(FP32, elsewhere)


def test_without_accuracy_there_is_no_pareto_front() -> None:
    bare = replace(FP32, by_subset={}, gate_metric="", baselines={}, bayes_optimum={})
    assert summarize([bare]) == ("No row has both a latency and an accuracy, so there is no Pareto front.",)


def test_without_points_nothing_was_measured() -> None:
    assert summarize([]) == ("Nothing was measured.",)
