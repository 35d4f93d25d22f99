from __future__ import annotations

import dataclasses

from edge_msa.evaluation.evaluate import Evaluation, Source
from edge_msa.evaluation.intervals.quality import CoverageLevel
from edge_msa.reporting import Report, render_report
from edge_msa.reporting.risk import interval_tables, measured_intervals, risk_curves, risk_plot


def _evaluation(*, sign: bool = True, intervals: bool = True) -> Evaluation:
    def level(coverage: float, answered: float, risk: float | None) -> CoverageLevel:
        values = (answered, risk, 0.2) if sign else (None, None, None)
        return CoverageLevel(coverage, coverage + 0.01, coverage - 0.02, coverage + 0.03, 2 * coverage, *values)

    levels = (level(0.5, 0.75, 0.125), level(0.8, 0.5, 0.0625), level(0.9, 0.25, None))
    metrics = {"mae": 1.0, "acc2_non0": 0.8}
    return Evaluation(
        source=Source("bundle <x>", "bundle", "int8", "openvino"),
        task="mosi",
        split="test",
        dataset="toy",
        digest="0" * 64,
        samples=4,
        counts={"la": 4},
        skipped_subsets=(),
        by_subset={"la": metrics},
        missing_average={},
        baselines={"median": metrics},
        baseline_constants={"median": (0.0,)},
        gate_metric="acc2_non0",
        prediction_intervals={"complete": {"la": levels}} if intervals else {},
    )


def test_the_page_shows_coverage_width_and_risk() -> None:
    evaluation = _evaluation()
    (table,) = interval_tables(evaluation)
    assert table.rows == [["la", "81.0 (78.0 to 83.0)", "1.60", "91.0 (88.0 to 93.0)", "1.80", "20.0", "25.0", "-"]]
    page = render_report(Report("title", (), [_evaluation(intervals=False), evaluation]))
    assert "Prediction intervals on complete utterances" in page
    assert "bundle &lt;x&gt;" in page
    assert 'aria-label="Share of wrong signs against the share of answered predictions"' in page


def test_the_page_names_sets_of_classes() -> None:
    evaluation = dataclasses.replace(_evaluation(), task="classes:calm,glad")
    (table,) = interval_tables(evaluation)
    assert table.header[1:3] == ["in 80 % set", "classes"]
    page = render_report(Report("title", (), [evaluation]))
    assert '<h2 id="intervals">Prediction sets</h2>' in page
    assert "if its set has one class" in page
    assert 'aria-label="Share of wrong classes against the share of answered predictions"' in page


def test_scores_without_a_sign_have_no_risk() -> None:
    evaluation = _evaluation(sign=False)
    (table,) = interval_tables(evaluation)
    assert table.header == ["available", "in 80 % interval", "width", "in 90 % interval", "width"]
    assert risk_curves(evaluation) == []
    assert risk_plot([], sets=False) == ""


def test_evaluations_without_intervals_have_no_section() -> None:
    assert measured_intervals([_evaluation(intervals=False)]) is None
    assert 'id="intervals"' not in render_report(Report("title", (), [_evaluation(intervals=False)]))


def test_a_record_keeps_prediction_intervals() -> None:
    import json

    evaluation = _evaluation()
    assert Evaluation.from_json(json.loads(json.dumps(evaluation.to_json()))) == evaluation
