from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from edge_msa.evaluation.evaluate import Evaluation, Source
from edge_msa.reporting import Report, ReportPoint, build_report, render
from edge_msa.reporting.plots import robustness_picture, tradeoff_picture

REQUEUED = frozenset({"meta", "link", "br", "hr", "img", "input"})
SUBSETS = ("l", "a", "v", "la", "lv", "av", "lav")


class Outline(HTMLParser):
    """Checks that tags nest, and collects ids and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: Counter[str] = Counter()
        self.tags: Counter[str] = Counter()
        self.words: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.ids.update(value or "" for name, value in attrs if name == "id")
        if tag not in REQUEUED:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.ids.update(value or "" for name, value in attrs if name == "id")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        self.words.append(data)


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
        baselines={
            "learned_nothing": {"acc2_non0": 0.42, "mae": 1.4},
            "best_constant": {"acc2_non0": 0.57, "mae": 1.4},
        },
        limits={"lav": {"acc2_non0": 0.95, "mae": 0.1}},
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
        left_out=(),
        by_subset=measured.by_subset,
        missing_average={"acc2_non0": 0.7, "mae": 0.3},
        baselines=measured.baselines,
        baseline_constants={"learned_nothing": (0.2,), "best_constant": (-1.0,)},
        gate_metric="acc2_non0",
        limits=measured.limits,
        intervals={"lav": {"acc2_non0": (0.7, 0.9)}},
        interval_unit="groups",
    )


@pytest.fixture(scope="module")
def html() -> str:
    points = [point("fp32", 0.5, 0.8), point("int8", 0.25, 0.79), point("fp16", None, 0.8)]
    return render(Report("Edge & toy", points, [evaluation_of(points[0])], {"seed": "7", "machine": "a laptop"}))


def test_the_page_nests_and_its_ids_are_unique(html: str) -> None:
    outline = Outline(html)
    assert outline.open == []
    assert html.lstrip().startswith("<!DOCTYPE html>")
    assert [name for name, count in outline.ids.items() if count > 1] == []
    assert outline.tags["svg"] == 3
    assert outline.tags["table"] == 3


def test_the_page_needs_no_network(html: str) -> None:
    without_names = re.sub(r'xmlns(:xlink)?="[^"]*"', "", html)
    assert "http" not in without_names
    assert not re.search(r"<(script|link|img|iframe)\b", html)
    assert "@import" not in html


def test_pictures_take_their_colors_from_the_page(html: str) -> None:
    inside = "".join(re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL))
    assert "var(--int8)" in inside
    assert "currentColor" in inside
    assert "<style" not in inside
    assert set(re.findall(r"#[0-9a-f]{6}\b", inside)) <= {"#ffffff", "#000000"}


def test_references_inside_pictures_resolve(html: str) -> None:
    ids = Outline(html).ids
    used = re.findall(r'(?:href="#|url\(#)([^")]+)', html)
    assert used
    assert [name for name in used if name not in ids] == []


def test_the_page_tells_what_was_measured(html: str) -> None:
    text = " ".join(Outline(html).words)
    for expected in (
        "Edge & toy",
        "2 are on the front on lav",
        "3: not executed on a GPU",
        "baseline: best constant (-1)",
        "limit lav",
        "missing-average",
        "a: 2 samples without a valid frame of it are excluded.",
        "lav 70.0 to 90.0",
        "SHA-256 feed",
        "a laptop",
        "toy <script>alert(1)</script>, test split, 10 samples · a laptop · seed 7",
        "Not drawn: 3: not executed on a GPU.",
        "on this very split on average",
        "missing-average : mean over",
        "MAE (lower is better)",
    ):
        assert expected in text


def test_predictions_that_are_alike_are_drawn_once_and_fp16_is_not() -> None:
    alike, other = point("fp32", 0.5, 0.8), point("int8", 0.4, 0.79)
    points = [alike, replace(alike, backend="openvino"), replace(alike, precision="fp16"), other]
    picture = " ".join(Outline(robustness_picture(points, "mae")).words)
    assert "1, 2: fp32, alike" in picture
    assert "4 laptop-x86 · onnxruntime · int8" in picture
    assert "fp16" not in picture


def test_equal_baselines_are_one_line_of_the_picture() -> None:
    picture = " ".join(Outline(robustness_picture([point("fp32", 0.5, 0.8)], "mae")).words)
    assert "baseline: learned nothing = best constant" in picture
    assert picture.count("baseline:") == 1


def test_points_in_one_place_have_numbers_in_places_of_their_own() -> None:
    picture = tradeoff_picture([point("fp32", 0.5, 0.8)] * 4, "lav")
    places = re.findall(r'<text [^>]*?transform="([^"]+)"[^>]*>[1-4]</text>', picture)
    assert len(places) == 4
    assert len(set(places)) == 4


def test_text_from_outside_is_escaped(html: str) -> None:
    assert "toy &lt;script&gt;" in html


def test_a_page_without_latency_or_evaluations_is_still_whole() -> None:
    assert Outline(render(Report("bare", [point("fp32", None, 0.8)]))).open == []
    assert Outline(render(Report("nothing", []))).tags["svg"] == 0


def test_the_same_measurements_give_the_same_page(tmp_path: Path) -> None:
    report = Report("twice", [point("fp32", 0.5, 0.8)])
    first, second = (build_report(report, tmp_path / name) for name in ("one.html", "two.html"))
    assert first.read_bytes() == second.read_bytes()
