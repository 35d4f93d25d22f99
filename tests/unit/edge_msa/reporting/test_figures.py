from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from edge_msa.errors import RunError
from edge_msa.reporting import Report, ReportPoint, collect_figures, render_report
from edge_msa.reporting.figures import Figures, json_schema, load_figures
from tests.locations import REPOSITORY

POINT = ReportPoint(
    "bundle",
    "laptop-x86",
    "onnxruntime",
    "fp32",
    "CPU",
    "acc2_non0",
    by_subset={"lav": {"acc2_non0": 0.8, "corr": math.nan}},
    intervals={"lav": {"acc2_non0": (0.7, 0.9)}},
    latency_ms={"lav": {"p50": 0.5, "p99": math.inf}},
    size_bytes=1000,
)
SCHEMA_FILE = REPOSITORY / "docs" / "reference" / "report.schema.json"
REGENERATE = (
    'python -c "import json; from edge_msa.reporting.figures import json_schema; '
    f'print(json.dumps(json_schema(), indent=1))" > {SCHEMA_FILE.relative_to(REPOSITORY)}'
)


def figures() -> Figures:
    return collect_figures(
        Report("</script><b>\u6a21 & \u2028", [POINT, replace(POINT, executed=False, latency_ms={})])
    )


def test_the_published_schema_is_that_of_the_code() -> None:
    assert json.loads(SCHEMA_FILE.read_text()) == json_schema(), f"Run: {REGENERATE}"


def test_every_field_of_the_schema_has_a_meaning() -> None:
    schema = json_schema()
    for kind in (schema, *schema["$defs"].values()):
        assert [name for name, field in kind["properties"].items() if not field.get("description")] == []


def test_figures_survive_their_file_and_their_page(tmp_path: Path) -> None:
    expected = figures()
    (tmp_path / "a.json").write_text(expected.to_text())
    (tmp_path / "b.html").write_text(render_report(Report(expected.title, [])))
    assert load_figures(tmp_path / "a.json") == expected
    assert load_figures(tmp_path / "b.html").title == expected.title


def test_values_that_are_not_finite_are_null() -> None:
    row = figures().rows[0]
    assert row.metrics["lav"]["corr"].value is None
    assert row.metrics["lav"]["acc2_non0"].model_dump() == {"value": 0.8, "low": 0.7, "high": 0.9}
    assert set(row.latency_ms["lav"]) == {"p50"}
    json.loads(figures().to_text(), parse_constant=pytest.fail)


def test_rows_of_equal_models_have_different_ids() -> None:
    assert [row.id for row in figures().rows] == ["bundle/onnxruntime/fp32/CPU", "bundle/onnxruntime/fp32/CPU#2"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not valid JSON"),
        ("[]", "must be a report of schema 1, got None of schema None. Run edge-msa report again."),
        ('{"record": "bench", "schema": 1}', "got 'bench' of schema 1. Run edge-msa report again."),
        ('{"record": "report", "schema": 2}', "got 'report' of schema 2. Update edge-msa."),
        ('{"record": "report"}', "got 'report' of schema None. Run edge-msa report again."),
        ('{"record": "report", "schema": 1}', "is not a valid report (title: Field required)"),
    ],
)
def test_what_is_not_a_report_of_this_schema_is_refused_in_one_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(text)
    with pytest.raises(RunError) as caught:
        load_figures(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_page_without_figures_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("<html></html>")
    with pytest.raises(RunError, match="must contain the figures of a report"):
        load_figures(path)
