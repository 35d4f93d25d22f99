from __future__ import annotations

from pathlib import Path

import pytest

import edge_msa as em
from edge_msa.reporting.figures import load_figures
from edge_msa.workflows import report_replay
from tests.unit.edge_msa.toy_runs import write_dataset, write_teacher


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A report of one evaluation."""
    teacher = write_teacher(tmp_path / "teacher", write_dataset(tmp_path / "all.npz"))
    em.evaluate(teacher, output=tmp_path / "evaluation.json")
    return em.report(tmp_path, output=tmp_path / "report.html").path


@pytest.mark.slow
def test_figures_hold_when_their_commands_run_again_and_a_planted_one_is_found(page: Path) -> None:
    replay = em.replay_report(page)
    assert [result for _, result in replay.commands] == ["ran"]
    metrics = [item for item in replay.checks if item.figure.startswith("MAE on")]
    assert {item.status for item in metrics} == {"held"}
    assert not replay.changed

    mae = next(
        row.metrics["lav"]["mae"].value for row in load_figures(page).rows if "mae" in row.metrics.get("lav", {})
    )
    assert mae is not None
    html = page.read_text()
    page.write_text(html.replace(repr(mae), repr(mae / 2)))
    assert page.read_text() != html
    changed = em.replay_report(page).changed
    assert "MAE on lav" in [item.figure for item in changed]


def test_a_command_that_takes_too_long_is_stopped(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_replay, "LIMIT_SECONDS", 0.01)
    replay = em.replay_report(page)
    assert [result for _, result in replay.commands] == ["failed: it took longer than 0.01 s"]
    assert {item.status for item in replay.checks} == {"not testable here"}
