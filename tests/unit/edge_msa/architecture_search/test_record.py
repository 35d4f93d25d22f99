from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from edge_msa.architecture_search.record import SearchRecord

if TYPE_CHECKING:
    from tests.unit.edge_msa.architecture_search.conftest import MakeRecord, Trial


@pytest.mark.parametrize(("int8_ratio", "expected"), [(0.95, 0), (0.89, 1)])
def test_the_default_precision_must_save_ten_percent(
    int8_ratio: float, expected: int, default: Trial, record: MakeRecord
) -> None:
    search = record([default(0, 1.0, 1.0), default(1, 1.0, int8_ratio, "int8")])
    assert search.default is not None
    assert search.default.number == expected


def test_relative_latency_prefers_the_final_measurement(trial: Trial, default: Trial, record: MakeRecord) -> None:
    trials = [default(0, 1.0, 1.0), trial(1, 0.9, 0.5)]
    assert record(trials).relative_latency(trials[1]) == pytest.approx(0.5)
    assert record(trials, final_ms={0: 0.1, 1: 0.08}).relative_latency(trials[1]) == pytest.approx(0.8)


def test_an_int8_default_divides_the_latency_ratio(trial: Trial, default: Trial, record: MakeRecord) -> None:
    trials = [default(0, 1.0, 1.0), default(1, 1.0, 0.5, "int8"), trial(2, 0.9, 0.4)]
    assert record(trials).relative_latency(trials[2]) == pytest.approx(0.8)


def test_a_record_survives_json(trial: Trial, default: Trial, record: MakeRecord) -> None:
    trials = [default(0, 1.0, 1.0), trial(1, 0.9, 0.5)]
    search = record(trials, bundles={1: "b"}, final_ms={1: 0.1}, errors={0: [1.0]})
    value = json.loads(json.dumps(search.to_json()))
    assert value["pareto"] == [1]
    assert value["default"] == 0
    assert SearchRecord.from_json(value).to_json() == search.to_json()
