from __future__ import annotations

from pathlib import Path

import pytest

from edge_msa.errors import UsageError
from edge_msa.workflows.evaluate import evaluate
from tests.unit.edge_msa.toy_runs import write_dataset, write_teacher


def test_against_is_refused_for_a_run_before_the_evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_dataset(tmp_path / "all.npz")
    run = write_teacher(tmp_path / "teacher", data)
    monkeypatch.setattr("edge_msa.workflows.evaluate.evaluate", lambda *_, **__: pytest.fail("evaluated"))
    with pytest.raises(UsageError, match="and against are for bundles"):
        evaluate(run, data=data, against="int8")
