from __future__ import annotations

from dataclasses import replace

import pytest

from edge_msa.reporting import ReportPoint, format_tradeoff, front_of, pareto_front, verdicts
from edge_msa.reporting.points import headline_subset, short_names, shown, undrawn

FP32 = ReportPoint(
    "bundle",
    "laptop-x86",
    "onnxruntime",
    "fp32",
    "CPU",
    "acc2_non0",
    by_subset={"l": {"acc2_non0": 0.75, "mae": 0.9}, "lav": {"acc2_non0": 0.80, "mae": 0.7}},
    latency_ms={"l": {"p50": 0.2, "p90": 0.3, "p99": 0.4}, "lav": {"p50": 0.5, "p90": 0.6, "p99": 0.7}},
    size_bytes=2**20,
    baselines={"learned_nothing": {"acc2_non0": 0.42}, "best_constant": {"acc2_non0": 0.578}},
    limits={"lav": {"acc2_non0": 0.9}},
)
INT8 = replace(
    FP32,
    precision="int8",
    chosen=True,
    by_subset={"l": {"acc2_non0": 0.74, "mae": 0.9}, "lav": {"acc2_non0": 0.798, "mae": 0.71}},
    latency_ms={"l": {"p50": 0.1}, "lav": {"p50": 0.25, "p90": 0.3, "p99": 0.4}},
    size_bytes=2**18,
)
WORSE = replace(FP32, backend="openvino", latency_ms={"lav": {"p50": 0.6}}, by_subset={"lav": {"acc2_non0": 0.79}})
IDLE = replace(FP32, target="jetson-orin-nano", backend="tensorrt", precision="fp16", latency_ms={}, executed=False)


@pytest.mark.parametrize(
    ("pairs", "front"),
    [
        ([(1.0, 1.0)], (0,)),
        ([(1.0, 1.0), (2.0, 2.0), (3.0, 1.5)], (0, 1)),
        ([(3.0, 3.0), (1.0, 1.0)], (1, 0)),
        ([(1.0, 2.0), (1.0, 1.0), (2.0, 2.0)], (0,)),
        ([(1.0, 1.0), (1.0, 1.0)], (0, 1)),
        ([], ()),
    ],
)
def test_pareto_front_keeps_what_nothing_beats_cheapest_first(
    pairs: list[tuple[float, float]], front: tuple[int, ...]
) -> None:
    assert pareto_front(pairs) == front


def test_front_needs_both_a_latency_and_an_accuracy() -> None:
    assert front_of([FP32, INT8, WORSE, IDLE], "lav") == (INT8, FP32)
    assert front_of([IDLE], "lav") == ()


def test_a_latency_of_another_kind_of_machine_is_shown_with_a_remark_and_is_part_of_no_front() -> None:
    elsewhere = replace(INT8, target="raspberry-pi-5", on_target=False)
    assert front_of([FP32, elsewhere], "lav") == (FP32,)
    told = format_tradeoff([FP32, elsewhere])
    assert "2: latency of this machine, which is not of the target's kind" in told
    assert "both faster and more accurate; rows that were not measured on their target's kind of machine" in told
    assert "left out" not in format_tradeoff([FP32, INT8])
    assert "Of 1 measured, one is" in verdicts([FP32, elsewhere])[0]


def test_a_latency_of_another_kind_of_machine_is_compared_with_nothing() -> None:
    text = "\n".join(verdicts([replace(FP32, on_target=False), replace(INT8, on_target=False)]))
    assert "times as fast" not in text
    assert "does not pay" not in text


@pytest.mark.parametrize(
    ("point", "why"),
    [
        (FP32, ""),
        (IDLE, "not executed on a GPU"),
        (replace(FP32, latency_ms={}), "no latency of lav was measured"),
        (replace(FP32, on_target=False), "latency of this machine, which is not of the target's kind"),
        (replace(FP32, by_subset={}), "no accuracy of lav was measured"),
    ],
)
def test_a_point_that_is_not_drawn_has_a_reason(point: ReportPoint, why: str) -> None:
    assert undrawn(point, "lav") == why


@pytest.mark.parametrize(
    ("note", "line"),
    [
        (
            "tensorrt cannot be imported (No module named 'tensorrt'); it comes with JetPack: run: apt-get",
            "1, 2: not executed on a GPU: tensorrt is not installed here",
        ),
        ("the plan is of TensorRT 8; build it again", "1, 2: not executed on a GPU: the plan is of TensorRT 8"),
    ],
)
def test_equal_remarks_are_one_line_and_end_before_the_advice(note: str, line: str) -> None:
    idle = replace(IDLE, note=note)
    assert format_tradeoff([idle, replace(idle, precision="int8"), FP32]).splitlines()[-1] == line


