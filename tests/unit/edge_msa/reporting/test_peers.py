from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge_msa.benchmark.peer_table import Difference, PeerBenchmark, PeerRow, Ratio
from edge_msa.reporting import Report, collect_figures, render_report, write_report_page
from edge_msa.reporting.page_check import page_differences
from edge_msa.reporting.peers import describe_peers
from edge_msa.reporting.replay import check_figures
from tests.unit.edge_msa.reporting.test_page import TEACHER, evaluation_of, point

if TYPE_CHECKING:
    from tests.unit.edge_msa.reporting.conftest import Parse

MACHINE = {"machine": "a laptop", "threads": "1"}


def contender(name: str, kind: str, backend: str, precision: str, ratio: float, **changes: object) -> PeerRow:
    fields = {
        "is_ours": False,
        "size_bytes": 4000,
        "latency_ms": {"min": 0.9 * ratio, "p50": ratio},
        "ratio": Ratio(ratio, 0.9 * ratio, 1.1 * ratio),
        "min_ratio": ratio,
        "metrics": {"acc2_non0": 0.75, "mae": 0.3},
        "differences": {"mae": Difference(0.1, 0.05, 0.15)},
        "subset": "lav",
        "intervals": {"acc2_non0": (0.7, 0.78)},
    }
    return PeerRow(name, kind, backend, precision, **{**fields, **changes})  # type: ignore[arg-type]


OURS = contender("bundle", "student", "onnxruntime", "fp32", 1.0, is_ours=True, differences={})
ALMT = contender("ALMT, untrained", "peer", "onnxruntime", "fp32, every token", 30.0, metrics={}, differences={})
NNCF = replace(
    contender("bundle", "peer", "openvino", "NNCF int8", 1.0),
    latency_ms={},
    ratio=None,
    min_ratio=None,
    metrics={},
    differences={},
    note="nncf is not installed",
)
PEERS = PeerBenchmark(
    dataset="toy",
    digest="feed",
    split="test",
    samples=10,
    predictions=400,
    unit="groups",
    contenders=(
        OURS,
        contender("bundle", "peer", "onnxruntime", "dynamic int8", 3.0),
        contender("bundle", "student", "onnxruntime", "int8", 0.5),
        ALMT,
        NNCF,
    ),
    machine=MACHINE,
)


def report(peers: PeerBenchmark = PEERS) -> Report:
    points = [replace(point(name, p50, 0.8), machine=MACHINE) for name, p50 in (("fp32", 0.5), ("int8", 0.25))]
    return Report("toy", [*points, TEACHER], [evaluation_of(points[0])], peers=[("peers.json", peers)])


def test_a_peer_is_drawn_at_the_latency_of_ours_times_its_ratio() -> None:
    (comparison,) = collect_figures(report()).peers
    dynamic = comparison.contenders[1]

    assert comparison.row == "bundle/onnxruntime/fp32/CPU"
    assert dynamic.drawn_ms is not None
    assert (dynamic.drawn_ms.value, dynamic.drawn_ms.low, dynamic.drawn_ms.high) == pytest.approx((1.5, 1.35, 1.65))


def test_models_that_are_rows_are_not_drawn_twice() -> None:
    contenders = collect_figures(report()).peers[0].contenders

    assert [(item.label, item.row) for item in contenders] == [
        ("", "bundle/onnxruntime/fp32/CPU"),
        ("A", None),
        ("", "bundle/onnxruntime/int8/CPU"),
        ("B", None),
        ("", None),
    ]


@pytest.mark.parametrize(
    "peers",
    [
        replace(PEERS, digest="other"),
        replace(PEERS, split="valid"),
        replace(PEERS, machine={**MACHINE, "machine": "another"}),
        replace(PEERS, machine={**MACHINE, "threads": "2"}),
    ],
)
def test_latencies_of_other_runs_are_not_mixed(peers: PeerBenchmark) -> None:
    figures = collect_figures(report(peers))
    page = render_report(report(peers))
    before, _, section = page.partition('id="peers"')

    assert figures.peers[0].row is None
    assert [item.label for item in figures.peers[0].contenders] == ["A", "B", "C", "D", ""]
    assert 'class="mark peer"' not in before
    assert section.count('class="mark peer') == 4
    assert section.count('class="mark peer ours"') == 1


