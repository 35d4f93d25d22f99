from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from edge_msa.evaluation.metrics import Estimate
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
        "The best Acc-2 Non0 on lav among the considered rows is 80.0; the better baseline reaches 57.8 and the Bayes",
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
    text = summary_of(FP32, DOMINATED)
    assert "On language, audio and vision (lav), one row is both the fastest and the most accurate: " in text
    assert "It was compared with the only other measured row." in text


def test_a_single_measured_row_is_not_compared() -> None:
    elsewhere = replace(INT8, target="raspberry-pi-5", on_target=False)
    assert "Only one row was measured on language, audio and vision (lav)" in summary_of(FP32, elsewhere)


def test_without_accuracy_there_is_no_pareto_front() -> None:
    bare = replace(FP32, by_subset={}, gate_metric="", baselines={}, bayes_optimum={})
    assert summarize([bare]) == ("No row has both a latency and an accuracy, so there is no Pareto front.",)


def test_without_points_nothing_was_measured() -> None:
    assert summarize([]) == ("Nothing was measured.",)


@pytest.mark.case("F34")
def test_sentences_follow_the_choice_of_export() -> None:
    text = summary_of(replace(FP32, chosen=True), INT8, DOMINATED)
    assert "one row is both the fastest and the most accurate: laptop-x86 · onnxruntime · fp32" in text
    assert "the only other measured row with the precision that export chose" in text
    assert "2.0 times as fast on lav (0.250 ms instead of 0.500 ms)" in text
    assert "export chose fp32" in text


@pytest.mark.case("F34")
@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ((replace(FP32, latency_ms={}, chosen=True), INT8), "No row with the precision that export chose has both"),
        ((replace(FP32, chosen=True), INT8), "Only one of the 2 rows measured on"),
        ((replace(FP32, by_subset={}, gate_metric=""),), "No row has both a latency and an accuracy"),
    ],
    ids=["chosen-without-latency", "one-chosen", "no-accuracy"],
)
def test_partial_data_has_one_verdict(points: tuple[ReportPoint, ...], expected: str) -> None:
    sentences = [line for line in summarize(points) if "row" in line and "int8 compared" not in line]
    assert len([line for line in sentences if "measured" in line or "Pareto" in line]) == 1
    assert expected in sentences[0]


@pytest.mark.case("F34")
def test_an_unknown_size_is_no_missing_benefit() -> None:
    text = summary_of(replace(FP32, size_bytes=None), replace(INT8, size_bytes=None))
    assert "2.0 times as fast" in text
    assert "no benefit" not in text


@pytest.mark.case("F34")
def test_no_loss_is_claimed_for_compared_subsets_only() -> None:
    partial = replace(INT8, by_subset={"lav": {"acc2_non0": 0.8}})
    assert "no loss of Acc-2 Non0 on any of the compared subsets (lav)" in summary_of(FP32, partial)


@pytest.mark.case("F30")
def test_a_model_no_better_than_a_constant_is_never_the_best() -> None:
    warning = "bundle does not beat a constant on lav of the test split. Do not ship it."
    text = summary_of(replace(FP32, warning=warning))
    assert text.startswith(warning)
    assert "No measured row beats a constant, so there is no Pareto front." in text
    assert "the most accurate" not in text
    assert "The best" not in text
    assert "the fastest" not in summary_of(replace(FP32, warning=warning), replace(INT8, warning=warning))
    weak = replace(FP32, name="weak", warning=warning, by_subset={"lav": {"acc2_non0": 0.95}})
    assert "The best Acc-2 Non0 on lav among the considered rows is 80.0" in summary_of(FP32, weak)


@pytest.mark.case("E1")
def test_the_worst_change_has_an_interval_for_this_model() -> None:
    generator = np.random.default_rng(0)
    estimates = [
        {"acc2_non0": Estimate(value, tuple(generator.normal(0, 0.5, 30)), "groups", 30)} for value in (0.75, 0.74)
    ]
    text = summary_of(replace(FP32, estimates={"l": estimates[0]}), replace(INT8, estimates={"l": estimates[1]}))
    assert re.search(r"changes by -1\.0 points on l, the worst subset \(95 % interval -\d.*, which includes 0\)", text)
