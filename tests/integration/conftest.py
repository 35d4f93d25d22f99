"""Fixtures of the integration tests: commands, a small data set, and runs and bundles that are made once."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge_msa.cli import run
from edge_msa.data.formats.archive import write_archive
from edge_msa.data.synthetic.generator import SyntheticConfig, generate_dataset
from edge_msa_runtime.benchmark.processes import Plan

if TYPE_CHECKING:
    from tests.conftest import Once

SMALL = "[hrlf]\nepochs = 2\nrobust_epochs = 1\nd = 8\nheads = 2\n[student]\nepochs = 1\nwidth = 8\nblocks = 1\n"

PIPELINE_RECIPE = """
[hrlf]
epochs = 1
robust_epochs = 1
d = 8
heads = 2
[student]
epochs = 2
width = 16
blocks = 2
hidden = 16
gap_frames = true
[pipeline]
num_samples = 32
max_drop = 100
allow_worse_than_constant = true
"""

# Wide enough to quantize, and with a GRU, whose kernels differ between processors.
DEVICE_RECIPE = """
[student]
epochs = 1
width = 32
blocks = 2
hidden = 16
[student.audio]
recurrence = "gru"
[text]
width = 32
hidden = 16
max_tokens = 16
[text.final]
epochs = 20
"""
TEXTS_BY_SCORE = {
    2.0: ("i love it", "love at all", "it i love"),
    -2.0: ("not at all", "i not it", "not love it"),
}


@dataclass(frozen=True)
class CommandResult:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str

    @property
    def error_line(self) -> str:
        """The error message, which must be one line besides notes and the progress of trainings."""
        assert "Traceback" not in self.err
        progress = re.compile(r"note:|\w+ epoch \d+/\d+: loss |.* \(.* so far\)$")
        lines = [line for line in self.err.splitlines() if not progress.match(line)]
        assert len(lines) == 1, self.err
        assert lines[0].startswith("edge-msa: ")
        return lines[0]


Command = Callable[..., CommandResult]


def run_command(*arguments: str | Path) -> CommandResult:
    """Run `edge-msa` in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run([str(argument) for argument in arguments])
    return CommandResult(code, out.getvalue(), err.getvalue())


def run_successfully(*arguments: str | Path) -> CommandResult:
    """Run `edge-msa` in this process, and fail unless its exit code is 0."""
    result = run_command(*arguments)
    assert result.code == 0, result.err
    return result


