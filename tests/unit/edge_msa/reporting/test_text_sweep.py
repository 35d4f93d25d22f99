from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge_msa.errors import EdgeMsaError
from edge_msa.evaluation.metrics import Comparison
from edge_msa.evaluation.reproduction.record import SeedSummary
from edge_msa.reporting.text_sweep import SweepPoint, TextSweep, format_sweep, write_sweep_page

if TYPE_CHECKING:
    from tests.unit.edge_msa.reporting.conftest import Parse


def point(variant: str, precision: str, p50: float, mae: float) -> SweepPoint:
    metrics = {"mae": SeedSummary(mae, 0.01, (mae - 0.01, mae + 0.01))}
    difference = None if mae == 0.7 else Comparison(mae - 0.7, mae - 0.75, mae - 0.65, covers_seeds=True, unit="groups")
    latency = {"p50": p50, "p90": p50}
    return SweepPoint(
        variant, variant, precision, precision, "onnxruntime", 1000, 4000, 24, latency, metrics, difference
    )


SWEEP = TextSweep(
    dataset="toy <i>",
    samples=10,
    seeds=(0, 1),
    target="laptop-x86",
    points=(point("encoder", "fp32", 8.0, 0.7), point("encoder", "int8", 9.0, 0.8), point("table", "fp32", 0.1, 0.9)),
    baselines={"median": {"mae": 1.4}, "best constant": {"mae": 1.3}},
    teacher_bases=("bge", "minilm"),
    student_base="minilm",
    machine={"machine": "a laptop"},
)


def test_a_sweep_survives_json() -> None:
    assert TextSweep.from_json(json.loads(json.dumps(SWEEP.to_json()))) == SWEEP


@pytest.mark.parametrize(
    "value", [{"record": "run"}, {"record": "sweep", "schema": 0}, {"record": "sweep", "schema": 5}]
)
def test_an_invalid_record_is_rejected(value: dict[str, object]) -> None:
    with pytest.raises(EdgeMsaError, match="Run the sweep again"):
        TextSweep.from_json(value)


def test_the_table_marks_the_pareto_front() -> None:
    lines = format_sweep(SWEEP).splitlines()
    assert [line.split()[0] for line in lines[2:5]] == ["encoder", "encoder", "table"]
    assert ["†" in line for line in lines[2:5]] == [True, False, True]
    assert lines[5].startswith("baseline: median")
    assert "0.700 ± 0.010" in lines[2]


def test_notes_name_the_bases_of_teachers_and_students() -> None:
    assert "distilled from teachers with bge and minilm. They start from minilm." in format_sweep(SWEEP)


@pytest.mark.case("E1")
def test_differences_from_the_first_row_have_intervals() -> None:
    lines = format_sweep(SWEEP).splitlines()
    assert lines[2].endswith("-")
    assert lines[4].endswith("+0.200 (+0.150 to +0.250) *")
    assert any("MAE - first row: 95 % intervals cover the choice of seeds and videos." in line for line in lines)


def test_the_page_is_offline_and_escaped(tmp_path: Path, outline: Parse) -> None:
    html = write_sweep_page(SWEEP, tmp_path / "sweep.html").read_text(encoding="utf-8")
    parsed = outline(html)
    assert parsed.open == []
    assert parsed.tags["svg"] == 1
    assert "toy &lt;i&gt;" in html
    assert "the best constant prediction has 1.300" in parsed.text
    assert "http://" not in html.replace("http://www.w3.org", "")
