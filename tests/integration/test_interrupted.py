"""Interrupted commands: one error line, no partial output, and the same command resumes."""

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

from edge_msa.training.loop import _Loop

if TYPE_CHECKING:
    from tests.integration.conftest import CommandResult

    Command = Callable[..., CommandResult]


@dataclass(frozen=True)
class Writer:
    """A command that writes one file or folder; OUT stands for its path in the arguments."""

    arguments: tuple[str, ...]
    output: str

    def command(self, small_runs: Path, folder: Path) -> list[str]:
        """Return the arguments with the paths of the inputs in `small_runs` and of the output in `folder`."""
        paths = {"OUT": folder / self.output}
        paths |= {name: small_runs / name for name in self.arguments if (small_runs / name).exists()}
        return [str(paths.get(argument, argument)) for argument in self.arguments]


WRITERS = {
    "train": Writer(("train", "--data", "good.npz", "--recipe", "small.toml", "--output-dir", "OUT"), "run"),
    "distill": Writer(
        ("distill", "--data", "good.npz", "--recipe", "small.toml", "--teacher", "teacher", "--output-dir", "OUT"),
        "run",
    ),
    "convert": Writer(("data", "convert", "good.npz", "--output", "OUT"), "copy.npz"),
    "predictions": Writer(("evaluate", "student", "--data", "good.npz", "--predictions", "OUT"), "p.csv"),
    "evaluation": Writer(("evaluate", "student", "--data", "good.npz", "--output", "OUT"), "e.json"),
}
CALIBRATE = Writer(("calibrate", "student", "--data", "good.npz", "--output-dir", "OUT"), "calibrated")
EXPORT = Writer(
    ("export", "student", "--target", "laptop", "--allow-worse-than-constant", "--output-dir", "OUT"),
    "bundle",
)


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()], ids=str)
def test_a_failed_write_leaves_no_output(
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
    command = writer.command(small_runs, tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)  # the last call before the output gets its name
        result = edge_msa(*command)
    if isinstance(failure, OSError):
        assert "no space left on" in result.error_line.lower()
        assert result.code == 1
    else:
        assert result.error_line.startswith("edge-msa: Interrupted")
        assert result.code == 130
    assert not (tmp_path / writer.output).exists()
    assert [path.name for path in tmp_path.iterdir()] in ([], [f".{writer.output}.partial"])
    assert edge_msa(*command).code == 0
    assert [path.name for path in tmp_path.iterdir()] == [writer.output]


def test_training_resumes_after_the_disk_was_full(
    small_runs: Path, tmp_path: Path, edge_msa: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    command = WRITERS["train"].command(small_runs, tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", fail)
        result = edge_msa(*command)
    assert "no space left on device" in result.error_line.lower()
    assert result.code == 1
    assert not (tmp_path / "run").exists()
    assert edge_msa(*command).code == 0


def test_training_resumes_at_the_interrupted_epoch(
    small_runs: Path, tmp_path: Path, edge_msa: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_epoch, started = _Loop.run_epoch, []

    def interrupt_second(self: _Loop, state: Any) -> None:
        started.append((self.stage, state.epoch))
        if len(started) == 2:
            raise KeyboardInterrupt
        train_epoch(self, state)

    monkeypatch.setattr(_Loop, "run_epoch", interrupt_second)
    command = WRITERS["train"].command(small_runs, tmp_path)
    result = edge_msa(*command)
    assert result.code == 130
    assert "Run the same command to resume" in result.error_line
    assert edge_msa(*command).code == 0
    stages = [stage for stage, _ in started]
    assert [epoch for _, epoch in started] == [0, 1, 1, 0]
    assert stages[1] == stages[2]


@pytest.mark.parametrize(
    ("function", "writer"),
    [
        ("calibrate.load_student_graphs", CALIBRATE),
        ("calibrate.compute_ranges", CALIBRATE),
        ("export.load_all_graphs", EXPORT),
    ],
)
def test_an_interrupted_step_leaves_no_output(
    function: str,
    writer: Writer,
    small_runs: Path,
    tmp_path: Path,
    edge_msa: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(*_: object, **__: object) -> NoReturn:
        raise KeyboardInterrupt

    if function == "calibrate.compute_ranges":
        monkeypatch.setattr("edge_msa.workflows.calibrate.load_student_graphs", lambda _: {})
        monkeypatch.setattr("edge_msa.workflows.calibrate.collect_statistics", lambda *_, **__: None)
        monkeypatch.setattr("edge_msa.workflows.calibrate.compute_smoothing", lambda _: {})
    monkeypatch.setattr(f"edge_msa.workflows.{function}", interrupt)
    result = edge_msa(*writer.command(small_runs, tmp_path))
    assert result.code == 130
    assert result.error_line.startswith("edge-msa: Interrupted")
    assert not (tmp_path / writer.output).exists()


@pytest.mark.case("F22")
@pytest.mark.parametrize(
    ("number", "code"),
    [
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
        (signal.SIGTERM, 143),
        pytest.param(signal.SIGHUP, 129, marks=pytest.mark.slow),
    ],
)
def test_every_signal_keeps_the_progress_and_prints_one_line(
    number: signal.Signals, code: int, small_runs: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    command = [*WRITERS["train"].command(small_runs, tmp_path), "--epochs", "400"]
    process = subprocess.Popen(
        [sys.executable, "-c", "from edge_msa.cli import main; main()", *command],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob(".run.partial/**/checkpoint.pt")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    _, err = process.communicate(timeout=300)
    assert process.returncode == code
    kept = tmp_path / ".run.partial"
    lines = [line for line in err.splitlines() if " epoch " not in line]
    assert lines == [f"edge-msa: Interrupted. Progress is kept in {kept}. Run the same command to resume."]
    assert [path.name for path in tmp_path.iterdir()] == [".run.partial"]
