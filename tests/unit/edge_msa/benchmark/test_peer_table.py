from __future__ import annotations

import dataclasses
import json

import pytest

from edge_msa.benchmark.peer_table import Difference, PeerBenchmark, PeerRow, Ratio
from edge_msa.errors import EdgeMsaError

OURS = PeerRow(
    "bundle",
    "student",
    "openvino",
    "int8",
    True,
    1000,
    {"min": 0.4, "p50": 0.5},
    Ratio(1.0, 1.0, 1.0),
    1.0,
    {"mae": 0.5},
    {},
    "lav",
    {"mae": (0.4, 0.6)},
)
TEACHER = PeerRow(
    *("teacher", "teacher", "torch", "fp32", False, 4000, {"min": 4.8, "p50": 5.0}),
    *(Ratio(10.0, 9.0, 11.0), 12.0, {"mae": 0.4}, {"mae": Difference(-0.1, -0.2, 0.0)}),
)
ABSENT = PeerRow(
    "bundle", "peer", "openvino", "NNCF int8", False, None, {}, None, None, {}, {}, note="nncf is not installed"
)
BENCHMARK = PeerBenchmark(
    *("mosi", "abc", "test", 20, 100, "groups", (OURS, TEACHER, ABSENT), {"machine": "CPU"}, ("a note",))
)


def test_the_table_has_ratios_and_differences_with_intervals() -> None:
    lines = str(BENCHMARK).splitlines()

    assert lines[0] == "test split of mosi, 20 samples, 100 timed predictions of each"
    assert "bundle*" in lines[4]
    assert lines[4].split()[-4:] == ["-", "-", "0.500", "-"]
    assert "10.0 (9.00 to 11.0)" in lines[5]
    assert "-0.100 (-0.200 to +0.000)" in lines[5]


def test_what_was_not_measured_says_why() -> None:
    assert "bundle, openvino NNCF int8: nncf is not installed" in str(BENCHMARK).splitlines()
    assert "a note" in str(BENCHMARK)


def test_a_disturbed_measurement_is_said_to_be_disturbed() -> None:
    disturbed = dataclasses.replace(TEACHER, latency_ms={"min": 2.0, "p50": 5.0})

    assert "warning: other programs" not in str(BENCHMARK)
    assert "warning: other programs" in str(dataclasses.replace(BENCHMARK, contenders=(OURS, disturbed)))


def test_a_benchmark_is_the_same_after_json() -> None:
    value = json.loads(json.dumps(BENCHMARK.to_json()))

    assert PeerBenchmark.from_json(value) == BENCHMARK


@pytest.mark.parametrize("change", [{"schema": 1}, {"contenders": [{}]}, {"contenders": []}, {"unknown": 1}])
def test_a_damaged_record_is_one_line(change: dict[str, object]) -> None:
    value = json.loads(json.dumps(BENCHMARK.to_json())) | change

    with pytest.raises(EdgeMsaError, match="Run edge-msa bench peers again") as caught:
        PeerBenchmark.from_json(value)
    assert "\n" not in str(caught.value)


def test_rows_have_one_per_contender() -> None:
    rows = dataclasses.replace(BENCHMARK, contenders=(TEACHER,)).rows

    assert [(row["name"], row["ratio"], row["ratio_low"], row["mae"]) for row in rows] == [("teacher", 10.0, 9.0, 0.4)]