def test_peers_have_error_bars_letters_and_rows_of_the_table() -> None:
    page = render_report(report())
    marks = re.findall(r'<a href="#peer-(\w+)" class="mark peer"[^>]*>(.*?)</a>', page)
    # lav has a chart for each of the two metrics
    assert [name for name, _ in marks] == ["A", "B"] * 2
    whiskers = [mark.count("whisker") for _, mark in marks]

    assert whiskers == [2, 1, 1, 1]
    assert all(page.count(f'id="peer-{name}"') == 1 for name in "AB")
    assert "peer (letter)" in page


def test_a_peer_without_accuracy_is_on_the_lower_edge() -> None:
    page = render_report(report())
    mark = re.search(r'<a href="#peer-B"[^>]*aria-label="([^"]*)"[^>]*>.*?<svg x="[^"]*" y="([^"]*)"', page)

    assert mark is not None
    assert "accuracy unknown, 30.0 (27.0 to 33.0) times as long as ours" in mark[1]
    assert mark[2] == "100.00%"


def test_peers_change_no_verdict_and_no_pareto_front() -> None:
    faster = replace(PEERS, contenders=(OURS, contender("other", "peer", "torch", "fp32", 0.01)))
    with_peers, without = collect_figures(report(faster)), collect_figures(replace(report(), peers=()))

    assert with_peers.verdicts == without.verdicts
    assert [row.pareto for row in with_peers.rows] == [row.pareto for row in without.rows]


def test_the_sentence_counts_only_differences_that_are_certain() -> None:
    (comparison,) = collect_figures(report()).peers

    assert describe_peers(comparison) == (
        "Of 3 other models: 2 slower than ours, 1 faster, 0 not different, by the 95 % intervals of p50 / ours."
    )
    bare = [replace(item, ratio=item.ratio and Ratio(item.ratio.value)) for item in PEERS.contenders]
    (comparison,) = collect_figures(report(replace(PEERS, contenders=tuple(bare)))).peers
    assert describe_peers(comparison).startswith("No ratio has an interval")


def test_in_a_disturbed_run_intervals_contain_the_ratio_of_the_shortest_times() -> None:
    dynamic = replace(PEERS.contenders[1], latency_ms={"min": 0.8, "p50": 3.0}, min_ratio=0.8)
    (comparison,) = collect_figures(report(replace(PEERS, contenders=(OURS, dynamic)))).peers
    drawn = comparison.contenders[1].drawn_ms

    assert comparison.noisy
    assert drawn is not None
    assert (drawn.value, drawn.low, drawn.high) == pytest.approx((1.5, 0.4, 1.65))
    assert describe_peers(comparison) == (
        "Of 1 other model: 0 slower than ours, 0 faster, 1 not different, by the 95 % intervals of p50 / ours and by "
        "min / ours."
    )


def test_a_planted_false_ratio_is_found() -> None:
    page, figures = render_report(report()), collect_figures(report())
    assert list(page_differences(page, figures)) == []
    for pattern in (r"(data-figure=\"peers\.0\.contenders\.1\.ratio\">)3\.00", r"(data-tip=\"[^\"]*, )3\.00"):
        changed, count = re.subn(pattern, r"\g<1>9.00", page, count=1)
        assert count == 1
        assert any("9.00" in item.shown for item in page_differences(changed, figures))


def test_a_peer_that_is_drawn_elsewhere_is_found() -> None:
    figures = collect_figures(report())
    value = json.loads(figures.to_text())
    value["peers"][0]["contenders"][1]["drawn_ms"]["value"] = 0.1
    planted = type(figures).model_validate(value)

    changed = [item.figure for item in check_figures(planted, None, {}) if item.status == "changed"]
    assert changed == ["place of A, ms"]


def test_notes_and_models_that_were_not_measured_are_listed(outline: Parse, tmp_path: Path) -> None:
    text = " ".join(outline(render_report(report())).text.split())
    markdown = write_report_page(report(), tmp_path / "report.md").read_text()

    assert "bundle, openvino NNCF int8: nncf is not installed" in text
    assert "+0.100 (+0.050 to +0.150)" in text
    assert "| bundle | onnxruntime | dynamic int8 | 3.00 (2.70 to 3.30) |" in markdown


def test_a_report_of_peers_only_has_a_chart_of_its_own(outline: Parse) -> None:
    page = render_report(Report("peers", (), peers=[("peers.json", PEERS)]))

    assert outline(page).open == []
    assert page.count('class="mark peer') == 4
    assert "Accuracy and latency</h2>" not in page
    assert "Nothing was measured" not in page