def test_headline_is_the_fullest_subset_that_most_points_share() -> None:
    assert headline_subset([FP32, INT8, IDLE]) == "lav"
    language = replace(FP32, by_subset={"l": {"acc2_non0": 0.7}}, latency_ms={"l": {"p50": 1.0}})
    assert headline_subset([language]) == "l"


def test_a_name_is_shown_only_where_the_target_does_not_tell() -> None:
    assert short_names([FP32, INT8])[0] == "laptop-x86 · onnxruntime · fp32"
    other = replace(FP32, name="other")
    assert short_names([FP32, other]) == (
        "bundle · laptop-x86 · onnxruntime · fp32",
        "other · laptop-x86 · onnxruntime · fp32",
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.31, "0.310"),
        (12.34, "12.3"),
        (812.4, "812"),
        (123456.0, "123456"),
        (3e-7, "3.0e-07"),
        (0, "0.00"),
    ],
)
def test_numbers_are_shown_with_three_digits(value: float | None, text: str) -> None:
    assert shown(value) == text


def test_tradeoff_marks_the_front_and_says_what_did_not_run() -> None:
    lines = format_tradeoff([FP32, INT8, WORSE, IDLE]).splitlines()
    marks = [line.split()[0] for line in lines[2:6]]
    assert marks == ["1*", "2*", "3", "4"]
    assert "int8 (chosen)" in lines[3]
    assert "0.250" in lines[3]
    assert "79.8" in lines[3]
    assert "4: not executed on a GPU" in lines
    assert "parity" not in lines[0]


def test_tradeoff_of_nothing_is_a_table_without_rows() -> None:
    assert format_tradeoff([]).splitlines()[0].startswith("#")
    assert verdicts([]) == ("Nothing was measured.",)


def test_verdicts_name_the_front_the_bounds_and_int8_against_fp32() -> None:
    text = "\n".join(verdicts([FP32, INT8, WORSE, IDLE]))
    assert "2 are on the front on lav" in text
    assert "beside 57.8 for the better of the two constants and 90.0 that the best possible reader gets" in text
    assert "on this very split on average; a finite split lets a model land a little above that by luck." in text
    assert "int8 against fp32, laptop-x86 · onnxruntime: 2.0 times as fast on lav (0.250 ms against 0.500 ms)" in text
    assert "Acc-2 Non0 changes by -1.0 points at worst (on l)" in text
    assert "0.25 times the size" in text
    assert "not executed on a GPU: jetson-orin-nano · tensorrt · fp16" in text


def test_verdicts_say_when_int8_is_slower() -> None:
    slow = replace(INT8, latency_ms={"lav": {"p50": 1.0}})
    assert "takes 2.0 times as long on lav" in "\n".join(verdicts([FP32, slow]))


@pytest.mark.parametrize("p50", [0.46, 0.5, 0.54])
def test_a_difference_under_a_tenth_is_noise(p50: float) -> None:
    text = "\n".join(verdicts([FP32, replace(INT8, latency_ms={"lav": {"p50": p50}})]))
    assert "as fast within noise on lav" in text
    assert "times as" not in text


@pytest.mark.parametrize(
    ("p50", "size", "pays"), [(0.25, 2**18, True), (0.25, 2**20, False), (0.48, 2**18, False), (1.0, 2**21, False)]
)
def test_int8_that_is_nowhere_smaller_and_faster_does_not_pay(p50: float, size: int, *, pays: bool) -> None:
    text = "\n".join(verdicts([FP32, replace(INT8, latency_ms={"lav": {"p50": p50}}, size_bytes=size)]))
    assert ("int8 does not pay at this size" in text) is not pays
    assert ("edge-msa bench long-windows" in text) is not pays


def test_equal_baselines_are_told_as_one_constant() -> None:
    level = replace(FP32, baselines={name: {"acc2_non0": 0.5} for name in FP32.baselines})
    assert "beside 50.0 for a constant and" in "\n".join(verdicts([level]))


def test_without_accuracy_there_is_no_front_and_no_claim() -> None:
    bare = replace(FP32, by_subset={}, gate_metric="", baselines={}, limits={})
    assert verdicts([bare]) == ("No point has both a latency and an accuracy, so there is no front to draw.",)
