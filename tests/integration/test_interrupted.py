"""A full disk, Ctrl-C, a checkpoint that does not fit: one line, nothing half-made, and the same command goes on."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
import torch

from edge_msa.training.loop import _Run

if TYPE_CHECKING:
    from tests.integration.conftest import CommandResult

    Command = Callable[..., CommandResult]


@dataclass(frozen=True)
class Writer:
    """A command that writes under one name."""

    arguments: tuple[str, ...]
    name: str


WRITERS = {
    "train": Writer(("train", "--data", "good.npz", "--recipe", "small.toml", "--output-dir", "OUT"), "run"),
    "distill": Writer(
        ("distill", "--data", "good.npz", "--recipe", "small.toml", "--teacher", "teacher", "--output-dir", "OUT"),
        "run",
    ),
    "convert": Writer(("data", "convert", "good.npz", "OUT"), "again.npz"),
    "predictions": Writer(("evaluate", "student", "--data", "good.npz", "--predictions", "OUT"), "p.csv"),
    "evaluation": Writer(("evaluate", "student", "--data", "good.npz", "--output", "OUT"), "e.json"),
}


def written(writer: Writer, small_runs: Path, place: Path) -> list[str]:
    return [
        str(place / writer.name) if item == "OUT" else str(small_runs / item) if (small_runs / item).exists() else item
        for item in writer.arguments
    ]


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()], ids=str)
def test_a_full_disk_and_ctrl_c_leave_nothing_under_the_final_name(
    failure: BaseException,
    name: str,
    small_runs: Path,
    tmp_path: Path,
    edge_msa: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_handle: int) -> NoReturn:
        raise failure

    writer = WRITERS[name]
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)  # the last thing before a name appears
        ran = edge_msa(*written(writer, small_runs, tmp_path))
    if isinstance(failure, OSError):
        assert "no space left on" in ran.error_line.lower()
        assert ran.code == 1
    else:
        assert ran.error_line.startswith("edge-msa: Interrupted")
        assert ran.code == 130
    assert not (tmp_path / writer.name).exists()
    assert [path.name for path in tmp_path.iterdir()] in ([], [f".{writer.name}.partial"])
    assert edge_msa(*written(writer, small_runs, tmp_path)).code == 0
    assert [path.name for path in tmp_path.iterdir()] == [writer.name]


def test_a_checkpoint_that_does_not_fit_is_told_and_the_training_goes_on_later(
    small_runs: Path, tmp_path: Path, edge_msa: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    line = written(WRITERS["train"], small_runs, tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", full)
        ran = edge_msa(*line)
    assert "No space left on device" in ran.error_line
    assert ran.code == 1
    assert not (tmp_path / "run").exists()
    assert edge_msa(*line).code == 0


def test_a_training_interrupted_between_epochs_goes_on_from_there(
    small_runs: Path, tmp_path: Path, edge_msa: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    epoch, begun = _Run.epoch, []

    def second_fails(self: _Run, state: Any) -> None:
        begun.append((self.stage, state.epoch))
        if len(begun) == 2:
            raise KeyboardInterrupt
        epoch(self, state)

    monkeypatch.setattr(_Run, "epoch", second_fails)
    line = written(WRITERS["train"], small_runs, tmp_path)
    ran = edge_msa(*line)
    assert ran.code == 130
    assert "run the same command again" in ran.error_line
    assert edge_msa(*line).code == 0
    stages = [stage for stage, _ in begun]
    assert [at for _, at in begun] == [0, 1, 1, 0]
    assert stages[1] == stages[2]


@pytest.mark.parametrize(
    ("step", "line"),
    [
        (
            "calibrate.load_student_graphs",
            ("calibrate", "--model", "student", "--data", "good.npz", "--output-dir", "OUT"),
        ),
        ("calibrate.compute_ranges", ("calibrate", "--model", "student", "--data", "good.npz", "--output-dir", "OUT")),
        ("export.load_all_graphs", ("export", "--target", "laptop", "--model", "student", "--output-dir", "OUT")),
    ],
)
def test_ctrl_c_inside_a_step_leaves_no_result(
    step: str,
    line: tuple[str, ...],
    small_runs: Path,
    tmp_path: Path,
    edge_msa: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stop(*_: object, **__: object) -> NoReturn:
        raise KeyboardInterrupt

    if step == "calibrate.compute_ranges":
        monkeypatch.setattr("edge_msa.workflows.calibrate.load_student_graphs", lambda _: {})
        monkeypatch.setattr("edge_msa.workflows.calibrate.collect_statistics", lambda *_, **__: None)
        monkeypatch.setattr("edge_msa.workflows.calibrate.compute_smoothing", lambda _: {})
    monkeypatch.setattr(f"edge_msa.workflows.{step}", stop)
    ran = edge_msa(*written(Writer(line, "made"), small_runs, tmp_path))
    assert ran.code == 130
    assert ran.error_line.startswith("edge-msa: Interrupted")
    assert not (tmp_path / "made").exists()


def test_a_real_ctrl_c_is_one_line_and_130(small_runs: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    line = [*written(WRITERS["train"], small_runs, tmp_path), "--epochs", "400"]
    # A shell's background job, as these tests may be, ignores Ctrl-C, and so would what it starts.
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code += "from edge_msa.cli import main; main()"
    process = subprocess.Popen([sys.executable, "-c", code, *line], env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".run.partial/**/checkpoint.pt")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines() == [
        "edge-msa: Interrupted. No partial output remains; run the same command again to resume."
    ]
    assert [path.name for path in tmp_path.iterdir()] == [".run.partial"]
