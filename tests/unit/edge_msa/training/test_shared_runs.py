from __future__ import annotations

from pathlib import Path

import pytest

from edge_msa.errors import UsageError
from edge_msa.training.shared_runs import require_single_process
from edge_msa.workflows.export import train_calibrated_student
from edge_msa.workflows.reproduce import reproduce


def test_commands_with_several_trainings_are_refused_under_torchrun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_single_process("a command")  # raises nothing in a single process
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="not under torchrun"):
        train_calibrated_student(tmp_path)
    with pytest.raises(UsageError, match="reproduce trains several models in one process"):
        reproduce("hrlf", data="synthetic", output_dir=tmp_path)
    assert not list(tmp_path.iterdir())
