from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edge_msa.evaluation.conversation_memory import Change, ContextResult
from edge_msa.evaluation.evaluate import Evaluation, Source
from edge_msa.evaluation.metrics import Estimate
from edge_msa.reporting import Report, ReportPoint, collect_figures, render_report, write_report_page
from edge_msa.reporting.charts import Axis
from edge_msa.reporting.page import _MAX_TINT, distinct_series
from tests.unit.edge_msa.reporting.page_json import embedded, look_up

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
        chosen=True,
        intervals={"lav": {"acc2_non0": (accuracy - 0.01, accuracy + 0.01)}},
        counts=dict.fromkeys(SUBSETS, 10),
        missing_average={"acc2_non0": accuracy - 0.015, "mae": 1.0 - accuracy},
        estimates={"lav": {"acc2_non0": Estimate(accuracy, (0.1, -0.1, 0.2), "groups", 3)}},
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


TITLE = "Edge & toy"
TEACHER = replace(
    point("fp32", 1.5, 0.82), name="teacher <b>", target="", reference=True, chosen=False, is_bundle=False
)


def report() -> Report:
    points = [point("fp32", 0.5, 0.8), point("int8", 0.25, 0.79), point("fp16", None, 0.8), TEACHER]
    notes = {"run teacher": "seed 7"}
    return Report(
        TITLE, points, [evaluation_of(points[0])], notes, [("search: x.json", "1 trial")], ["a.json: damaged"]
    )


@pytest.fixture(scope="module")
def html() -> str:
    return render_report(report())


