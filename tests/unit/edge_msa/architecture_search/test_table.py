from __future__ import annotations

from typing import TYPE_CHECKING

from edge_msa.architecture_search.table import format_search
from edge_msa.architecture_search.trials import TrialResult

if TYPE_CHECKING:
    from tests.unit.edge_msa.architecture_search.conftest import MakeRecord, Trial


def test_the_table_marks_the_pareto_front(trial: Trial, default: Trial, record: MakeRecord) -> None:
    lines = format_search(record([default(0, 1.0, 1.0), trial(1, 0.9, 0.5)])).splitlines()
    assert [line.split()[0] for line in lines[2:4]] == ["1*", "0"]
    assert lines[3].startswith("0      width 8, fp32 (default)")


def test_failed_trials_are_listed_with_their_reason(default: Trial, record: MakeRecord) -> None:
    failed = TrialResult(1, {"width": 8, "precision": "int8"}, is_default=False, failure="the loss diverged")
    search = record([default(0, 1.0, 1.0), failed])
    assert [item.number for item in search.pareto] == [0]
    assert "trial 1 (width 8, int8) failed: the loss diverged" in format_search(search)