@pytest.fixture(scope="session")
def edge_msa() -> Command:
    """Run a command of the toolkit."""
    return run_command


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """Return an environment for subprocesses with one thread, so that sums are added in the same order."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@pytest.fixture(scope="session")
def edge_msa_run(environment: dict[str, str]) -> Command:
    """Run a command of the runtime, from the wheel in the bundle."""

    def run_from_wheel(command: str, bundle: Path, *arguments: str | Path) -> CommandResult:
        (wheel,) = bundle.glob("edge_msa_runtime-*.whl")
        line = [sys.executable, "-W", "error", "-m", "edge_msa_runtime", command, str(bundle), *map(str, arguments)]
        variables = {**environment, "PYTHONPATH": str(wheel)}
        completed = subprocess.run(line, capture_output=True, text=True, check=False, env=variables, cwd=bundle.parent)
        return CommandResult(completed.returncode, completed.stdout, completed.stderr)

    return run_from_wheel


@pytest.fixture(scope="session")
def archive(once: Once) -> Path:
    """Return an archive with 192, 64 and 64 samples of the synthetic task."""

    def create(folder: Path) -> None:
        dataset = generate_dataset(SyntheticConfig(train=192, valid=64, test=64))
        write_archive(dataclasses.replace(dataset, name="small"), folder / "small.npz")

    return once("data", create) / "small.npz"


@pytest.fixture(scope="session")
def small_runs(archive: Path, once: Once) -> Path:
    """Return a folder with `good.npz`, the recipe `small.toml`, and the runs `teacher` and `student`."""

    def create(folder: Path) -> None:
        shutil.copy(archive, folder / "good.npz")
        (folder / "small.toml").write_text(SMALL)
        common = ("--data", folder / "good.npz", "--recipe", folder / "small.toml", "--device", "cpu")
        run_successfully("train", *common, "--output-dir", folder / "teacher")
        run_successfully("distill", *common, "--teacher", folder / "teacher", "--output-dir", folder / "student")

    return once("small-runs", create)


@dataclass(frozen=True)
class PipelineRun:
    """The inputs and the output folder of a pipeline, and what it printed."""

    folder: Path
    recipe: Path
    data: Path
    out: str = ""
    err: str = ""

    @property
    def command(self) -> tuple[str | Path, ...]:
        """The command that created the folder."""
        return ("pipeline", "--recipe", self.recipe, "--data", self.data, "--output-dir", self.folder)


@pytest.fixture(scope="session")
def pipeline_run(archive: Path, once: Once) -> PipelineRun:
    """Run the pipeline once. Tests that change its folder must copy it."""

    def describe(folder: Path) -> PipelineRun:
        return PipelineRun(folder / "out", folder / "recipe.toml", archive)

    def create(folder: Path) -> None:
        pipeline = describe(folder)
        pipeline.recipe.write_text(PIPELINE_RECIPE)
        with pytest.MonkeyPatch.context() as patch:
            # One process instead of three: intervals need more, but no test looks at their width.
            patch.setattr("edge_msa.workflows.pipeline._PLAN", Plan(processes=1, repeats=700, looks=1))
            result = run_successfully(*pipeline.command, "--json")
        (folder / "stdout").write_text(result.out)
        (folder / "stderr").write_text(result.err)

    folder = once("pipeline", create)
    out, err = ((folder / name).read_text() for name in ("stdout", "stderr"))
    return dataclasses.replace(describe(folder), out=out, err=err)


@pytest.fixture(scope="session")
def calibrated_run(once: Once, request: pytest.FixtureRequest) -> Callable[[str], Path]:
    """Return a calibrated student by its name; each is made once.

    `streams` has three modalities, `table` and `encoder` are of text, whose `transcripts.csv` is next to the student.
    """

    def calibrate(name: str) -> Path:
        def create(folder: Path) -> None:
            recipe, transcripts = folder / "recipe.toml", folder / "transcripts.csv"
            recipe.write_text(DEVICE_RECIPE)
            train: tuple[str | Path, ...]
            if name == "streams":
                runs: Path = request.getfixturevalue("small_runs")
                train = ("distill", "--teacher", runs / "teacher", "--data", runs / "good.npz")
            else:
                with transcripts.open("w", newline="") as file:
                    writer = csv.writer(file)
                    writer.writerow(["text", "mode", "label"])
                    for split in ("train", "valid", "test"):
                        for score, texts in TEXTS_BY_SCORE.items():
                            writer.writerows([text, split, score] for text in texts)
                encoder = "wordpieces" if name == "table" else request.getfixturevalue("toy_encoder")
                train = ("text", "train", "--transcripts", transcripts, "--encoder", encoder)
            run_successfully(*train, "--recipe", recipe, "--device", "cpu", "--output-dir", folder / "student")
            run_successfully("calibrate", folder / "student", "--output-dir", folder / "calibrated")

        return once(f"calibrated-{name}", create) / "calibrated"

    return calibrate


@pytest.fixture(scope="session")
def exported_bundle(calibrated_run: Callable[[str], Path], once: Once) -> Callable[[str, str], Path]:
    """Return the bundle of a calibrated run for a target; each is exported once."""

    def export(target: str, name: str) -> Path:
        def create(folder: Path) -> None:
            common = ("--max-drop", "100", "--allow-worse-than-constant", "--output-dir", folder / "bundle")
            run_successfully("export", "--target", target, calibrated_run(name), *common)

        return once(f"bundle-{target}-{name}", create) / "bundle"

    return export