class Text(HTMLParser):
    """The visible text of a page and the figures in it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.figures: list[tuple[str, str]] = []
        """Path and text of each figure."""
        self.tips: list[str] = []
        self.rest: list[str] = []
        """Texts outside figures."""
        self._path = ""
        self._hidden = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self._hidden += tag in {"script", "style"} or (tag == "text" and values.get("class") in {"tick", "number"})
        self._path = values.get("data-figure") or "" if tag == "data" else ""
        self.tips += [value for name, value in attrs if name == "data-tip" and value]

    def handle_endtag(self, tag: str) -> None:
        self._path = ""
        self._hidden -= self._hidden > 0 and tag in {"script", "style", "text"}

    def handle_data(self, data: str) -> None:
        if self._path:
            self.figures.append((self._path, data))
        elif data.strip() and not self._hidden:
            self.rest.append(" ".join(data.split()))


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    else:
        yield value


def numbers(text: str) -> list[str]:
    return re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?(?![\w-])", text.replace(",", ""))


def is_rounded(text: str, values: list[float]) -> bool:
    """Return whether a number is one of the values, in percent or in thousands too, rounded as far as it is printed."""
    decimals = len(text.partition(".")[2]) if "e" not in text else None
    for value in values:
        for scaled in (value, 100 * value, value / 1000):
            if decimals is None and float(f"{scaled:.1e}") == float(text):
                return True
            if decimals is not None and abs(scaled - float(text)) <= 0.5 * 10.0**-decimals * (1 + 1e-9):
                return True
    return False


def test_every_figure_of_a_table_is_that_of_the_json_at_its_path(html: str) -> None:
    figures = embedded(html)
    parsed = Text(html)
    assert len(parsed.figures) > 100
    for path, text in parsed.figures:
        found = look_up(figures, path)
        values = [item for item in leaves(found) if item is not None]
        assert numbers(text)
        for number in numbers(text):
            assert is_rounded(number, values), (path, text, found)


def test_every_number_outside_the_tables_is_part_of_a_text_in_the_json(html: str) -> None:
    figures = embedded(html)
    texts = " ".join(str(item) for item in leaves(figures)) + " ".join(
        key for row in figures["rows"] for key in row["machine"]
    )
    static = Text(render_report(Report("", [])))
    known = set(numbers(texts)) | {number for text in static.rest for number in numbers(text)}
    rows = {str(row["number"]) for row in figures["rows"]}
    parsed = Text(html)
    scales = [item for item in leaves(figures["rows"]) if isinstance(item, float | int)]
    for text in parsed.tips:
        assert all(is_rounded(number, scales) for number in numbers(text)), text
    for text in parsed.rest:
        unknown = [number for number in numbers(text) if number not in known | rows | STATIC]
        assert unknown == [], text


STATIC = {"95", "10", "0", "256"}
"""Numbers in the texts of the template: confidence, threshold of the rule, SHA-256."""


def test_a_changed_figure_is_found(html: str) -> None:
    changed = html.replace(">80.0 (79.0 to 81.0)<", ">83.0 (79.0 to 81.0)<", 1)
    assert changed != html
    with pytest.raises(AssertionError):
        test_every_figure_of_a_table_is_that_of_the_json_at_its_path(changed)


def test_the_json_of_the_page_is_that_of_the_file(html: str, tmp_path: Path) -> None:
    path = write_report_page(report(), tmp_path / "report.json")
    assert embedded(html) == json.loads(path.read_text())


def test_the_first_heading_of_a_target_is_its_verdict(html: str, outline: Parse) -> None:
    verdict = collect_figures(report()).verdicts[0]
    text = outline(html).text
    assert verdict.headline in text
    assert text.index(verdict.headline) < text.index("Accuracy and latency")
    assert all(fact[1:] in text for fact in verdict.facts)


def test_tags_nest_and_ids_are_unique(html: str, outline: Parse) -> None:
    parsed = outline(html)
    assert parsed.open == []
    assert html.lstrip().startswith("<!DOCTYPE html>")
    assert [name for name, count in parsed.ids.items() if count > 1] == []


def test_headings_do_not_skip_a_level(html: str) -> None:
    levels = [int(level) for level in re.findall(r"<h(\d)", html)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(level - before <= 1 for before, level in itertools.pairwise(levels))


def test_every_table_has_headers_and_a_name(html: str) -> None:
    for table in re.findall(r"<table.*?</table>", html, re.DOTALL):
        assert '<th scope="col"' in table
        assert '<th scope="row"' in table
        assert "<caption>" in table


def test_controls_have_labels_and_are_hidden_without_a_script(html: str) -> None:
    for control in re.findall(r"<select.*?</select>", html, re.DOTALL):
        assert re.search(rf"<label>[^<]+{re.escape(control)}</label>", html)
    assert all("hidden" in tag for tag in re.findall(r'<div class="controls"[^>]*>', html))


def test_points_can_be_reached_by_keyboard_and_have_names(html: str) -> None:
    marks = re.findall(r'<a [^>]*class="mark[^>]*>', html)
    assert marks
    for mark in marks:
        target = re.search(r'href="#([^"]+)"', mark)
        assert target is not None
        assert f'id="{target[1]}"' in html
        assert re.search(r'aria-label="\d+: [^"]+ ms', mark)


def test_one_panel_is_visible_without_a_choice(html: str) -> None:
    charts = re.findall(r'<div class="panel" data-subset="(\w+)" data-metric="(\w+)"( hidden)?>', html)
    assert {(subset, metric) for subset, metric, hidden in charts if not hidden} == {("lav", "acc2_non0")}
    assert len(charts) == 2 * len(SUBSETS)


def test_the_page_needs_no_network(html: str) -> None:
    without_namespaces = re.sub(r'xmlns(:xlink)?="[^"]*"', "", html)
    assert "http" not in without_namespaces
    assert not re.search(r"<(link|img|iframe)\b|<script[^>]+src", html)
    assert "@import" not in html


@pytest.mark.parametrize(
    "expected",
    [
        "Edge & toy",
        "3: not executed",
        "baseline: best constant",
        "The Bayes optimum is the expected result of the optimal predictor",
        "Acc-2 Non0 missing-average",
        "bundle, a: 2 samples without a valid frame excluded.",
        "80.0 (79.0 to 81.0)",
        "With the conversation memory: 8 utterances of 2 videos have an earlier one.",
        "lav MAE -0.050 (-0.080 to -0.020)",
        "SHA-256 feed",
        "toy <script>alert(1)</script>, test split, 10 samples · seed 7",
        "Not drawn: 3: not executed.",
        "MAE (down is better)",
        "search: x.json",
        "a.json: damaged",
        "teacher <b>",
    ],
)
def test_the_page_contains_the_measurements(html: str, outline: Parse, expected: str) -> None:
    assert expected in outline(html).text


def test_equal_results_share_an_entry() -> None:
    first, other = point("fp32", 0.5, 0.8), point("int8", 0.4, 0.79)
    points = [first, replace(first, backend="openvino"), other]
    labels = [item.label for item in distinct_series(collect_figures(Report("", points)))]
    assert labels == ["1, 2: fp32, equal results", "3 laptop-x86 · onnxruntime · int8"]


def test_equal_baselines_share_a_row(outline: Parse) -> None:
    text = outline(render_report(Report("", [replace(point("fp32", 0.5, 0.8), baselines=EQUAL_BASELINES)]))).text
    assert "baseline: median = best constant" in text


EQUAL_BASELINES = {name: {"acc2_non0": 0.4, "mae": 1.4} for name in ("median", "best_constant")}


def test_numbers_of_coinciding_points_do_not_overlap() -> None:
    page = render_report(Report("", [replace(point("fp32", 0.5, 0.8), name=name) for name in "abcd"]))
    chart = page[page.index('data-subset="lav"') :]
    positions = re.findall(r'<text class="number" x="([^"]+)" y="([^"]+)" dx="([^"]+)" dy="([^"]+)"', chart)[:4]
    assert len(set(positions)) == 4


@pytest.mark.parametrize(
    ("axis", "ticks"),
    [(Axis(0.0, 1.0), [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]), (Axis(0.05, 2.0, is_log=True), [0.05, 0.1, 0.2, 0.5, 1.0, 2.0])],
)
def test_ticks_are_round_and_inside_the_axis(axis: Axis, ticks: list[float]) -> None:
    assert axis.ticks() == pytest.approx(ticks)
    assert [axis.position(axis.low), axis.position(axis.high)] == pytest.approx([0.0, 100.0])


def test_rows_that_did_not_run_on_the_target_are_hollow(html: str) -> None:
    assert "hollow" not in re.sub(r"<style.*?</style>", "", html, flags=re.DOTALL)
    page = render_report(Report("", [replace(point("fp32", 0.5, 0.8), on_target=False)]))
    assert 'class="mark fp32 hollow"' in page


def test_text_from_files_is_escaped(html: str) -> None:
    assert "toy &lt;script&gt;" in html
    assert "<script>alert" not in html
    assert "<b>" not in html


def test_a_report_may_lack_latencies_and_evaluations(outline: Parse) -> None:
    assert outline(render_report(Report("accuracy only", [point("fp32", None, 0.8)]))).open == []
    assert outline(render_report(Report("nothing", []))).tags["svg"] == 0


def test_metrics_that_are_not_numbers_are_shown_as_missing(outline: Parse) -> None:
    broken = {subset: {"acc2_non0": float("nan"), "mae": 0.5} for subset in SUBSETS}
    text = outline(render_report(Report("", [replace(point("fp32", 0.5, 0.8), by_subset=broken)]))).text
    assert not re.search(r"\bnan\b", text, re.IGNORECASE)
    assert "no accuracy measured on lav" in text


def test_equal_measurements_give_equal_bytes(tmp_path: Path) -> None:
    first, second = (write_report_page(report(), tmp_path / name) for name in ("one.html", "two.html"))
    assert first.read_bytes() == second.read_bytes()


def test_backticks_become_code_and_the_rest_stays_escaped() -> None:
    page = render_report(Report("Demo of `edge-msa demo` & <b>", (), (), {}))
    assert "<h1>Demo of <code>edge-msa demo</code> &amp; &lt;b&gt;</h1>" in page
    assert "<title>Demo of edge-msa demo &amp; &lt;b&gt;</title>" in page


def test_a_row_without_accuracy_names_the_command_that_measures_it() -> None:
    measured = point("fp32", 1.0, 0.8)
    lacking = replace(point("int8", 0.5, 0.8), by_subset={}, missing_average={}, gate_metric="")
    page = render_report(Report("toy", (measured, lacking), (), {}))
    command = "edge-msa evaluate bundle --backend onnxruntime --precision int8 --output FILE"
    assert f"2: no accuracy measured on lav (<code>{command}</code>)" in page


PALETTE = (Path(__file__).parents[4] / "edge_msa" / "reporting" / "style.css").read_text()


def palettes() -> dict[str, dict[str, str]]:
    blocks = re.findall(r"\{\s*color-scheme: (light|dark);(.*?)\}", PALETTE, re.DOTALL)
    return {theme: dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", text)) for theme, text in blocks}


def luminance(color: str) -> float:
    channels = [int(color[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(first: str, second: str) -> float:
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def mixed(first: str, second: str, share: float) -> str:
    pairs = [(int(first[i : i + 2], 16), int(second[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(share * a + (1 - share) * b):02x}" for a, b in pairs)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colors_have_enough_contrast(theme: str) -> None:
    """WCAG 2.2, 1.4.3 and 1.4.11: 4.5 for text, 3 for graphics and borders of controls."""
    colors = palettes()[theme]
    for background in ("paper", "wash"):
        assert contrast(colors["ink"], colors[background]) >= 4.5
        assert contrast(colors["muted"], colors[background]) >= 4.5
    for name in ("fp32", "fp16", "int8", "other", "reference", "good", "bad", "edge"):
        assert contrast(colors[name], colors["paper"]) >= 3, name
    darkest = mixed(colors["heat"], colors["paper"], _MAX_TINT / 100)
    assert contrast(colors["ink"], darkest) >= 4.5


def test_both_ways_to_the_dark_theme_have_the_same_colors() -> None:
    dark = re.findall(r"color-scheme: dark;(.*?)\}", PALETTE, re.DOTALL)
    assert len(dark) == 2
    assert dark[0].split() == dark[1].split()


def test_rows_with_other_noise_share_their_conditions(outline: Parse) -> None:
    machine = {"machine": "a laptop"}
    shared, own = "Other programs used 40% of the CPU time.", "The p50 of lav differs by 20% between processes."
    rows = [
        replace(point("fp32", 0.5, 0.8), machine=machine, noise=(shared,)),
        replace(point("int8", 0.4, 0.8), machine=machine, noise=(shared, own)),
    ]
    text = " ".join(outline(render_report(Report(TITLE, rows))).text.split())
    assert f"All rows machine a laptop noise {shared} noise of 2 {own}" in text


def test_baselines_say_what_they_predict(html: str, outline: Parse) -> None:
    text = outline(html).text
    assert "baseline: median (0.2)" in text
    assert "baseline: best constant (-1)" in text


def test_the_baseline_of_emotions_names_them(outline: Parse) -> None:
    metrics = {"f1_happy": 0.5, "f1_sad": 0.4, "f1_average": 0.45}
    measured = replace(point("fp32", 0.5, 0.8), by_subset={"la": metrics, "lav": metrics}, gate_metric="f1_average")
    baselines = dict.fromkeys(("median", "best_constant"), metrics)
    evaluation = replace(
        evaluation_of(measured),
        task="emotions",
        baselines=baselines,
        baseline_constants={"median": (-1.0, -1.0), "best_constant": (-1.0, -1.0)},
    )
    page = render_report(Report("", [replace(measured, baselines=baselines)], [evaluation]))
    assert "baseline: median = best constant (no emotion)" in outline(page).text
