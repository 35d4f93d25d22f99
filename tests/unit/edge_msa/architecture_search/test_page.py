from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edge_msa.architecture_search.page import render_page
from edge_msa.architecture_search.trials import TrialResult

if TYPE_CHECKING:
    from tests.unit.edge_msa.architecture_search.conftest import MakeRecord, Trial


def test_the_page_is_offline_and_escaped(tmp_path: Path, trial: Trial, default: Trial, record: MakeRecord) -> None:
    failed = TrialResult(2, {"precision": "int8"}, is_default=False, failure="<b>")
    search = record(
        [default(0, 1.0, 1.0), trial(1, 0.99, 0.8), failed],
        bundles={1: str(tmp_path)},
        provenance={"machine": "a & b"},
    )
    page = render_page(search)
    assert page.count("<svg") == 1
    assert "the test split was not used" in page
    assert "&lt;b&gt;" in page
    assert "a &amp; b" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page


def test_without_a_default_there_is_no_plot(trial: Trial, record: MakeRecord) -> None:
    failed = TrialResult(0, {"precision": "fp32"}, is_default=True, failure="the loss diverged")
    page = render_page(record([failed, trial(1, 1.0, 1.0)]))
    assert "<svg" not in page
    assert "<h2" in page
