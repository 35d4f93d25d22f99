from __future__ import annotations

import re

import pytest

from edge_msa.reporting import collect_figures, render_report
from edge_msa.reporting.figures import Figures
from edge_msa.reporting.page_check import page_differences
from edge_msa.reporting.replay import check_page
from tests.unit.edge_msa.reporting.test_page import report


@pytest.fixture(scope="module")
def figures() -> Figures:
    return collect_figures(report())


@pytest.fixture(scope="module")
def html() -> str:
    return render_report(report())


def plant(html: str, pattern: str, replacement: str) -> str:
    """Return the page with the first match replaced."""
    changed, count = re.subn(pattern, replacement, html, count=1, flags=re.DOTALL)
    assert count == 1
    assert changed != html
    return changed


def test_a_page_agrees_with_its_json(html: str, figures: Figures) -> None:
    assert list(page_differences(html, figures)) == []


@pytest.mark.parametrize(
    ("pattern", "replacement", "shown", "expected"),
    [
        # a cell: its text, its value, and a cell that names no figure
        (r">80\.0 \(79\.0 to 81\.0\)<", ">83.0 (79.0 to 81.0)<", "83.0 (79.0 to 81.0)", "80.0 (79.0 to 81.0)"),
        (r'<data value="0\.8" data-figure', '<data value="0.9" data-figure', "0.9", "0.8"),
        (r"<data [^>]*>80\.0 \(79\.0 to 81\.0\)</data>", "99.9", "99.9", "80.0 (79.0 to 81.0)"),
        # the sentence and the heading of a verdict
        (r'(<p class="facts">[^<]*Acc-2 Non0 )80\.0', r"\g<1>97.0", "97.0", "80.0"),
        (r"Ship fp32", "Ship fp16", "Ship fp16", "Ship fp32"),
        (r'(<h2><span class="target">laptop-x86</span> )Ship', r"\g<1>Do not ship", "Do not ship fp32", "Ship fp32"),
        # a chart: the label of a point, its tip, its number, a tick, its position and its error bar
        (r'(aria-label="1: [^"]*p50 )0\.500', r"\g<1>0.100", "p50 0.100", "p50 0.500"),
        (r'(data-tip="[^"]*p50 )0\.500', r"\g<1>0.100", "p50 0.100", "p50 0.500"),
        (r'(<text class="number"[^>]*>)1<', r"\g<1>2<", "2", "1"),
        (r'(<text class="tick"[^>]*>)80<', r"\g<1>90<", "90", "80"),
        (r'(href="#row-1".*?<svg x=")[\d.]+', r"\g<1>1.23", "1.23%", "%"),
        (r'(<line class="whisker" x1=")[\d.]+', r"\g<1>1.23", "1.23%", "%"),
        (r'class="mark fp32 ship"', 'class="mark fp32 hollow"', "mark fp32 hollow", "mark fp32 ship"),
        # titles and sentences
        (r"(aria-label=\"Acc-2 Non0 against p50 latency on lav, )3", r"\g<1>4", "4 rows", "3 rows"),
        (r"<title>Edge", "<title>99 Edge", "99 Edge & toy", ""),
        (r"(2 samples without a valid frame)", "3 samples without a valid frame", "3 samples", "2 samples"),
    ],
)
def test_a_planted_false_figure_is_found(
    pattern: str, replacement: str, shown: str, expected: str, html: str, figures: Figures
) -> None:
    found = list(page_differences(plant(html, pattern, replacement), figures))

    assert any(shown in item.shown for item in found)
    assert any(expected in item.expected for item in found)


def test_a_figure_that_is_added_or_removed_is_found(html: str, figures: Figures) -> None:
    added = page_differences(html.replace("</h1>", "</h1><p>Ten times faster: 10x</p>", 1), figures)
    removed = page_differences(plant(html, r"<td[^>]*><data [^>]*>80\.0 \(79.*?</td>", "<td></td>"), figures)

    assert [(item.shown, item.expected) for item in added] == [("Ten times faster: 10x", "")]
    assert {"80.0 (79.0 to 81.0)"} <= {item.expected for item in removed if not item.shown}


def test_the_order_of_attributes_and_markup_in_a_cell_do_not_matter(html: str, figures: Figures) -> None:
    changed = re.sub(r'<data (value="[^"]*") (data-figure="[^"]*")>', r"<data \2 lang='en' \1>", html)

    assert changed != html
    assert list(page_differences(changed, figures)) == []
    bold = plant(changed, r">80\.0 \(79\.0 to 81\.0\)<", "><b>83.0</b> (79.0 to 81.0)<")
    assert "83.0" in {item.shown for item in page_differences(bold, figures)}


def test_the_place_of_a_false_figure_is_named(html: str, figures: Figures) -> None:
    (item,) = page_differences(plant(html, r'(<p class="facts">[^<]*)80\.0', r"\g<1>97.0"), figures)

    assert item.place == "text of <p> below #verdict"


def test_replay_says_which_figures_of_the_page_are_false(html: str, figures: Figures) -> None:
    (check,) = check_page(plant(html, r"Ship fp32", "Ship fp16"), figures)

    assert (check.row, check.page, check.measured, check.status) == (
        "page",
        "Ship fp16 on ONNX Runtime",
        "Ship fp32 on ONNX Runtime",
        "changed",
    )


def test_the_page_of_another_version_cannot_be_drawn_again(html: str, figures: Figures) -> None:
    other = figures.model_copy(update={"version": "0.0.1"})
    (check,) = check_page(html, other)

    assert check.status == "not testable here"
    assert "edge-msa 0.0.1 wrote the page" in check.reason
