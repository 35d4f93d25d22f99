from __future__ import annotations

from typing import Any

import pytest

from edge_msa.errors import UsageError
from edge_msa.reporting.comparison import compare_figures, latency_outcome
from edge_msa.reporting.figures import DataInfo, Figures, Provenance, Row, Value


def row(name: str = "small", **changes: Any) -> Row:
    fields: dict[str, Any] = {
        "id": f"{name}/onnxruntime/int8/CPU",
        "number": 1,
        "label": name,
        "kind": "bundle",
        "name": name,
        "target": "laptop-x86",
        "backend": "onnxruntime",
        "precision": "int8",
        "precision_title": "int8",
        "device": "CPU",
        "chosen": True,
        "executed": True,
        "on_target": True,
        "reference": False,
        "pareto": True,
        "metrics": {"lav": {"mae": Value(value=0.5, low=0.45, high=0.55)}},
        "differences": {},
        "samples": {"lav": 100},
        "latency_ms": {"lav": {"p50": Value(value=1.0, low=0.99, high=1.01)}},
        "size_bytes": 1000,
        "load_ms": 10.0,
        "peak_memory_mib": 50.0,
        "parity": None,
        "machine": {"machine": "CPU, 2 cores", "onnxruntime": "1.0"},
        "warning": "",
        "remark": "",
        "files": [],
        "provenance": Provenance(metrics="edge-msa evaluate small", latency="edge-msa bench small"),
    }
    return Row(**(fields | changes))


def figures(*rows: Row, digest: str = "abc", verdicts: Any = ()) -> Figures:
    data = DataInfo(dataset="d", split="test", task="sentiment", digest=digest, samples=100, interval_unit="groups")
    return Figures(
        title="t",
        version="0",
        data=data,
        subset="lav",
        metric="mae",
        verdicts=list(verdicts),
        rows=list(rows),
        baselines={},
        bayes_optimum={},
        findings=[],
        prediction_intervals=[],
        classes=[],
        notes=[],
        sections=[],
        provenance={},
        skipped=[],
    )


def latency(value: float) -> dict[str, dict[str, Value]]:
    return {"lav": {"p50": Value(value=value, low=0.99 * value, high=1.01 * value)}}


def metric(value: float) -> dict[str, dict[str, Value]]:
    return {"lav": {"mae": Value(value=value, low=value - 0.05, high=value + 0.05)}}


def test_equal_reports_have_no_change() -> None:
    comparison = compare_figures(figures(row()), figures(row()))

    assert {item.outcome for item in comparison.changes} == {"same"}
    assert "No figure changed by more than noise." in str(comparison)


@pytest.mark.parametrize(
    ("changes", "figure", "outcome"),
    [
        ({"metrics": metric(0.7)}, "MAE on lav", "worse"),
        ({"metrics": metric(0.3)}, "MAE on lav", "better"),
        ({"metrics": metric(0.52)}, "MAE on lav", "within noise"),
        ({"metrics": {"lav": {"mae": Value(value=0.7)}}}, "MAE on lav", "cannot tell"),
        ({"latency_ms": latency(1.1)}, "p50 on lav, ms", "worse"),
        ({"latency_ms": latency(0.9)}, "p50 on lav, ms", "better"),
        ({"latency_ms": latency(1.03)}, "p50 on lav, ms", "within noise"),
        ({"size_bytes": 1200}, "size", "worse"),
        ({"executed": False}, "runs", "worse"),
    ],
)
def test_a_change_is_found_if_it_exceeds_noise(changes: dict[str, Any], figure: str, outcome: str) -> None:
    comparison = compare_figures(figures(row()), figures(row(**changes)))

    assert {item.figure: item.outcome for item in comparison.changes}[figure] == outcome
    assert [item.figure for item in comparison.regressions] == ([figure] if outcome == "worse" else [])


def test_latencies_of_other_machines_are_not_compared() -> None:
    other = row(latency_ms=latency(3.0), machine={"machine": "another CPU"})

    comparison = compare_figures(figures(row()), figures(other))

    assert not comparison.regressions
    assert any("machine or versions" in note for note in comparison.notes)


def test_accuracies_on_other_data_are_not_compared() -> None:
    comparison = compare_figures(figures(row()), figures(row(metrics=metric(0.9)), digest="other"))

    assert not [item for item in comparison.changes if item.figure.startswith("MAE")]
    assert any("different data" in note for note in comparison.notes)


def test_rows_of_one_report_only_are_listed() -> None:
    comparison = compare_figures(figures(row(), row("old")), figures(row(), row("new")))

    assert comparison.added == ("new/onnxruntime/int8/CPU",)
    assert comparison.removed == ("old/onnxruntime/int8/CPU",)


def test_reports_of_other_models_are_refused() -> None:
    with pytest.raises(UsageError, match="must have a row in common"):
        compare_figures(figures(row("a")), figures(row("b")))


def test_a_latency_without_interval_that_differs_cannot_be_judged() -> None:
    assert latency_outcome(Value(value=1.0), Value(value=2.0))[0] == "cannot tell"
