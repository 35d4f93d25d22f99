from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge_msa.benchmark.layer_profile import Layer, LayerProfile, Peaks
from edge_msa.reporting import Report, collect_figures, render_report, write_report_page
from edge_msa.reporting.page_check import page_differences

if TYPE_CHECKING:
    from tests.unit.edge_msa.reporting.conftest import Parse

LAYERS = (
    Layer("Conv 1x4", "Conv", "int8", 6.0, 8000, 100, is_reformat=False, kernel="brgemm"),
    Layer("Gemm 1x2", "Gemm", "fp32", 3.0, 2000, 5000, is_reformat=False),
    Layer("Reorder 1x4", "Reorder", "fp32", 1.0, 0, 10, is_reformat=True),
    Layer("Add 1x4", "Add", "fp32", 0.0, 0, 10, is_reformat=False),
)
PROFILE = LayerProfile(
    *("bundle", "laptop-x86", "openvino", "int8", "CPU", "lav", LAYERS),
    *(Peaks({"fp32": 1e9, "int8": 4e9}, 1e9), {"machine": "CPU"}),
)


def report(profile: LayerProfile = PROFILE) -> Report:
    return Report("layers", (), layers=[("layers.json", profile)])


@pytest.fixture(scope="module")
def html() -> str:
    return render_report(report())


def test_widths_of_the_layers_are_their_shares_of_the_time(html: str) -> None:
    strip = re.search(r'<svg class="strip".*?</svg>', html)
    assert strip is not None
    places = re.findall(r'<rect x="([\d.]+)%" y="0" width="([\d.]+)%"', strip[0])

    assert [tuple(map(float, place)) for place in places] == [(0, 60), (60, 30), (90, 10), (100, 0)]
    assert 'aria-label="4 layers in the order in which they run: int8 60 % of the time, fp32 30 %' in strip[0]


def test_shares_are_by_precision_with_reformats_apart(html: str, outline: Parse) -> None:
    text = outline(html).text

    assert "int8: 1 layer, 60 % of the time, 80 % of the MACs" in text
    assert "fp32: 2 layers, 30 % of the time, 20 % of the MACs" in text
    assert "changes of layout or type: 1 layer, 10 % of the time, 0 % of the MACs" in text


def test_bars_are_slowest_first_with_a_mark_at_the_bound(html: str) -> None:
    bars = re.findall(
        r'<svg class="bar (\w+)"[^>]*data-figure="([^"]*)"[^>]*>.*?width="([\d.]+)%".*?x1="([\d.]+)%', html
    )

    assert bars[:2] == [
        ("int8", "layers.0.layers.0", "100.00", "33.33"),
        ("fp32", "layers.0.layers.1", "50.00", "83.33"),
    ]


def test_every_layer_is_in_a_table_with_macs_bytes_and_precision(html: str) -> None:
    table = html[html.index('table class="sortable all-layers"') :]

    assert re.findall(r'<th scope="row">([^<]*)<', table)[:4] == [f"{n} {i.name}" for n, i in enumerate(LAYERS, 1)]
    for text in (">8,000<", ">5,000<", "brgemm", "fp32, reformat"):
        assert text in table
    assert "Conv 1x4, int8: 6.0 us, bound 2.00 us, 8,000 MACs, 100 bytes, kernel brgemm" in html


def test_layers_of_the_roofline_are_below_the_roof(html: str) -> None:
    chart = html[html.index('class="plot roofline"') :]
    roofs = re.findall(r'<line class="roof (\w+)" x1="[^"]*" y1="([\d.]+)%"', chart)
    marks = re.findall(r'<g class="mark (\w+)"[^>]*><svg x="[^"]*" y="([\d.]+)%"', chart)

    assert [name for name, _ in roofs] == ["fp32", "int8"]
    assert [name for name, _ in marks] == ["int8", "fp32"]
    tops = {name: float(y) for name, y in roofs}
    assert all(float(y) > tops[name] for name, y in marks)


def test_the_page_says_why_it_estimates_no_other_device(html: str, outline: Parse) -> None:
    text = " ".join(outline(html).text.split())

    # 10 us of 2 + 5 + 0.01 + 0.01; layers from 3 / 5 to 1 / 0.01
    assert "The graph takes 1.42 times as long as its bound, and single layers 0.600 to 100 times." in text
    assert "the report has no estimates for devices that were not measured" in text


def test_a_graph_without_macs_has_no_roofline(outline: Parse) -> None:
    page = render_report(report(replace(PROFILE, layers=LAYERS[2:3])))

    assert outline(page).open == []
    assert 'class="plot roofline"' not in page


@pytest.mark.parametrize(
    ("pattern", "shown"),
    [
        (r'(data-figure="layers\.0\.layers\.0\.time_us">)6\.0', "9.0"),
        (r'(data-tip="Conv 1x4, int8: )6\.0', "9.0"),
        (r'(<rect x="0\.000%" y="0" width=")60\.000', "9.0"),
        (r"(int8: 1 layer, )60", "9.0"),
    ],
)
def test_a_planted_false_figure_of_a_layer_is_found(pattern: str, shown: str, html: str) -> None:
    figures = collect_figures(report())
    changed, count = re.subn(pattern, rf"\g<1>{shown}", html, count=1)

    assert list(page_differences(html, figures)) == []
    assert count == 1
    assert any(shown in item.shown for item in page_differences(changed, figures))


def test_markdown_has_the_layers(tmp_path: Path) -> None:
    text = write_report_page(report(), tmp_path / "report.md").read_text()

    assert "## Time of the layers: bundle, openvino int8, lav" in text
    assert "| Conv 1x4 | int8 | 6.0 | 2.00 | 8,000 | 100 |" in text


def test_tables_of_several_graphs_have_different_names(outline: Parse) -> None:
    page = render_report(Report("", (), layers=[("a", PROFILE), ("b", replace(PROFILE, precision="fp16"))]))
    labels = re.findall(r'role="region" aria-label="([^"]*)"', page)

    assert len(labels) == len(set(labels)) == 4
    assert [name for name, count in outline(page).ids.items() if count > 1] == []
