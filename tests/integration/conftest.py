"""What the system tests share: a small archive, and the whole way gone once with it."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge_msa.cli import run
from edge_msa.data.formats.archive import write_archive
from edge_msa.data.synthetic.generator import SyntheticConfig, synthetic_dataset

SMALL = "[hrlf]\nepochs = 2\nrobust_epochs = 1\nd = 8\nheads = 2\n[student]\nepochs = 1\nwidth = 8\nblocks = 1\n"

RECIPE = """
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
[pipeline]
num_samples = 32
max_drop = 100
"""

# Wide enough for int8 to have something to do, and with a GRU, whose kernels differ between processors.
DEVICE_RECIPE = """
[student]
epochs = 1
width = 32
blocks = 2
hidden = 16
[student.audio]
recurrence = "gru"
[language]
width = 32
hidden = 16
max_tokens = 16
[language.final]
epochs = 20
"""
SAID = {2.0: ("i love it", "love at all", "it i love"), -2.0: ("not at all", "i not it", "not love it")}


@dataclass(frozen=True)
class Ran:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def told(self) -> str:
        """The one line that says what was wrong."""
        assert "Traceback" not in self.err
        lines = [line for line in self.err.splitlines() if not line.startswith("note:")]
        assert len(lines) == 1, self.err
        assert lines[0].startswith("edge-msa: ")
        return lines[0]


Command = Callable[..., Ran]


def command_in_process(*arguments: str | Path) -> Ran:
    """`edge-msa` without a new interpreter."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run([str(argument) for argument in arguments])
    return Ran(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def edge_msa() -> Command:
    """Run a command of the toolkit."""
    return command_in_process


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """For subprocesses: one thread, so that they do not fight for cores and always add up in the same order."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@pytest.fixture(scope="session")
def edge_msa_run(environment: dict[str, str]) -> Command:
    """Run a command of the device, from the wheel that is inside the bundle."""

    def device(command: str, bundle: Path, *arguments: str | Path) -> Ran:
        (wheel,) = bundle.glob("edge_msa_runtime-*.whl")
        line = [sys.executable, "-W", "error", "-m", "edge_msa_runtime", command, str(bundle), *map(str, arguments)]
        alone = {**environment, "PYTHONPATH": str(wheel)}
        done = subprocess.run(line, capture_output=True, text=True, check=False, env=alone, cwd=bundle.parent)
        return Ran(done.returncode, done.stdout, done.stderr)

    return device


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """192, 64 and 64 samples of the embedded task, as a file like any other."""
    path = tmp_path_factory.mktemp("data") / "small.npz"
    dataset = synthetic_dataset(SyntheticConfig(train=192, valid=64, test=64))
    write_archive(dataclasses.replace(dataset, name="small"), path)
    return path


@pytest.fixture(scope="session")
def small_runs(archive: Path, edge_msa: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `good.npz`, `small.toml`, and the runs `teacher` and `student` that were made of them."""
    folder = tmp_path_factory.mktemp("runs")
    shutil.copy(archive, folder / "good.npz")
    (folder / "small.toml").write_text(SMALL)
    common = ("--data", folder / "good.npz", "--recipe", folder / "small.toml", "--device", "cpu")
    assert edge_msa("train", *common, "--output-dir", folder / "teacher").code == 0
    made = edge_msa("distill", *common, "--teacher", folder / "teacher", "--output-dir", folder / "student")
    assert made.code == 0
    return folder


@dataclass(frozen=True)
class WholeWay:
    """A pipeline that went through: its folder, its recipe, what it said."""

    folder: Path
    recipe: Path
    data: Path
    ran: Ran

    @property
    def again(self) -> tuple[str | Path, ...]:
        """The command that made it."""
        return ("pipeline", self.recipe, "--data", self.data, "--output-dir", self.folder)


@pytest.fixture(scope="session")
def whole_way(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> WholeWay:
    """Everything, once: it takes most of a minute."""
    folder = tmp_path_factory.mktemp("pipeline")
    recipe = folder / "recipe.toml"
    recipe.write_text(RECIPE)
    made = WholeWay(folder / "out", recipe, archive, Ran(-1, "", ""))
    ran = command_in_process(*made.again, "--json")
    assert ran.code == 0, ran.err
    return dataclasses.replace(made, ran=ran)


@pytest.fixture(scope="session")
def calibrated(small_runs: Path, toy_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Calibrated students to export: of three streams, and readers of words by a table and by an encoder."""
    folder = tmp_path_factory.mktemp("calibrated")
    recipe = folder / "recipe.toml"
    recipe.write_text(DEVICE_RECIPE)
    with (folder / "said.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "mode", "label"])
        for split in ("train", "valid", "test"):
            writer.writerows([text, split, score] for score, texts in SAID.items() for text in texts)
    streams = ("distill", "--teacher", small_runs / "teacher", "--data", small_runs / "good.npz")
    words = ("text", "train", "--transcripts", folder / "said.csv", "--encoder")
    made = {"streams": streams, "table": (*words, "wordpieces"), "encoder": (*words, toy_encoder)}
    for name, command in made.items():
        student = folder / f"{name}-student"
        for line in (
            (*command, "--recipe", recipe, "--device", "cpu", "--output-dir", student),
            ("calibrate", "--model", student, "--output-dir", folder / name),
        ):
            ran = command_in_process(*line)
            assert ran.code == 0, ran.err
    return {name: folder / name for name in made}
