from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge_msa.evaluation.conversation_memory import Change, ContextResult
from edge_msa.evaluation.evaluate import Evaluation, Source
from edge_msa.reporting import Report, ReportPoint, render_report, write_report_page
from edge_msa.reporting.plots import robustness_plot, tradeoff_plot

if TYPE_CHECKING:
    from tests.unit.edge_msa.reporting.conftest import Parse

SUBSETS = ("l", "a", "v", "la", "lv", "av", "lav")


def point(precision: str, p50: float | None, accuracy: float) -> ReportPoint:
    metrics = {subset: {"acc2_non0": accuracy - 0.01 * (3 - len(subset)), "mae": 1.0 - accuracy} for subset in SUBSETS}
    return ReportPoint(
        "bundle",
        "laptop-x86",
        "onnxruntime",
        precision,
        "CPU",
        "acc2_non0",
        by_subset=metrics,
        latency_ms={} if p50 is None else {subset: {"p50": p50, "p90": p50, "p99": p50} for subset in SUBSETS},
        size_bytes=1000,
        parity=1e-6,
        baselines={"median": {"acc2_non0": 0.42, "mae": 1.4}, "best_constant": {"acc2_non0": 0.57, "mae": 1.4}},
        bayes_optimum={"lav": {"acc2_non0": 0.95, "mae": 0.1}},
        executed=p50 is not None,
    )


def evaluation_of(measured: ReportPoint) -> Evaluation:
    return Evaluation(
        source=Source("bundle", "bundle", measured.precision, "onnxruntime"),
        task="mosi",
        split="test",
        dataset="toy <script>alert(1)</script>",
        digest="feed",
        samples=10,
        counts=dict.fromkeys(SUBSETS, 10) | {"a": 8},
        skipped_subsets=(),
        by_subset=measured.by_subset,
        missing_average={"acc2_non0": 0.7, "mae": 0.3},
        baselines=measured.baselines,
        baseline_constants={"median": (0.2,), "best_constant": (-1.0,)},
        gate_metric="acc2_non0",
        bayes_optimum=measured.bayes_optimum,
        intervals={"lav": {"acc2_non0": (0.7, 0.9)}},
        interval_unit="groups",
        context=ContextResult(8, 2, {"lav": {"mae": 0.15}}, {"lav": {"mae": Change(-0.05, -0.08, -0.02)}}),
    )


@pytest.fixture(scope="module")
def html() -> str:
    points = [point("fp32", 0.5, 0.8), point("int8", 0.25, 0.79), point("fp16", None, 0.8)]
    return render_report(Report("Edge & toy", points, [evaluation_of(points[0])], {"seed": "7", "machine": "a laptop"}))


def test_tags_nest_and_ids_are_unique(html: str, outline: Parse) -> None:
    parsed = outline(html)
    assert parsed.open == []
    assert html.lstrip().startswith("<!DOCTYPE html>")
    assert [name for name, count in parsed.ids.items() if count > 1] == []
    assert parsed.tags["svg"] == 3
    assert parsed.tags["table"] == 3


def test_the_page_needs_no_network(html: str) -> None:
    without_namespaces = re.sub(r'xmlns(:xlink)?="[^"]*"', "", html)
    assert "http" not in without_namespaces
    assert not re.search(r"<(link|img|iframe)\b|<script[^>]+src", html)
    assert "@import" not in html


def test_plots_use_the_colors_of_the_page(html: str) -> None:
    svg = "".join(re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL))
    assert "var(--int8)" in svg
    assert "currentColor" in svg
    assert "<style" not in svg
    assert set(re.findall(r"#[0-9a-f]{6}\b", svg)) <= {"#ffffff", "#000000"}


def test_references_inside_plots_resolve(html: str, outline: Parse) -> None:
    ids = outline(html).ids
    used = re.findall(r'(?:href="#|url\(#)([^")]+)', html)
    assert used
    assert [name for name in used if name not in ids] == []


@pytest.mark.parametrize(
    "expected",
    [
        "Edge & toy",
        "2 of 2 measured rows are on the Pareto front on language, audio and vision (lav)",
        "3: not executed",
        "baseline: best constant (-1)",
        "The Bayes optimum is the expected result of the optimal predictor",
        "Acc-2 Non0 missing-average",
        "a: 2 samples without a valid frame excluded.",
        "lav 70.0 to 90.0",
        "With the conversation memory: 8 utterances of 2 videos have an earlier one.",
        "lav MAE -0.050 (-0.080 to -0.020)",
        "SHA-256 feed",
        "toy <script>alert(1)</script>, test split, 10 samples · a laptop · seed 7",
        "Not shown: 3: not executed.",
        "MAE (down is better)",
    ],
)
def test_the_page_contains_the_measurements(html: str, outline: Parse, expected: str) -> None:
    assert expected in outline(html).text


def test_equal_results_share_a_marker_and_fp16_is_omitted(outline: Parse) -> None:
    first, other = point("fp32", 0.5, 0.8), point("int8", 0.4, 0.79)
    points = [first, replace(first, backend="openvino"), replace(first, precision="fp16"), other]
    plot = outline(robustness_plot(points, "mae")).text
    assert "1, 2: fp32, equal results" in plot
    assert "4 laptop-x86 · onnxruntime · int8" in plot
    assert "fp16" not in plot


def test_equal_baselines_share_a_line(outline: Parse) -> None:
    plot = outline(robustness_plot([point("fp32", 0.5, 0.8)], "mae")).text
    assert "baseline: median = best constant" in plot
    assert plot.count("baseline:") == 1


def test_numbers_of_coinciding_points_do_not_overlap() -> None:
    plot = tradeoff_plot([point("fp32", 0.5, 0.8)] * 4, "lav")
    positions = re.findall(r'<text [^>]*?transform="([^"]+)"[^>]*>[1-4]</text>', plot)
    assert len(positions) == 4
    assert len(set(positions)) == 4


def test_text_from_files_is_escaped(html: str) -> None:
    assert "toy &lt;script&gt;" in html


def test_a_report_may_lack_latencies_and_evaluations(outline: Parse) -> None:
    assert outline(render_report(Report("accuracy only", [point("fp32", None, 0.8)]))).open == []
    assert outline(render_report(Report("nothing", []))).tags["svg"] == 0


def test_equal_measurements_give_equal_bytes(tmp_path: Path) -> None:
    report = Report("twice", [point("fp32", 0.5, 0.8)])
    first, second = (write_report_page(report, tmp_path / name) for name in ("one.html", "two.html"))
    assert first.read_bytes() == second.read_bytes()


def test_backticks_become_code_and_the_rest_stays_escaped() -> None:
    page = render_report(Report("Demo of `edge-msa demo` & <b>", (), (), {}))
    assert "<h1>Demo of <code>edge-msa demo</code> &amp; &lt;b&gt;</h1>" in page
    assert "<title>Demo of edge-msa demo &amp; &lt;b&gt;</title>" in page


def test_a_row_without_accuracy_names_the_command_that_measures_it() -> None:
    measured = point("fp32", 1.0, 0.8)
    lacking = replace(point("int8", 0.5, 0.8), by_subset={}, gate_metric="", chosen=True)
    page = render_report(Report("toy", (measured, lacking), (), {}))
    command = "edge-msa evaluate bundle --backend onnxruntime --precision int8 --output FILE"
    assert f"2: no accuracy measured on lav (<code>{command}</code>)" in page
