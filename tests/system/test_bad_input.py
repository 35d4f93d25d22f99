"""Whatever goes wrong: one line, the documented exit code, and nothing that a later command would take for whole."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import pytest
import torch

from edge_msa.training.loop import _Run

if TYPE_CHECKING:
    from tests.system.conftest import Ran

    Command = Callable[..., Ran]

SMALL = "[hrlf]\nepochs = 2\nrobust_epochs = 1\nd = 8\nheads = 2\n[student]\nepochs = 1\nwidth = 8\nblocks = 1\n"


class Trap:
    """Asks for code to be run when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch trapped",)


@dataclass(frozen=True)
class Inputs:
    """Files that are wrong in one way each, and two runs that are right."""

    folder: Path

    def __getitem__(self, name: str) -> Path:
        return self.folder / name


@pytest.fixture(scope="module")
def inputs(archive: Path, edge_msa: Command, tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    folder = tmp_path_factory.mktemp("inputs")
    content = archive.read_bytes()
    shutil.copy(archive, folder / "good.npz")
    (folder / "truncated.npz").write_bytes(content[: len(content) // 2])
    (folder / "nothing.npz").touch()
    (folder / "text.npz").write_text("these are no features")
    (folder / "features.docx").write_text("these are no features")
    (folder / "truncated.pkl").write_bytes(pickle.dumps({"train": {"text": np.zeros((9, 9))}})[:-40])
    (folder / "code.pkl").write_bytes(pickle.dumps({"train": Trap()}))
    (folder / "empty").mkdir()
    (folder / "small.toml").write_text(SMALL)
    (folder / "broken.toml").write_text("[hrlf\n")
    (folder / "typo.toml").write_text("[hrlf]\nepoch = 1\n")
    arrays = dict(np.load(archive))
    audio = arrays["valid/audio"].copy()
    audio[3, 2, 1] = np.nan
    wide = {f"{split}/audio": arrays[f"{split}/audio"][..., :5] for split in ("train", "valid", "test")}
    no_test = {name: array for name, array in arrays.items() if not name.startswith("test/")}
    none_valid = {name: array[:0] for name, array in arrays.items() if name.startswith("valid/")}
    no_labels = {name: array for name, array in arrays.items() if name != "train/labels"}
    for name, made in {
        "nan": {**arrays, "valid/audio": audio},
        "wide": {**arrays, **wide},
        "no_test": no_test,
        "none_valid": {**arrays, **none_valid},
        "no_labels": no_labels,
    }.items():
        np.savez(folder / f"{name}.npz", allow_pickle=False, **made)
    common = ("--data", folder / "good.npz", "--recipe", folder / "small.toml", "--device", "cpu")
    assert edge_msa("train", *common, "--output-dir", folder / "teacher").code == 0
    made_student = edge_msa("distill", *common, "--teacher", folder / "teacher", "--output-dir", folder / "student")
    assert made_student.code == 0
    return Inputs(folder)


def told(ran: Ran) -> str:
    """The one line that says what was wrong."""
    assert "Traceback" not in ran.err
    lines = [line for line in ran.err.splitlines() if not line.startswith("note:")]
    assert len(lines) == 1, ran.err
    assert lines[0].startswith("edge-msa: ")
    return str(lines[0])


DATA = {
    "nowhere.npz": (2, "does not exist"),
    "goood.npz": (2, "did you mean"),
    "features.docx": (2, "unknown kind"),
    "empty": (2, "empty holds nothing"),
    "truncated.npz": (1, "truncated"),
    "nothing.npz": (1, "nothing.npz"),
    "text.npz": (1, "not an .npz archive"),
    "truncated.pkl": (1, "truncated.pkl"),
    "code.pkl": (1, "system"),
    "nan.npz": (1, "NaN or inf, the first at [3, 2, 1]"),
    "none_valid.npz": (1, "the valid split is empty"),
    "no_labels.npz": (1, "samples without labels"),
}


@pytest.mark.parametrize("name", DATA)
def test_data_that_cannot_be_used(name: str, inputs: Inputs, tmp_path: Path, edge_msa: Command) -> None:
    code, words = DATA[name]
    ran = edge_msa("train", "--data", inputs[name], "--output-dir", tmp_path / "out")
    assert words in told(ran)
    assert ran.code == code
    assert list(tmp_path.iterdir()) == []


def test_a_pickle_that_wants_code_does_not_get_it(inputs: Inputs, edge_msa: Command) -> None:
    edge_msa("data", "inspect", inputs["code.pkl"])
    assert not Path("trapped").exists()


# Command line with names of inputs in braces and {out} for a place to write; exit code; words that must be said.
WRONG: list[tuple[str, int, str]] = [
    ("train --data {good.npz} --output-dir {out} --task mosy", 2, "did you mean 'mosi'"),
    ("train --data synthetic --output-dir {out} --task sims", 2, "leave --task out"),
    ("train --data {good.npz} --output-dir {out} --device gpu", 2, "auto, cpu, cuda"),
    ("train --data {good.npz} --output-dir {out} --device cuda", 4, "no CUDA device"),
    ("train --data {good.npz} --output-dir {out} --epochs 0", 2, "--epochs"),
    ("train --data {good.npz} --output-dir {out} --recipe {nowhere.toml}", 2, "nowhere.toml cannot be read"),
    ("train --data {good.npz} --output-dir {out} --recipe {broken.toml}", 2, "broken.toml is not TOML"),
    ("train --data {good.npz} --output-dir {out} --recipe {typo.toml}", 2, "did you mean 'epochs'"),
    ("train --data {good.npz} --output-dir {good.npz}", 2, "is a file"),
    ("train --data {good.npz}", 2, "--output-dir"),
    ("trian", 2, "trian"),
    ("train --output-dri {out}", 2, "--output-dri"),
    ("distill --data {good.npz} --teacher {nowhere} --output-dir {out}", 2, "nowhere does not exist"),
    ("distill --data {good.npz} --teacher {empty} --output-dir {out}", 2, "empty is not a run folder"),
    ("distill --data {wide.npz} --teacher {teacher} --output-dir {out}", 1, "5 features a frame, the model takes 16"),
    (
        "calibrate --data {good.npz} --model {teacher} --output-dir {out}",
        2,
        "teacher run, this command needs a student",
    ),
    ("calibrate --data {wide.npz} --model {student} --output-dir {out}", 1, "5 features a frame, the model takes 16"),
    ("calibrate --data {good.npz} --model {student} --output-dir {out} --method magic", 2, "magic"),
    ("export --target jetsen --output-dir {out}", 2, "did you mean 'jetson'"),
    ("export --target laptop --model {teacher} --output-dir {out}", 2, "teacher run, this command needs a student"),
    ("export --target laptop --model {student} --data {wide.npz} --output-dir {out}", 1, "5 features a frame"),
    ("export --target laptop --model {student} --precision int4 --output-dir {out}", 2, "int4"),
    ("export --target laptop --model {student} --max-drop -1 --output-dir {out}", 2, "--max-drop"),
    ("evaluate {nowhere} --data {good.npz}", 2, "nowhere does not exist"),
    ("evaluate {empty} --data {good.npz}", 2, "neither a run"),
    ("evaluate {student} --data {wide.npz}", 1, "5 features a frame, the model takes 16"),
    ("evaluate {student} --data {no_test.npz}", 1, "has no test split; it has train, valid"),
    ("evaluate {student} --data {good.npz} --task emotions", 2, "emotions"),
    ("evaluate {student} --data {good.npz} --engine openvino", 2, "are for bundles"),
    ("evaluate {student} --data {good.npz} --split dev", 2, "dev"),
    ("evaluate {student} --data {good.npz} --output {empty}", 2, "is a folder"),
    ("pipeline --data {good.npz} --output-dir {good.npz}", 2, "is a file"),
    ("train --data {good.npz} --output-dir {out} --seed 99999999999", 2, "--seed"),
    ("evaluate {student} --data {good.npz} --predictions {good.npz}/p.csv", 1, "p.csv cannot be written"),
    ("bench {nowhere}", 2, "nowhere"),
    ("bench {empty}", 2, "no bundle, it has no manifest.json"),
    ("bench {student}", 2, "no bundle, it is a run"),
    ("bench synthetic {student}", 2, "stands alone"),
    ("bench", 2, "see: edge-msa bench --help"),
    ("report {nowhere} --output {out}", 1, "nowhere does not exist"),
    ("report {empty} --output {out}", 1, "holds no measurement"),
    ("report {good.npz} --output {out}", 1, "good.npz cannot be read as JSON"),
    ("pipeline {broken.toml} --output-dir {out}", 2, "is not TOML"),
    ("pipeline {nowhere.toml} --output-dir {out}", 2, "nowhere.toml cannot be read"),
    ("pipeline --data {truncated.npz} --output-dir {out}", 1, "truncated"),
    ("data inspect {nowhere.npz}", 2, "does not exist"),
    ("data convert {good.npz} {out}.zip", 2, "does not end in .npz"),
    ("data convert {good.npz} {out}/a/b.npz", 2, "does not exist"),
    ("data convert {nan.npz} {out}.npz", 1, "NaN or inf"),
]


@pytest.mark.parametrize(("line", "code", "words"), WRONG, ids=[line for line, _, _ in WRONG])
def test_one_line_says_what_was_wrong(
    line: str,
    code: int,
    words: str,
    inputs: Inputs,
    tmp_path: Path,
    edge_msa: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    before = sorted(path for path in inputs.folder.rglob("*"))
    filled = [
        part.replace("{out}", str(tmp_path / "out")).replace("{", f"{inputs.folder}/").replace("}", "")
        for part in line.split()
    ]
    ran = edge_msa(*filled)
    assert words in told(ran)
    assert ran.code == code
    assert list(tmp_path.iterdir()) == []
    assert sorted(path for path in inputs.folder.rglob("*")) == before


@pytest.mark.parametrize("command", ["train", "distill", "calibrate"])
def test_a_folder_with_other_files_is_left_as_it_is(
    command: str, inputs: Inputs, tmp_path: Path, edge_msa: Command
) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("mine")
    model = {"train": (), "distill": ("--teacher", inputs["teacher"]), "calibrate": ("--model", inputs["student"])}
    ran = edge_msa(command, *model[command], "--data", inputs["good.npz"], "--output-dir", tmp_path / "thesis")
    assert "thesis holds files that are no run" in told(ran)
    assert ran.code == 2
    assert [path.name for path in tmp_path.rglob("*")] == ["thesis", "chapter.txt"]


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


def written(writer: Writer, inputs: Inputs, place: Path) -> list[str]:
    return [
        str(place / writer.name) if item == "OUT" else str(inputs[item]) if inputs[item].exists() else item
        for item in writer.arguments
    ]


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()], ids=str)
def test_a_full_disk_and_ctrl_c_leave_nothing_under_the_final_name(
    failure: BaseException,
    name: str,
    inputs: Inputs,
    tmp_path: Path,
    edge_msa: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_handle: int) -> NoReturn:
        raise failure

    writer = WRITERS[name]
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)  # the last thing before a name appears
        ran = edge_msa(*written(writer, inputs, tmp_path))
    if isinstance(failure, OSError):
        assert "no space left on" in told(ran).lower()
        assert ran.code == 1
    else:
        assert told(ran).startswith("edge-msa: interrupted")
        assert ran.code == 130
    assert not (tmp_path / writer.name).exists()
    assert [path.name for path in tmp_path.iterdir()] in ([], [f".{writer.name}.partial"])
    assert edge_msa(*written(writer, inputs, tmp_path)).code == 0
    assert [path.name for path in tmp_path.iterdir()] == [writer.name]


def test_a_checkpoint_that_does_not_fit_is_told_and_the_training_goes_on_later(
    inputs: Inputs, tmp_path: Path, edge_msa: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    line = written(WRITERS["train"], inputs, tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", full)
        ran = edge_msa(*line)
    assert "No space left on device" in told(ran)
    assert ran.code == 1
    assert not (tmp_path / "run").exists()
    assert edge_msa(*line).code == 0


def test_a_training_interrupted_between_epochs_goes_on_from_there(
    inputs: Inputs, tmp_path: Path, edge_msa: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    epoch, begun = _Run.epoch, []

    def second_fails(self: _Run, state: Any) -> None:
        begun.append((self.stage, state.epoch))
        if len(begun) == 2:
            raise KeyboardInterrupt
        epoch(self, state)

    monkeypatch.setattr(_Run, "epoch", second_fails)
    line = written(WRITERS["train"], inputs, tmp_path)
    ran = edge_msa(*line)
    assert ran.code == 130
    assert "give the same command again" in told(ran)
    assert edge_msa(*line).code == 0
    stages = [stage for stage, _ in begun]
    assert [at for _, at in begun] == [0, 1, 1, 0]
    assert stages[1] == stages[2]


@pytest.mark.parametrize(
    ("step", "line"),
    [
        ("calibrate.graphs_of", ("calibrate", "--model", "student", "--data", "good.npz", "--output-dir", "OUT")),
        ("calibrate.compute_ranges", ("calibrate", "--model", "student", "--data", "good.npz", "--output-dir", "OUT")),
        ("export.graphs_of", ("export", "--target", "laptop", "--model", "student", "--output-dir", "OUT")),
    ],
)
def test_ctrl_c_inside_a_step_leaves_no_result(
    step: str,
    line: tuple[str, ...],
    inputs: Inputs,
    tmp_path: Path,
    edge_msa: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stop(*_: object, **__: object) -> NoReturn:
        raise KeyboardInterrupt

    if step == "calibrate.compute_ranges":
        monkeypatch.setattr("edge_msa.flow.calibrate.graphs_of", lambda _: {})
        monkeypatch.setattr("edge_msa.flow.calibrate.gather_statistics", lambda *_, **__: None)
        monkeypatch.setattr("edge_msa.flow.calibrate.smoothing_of", lambda _: {})
    monkeypatch.setattr(f"edge_msa.flow.{step}", stop)
    ran = edge_msa(*written(Writer(line, "made"), inputs, tmp_path))
    assert ran.code == 130
    assert told(ran).startswith("edge-msa: interrupted")
    assert not (tmp_path / "made").exists()


def test_a_real_ctrl_c_is_one_line_and_130(inputs: Inputs, tmp_path: Path, environment: dict[str, str]) -> None:
    line = [*written(WRITERS["train"], inputs, tmp_path), "--epochs", "400"]
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
    assert err.splitlines() == ["edge-msa: interrupted: nothing half-made is left behind; give the same command again"]
    assert [path.name for path in tmp_path.iterdir()] == [".run.partial"]


def test_a_damaged_run_is_told_by_every_command_that_reads_it(
    inputs: Inputs, tmp_path: Path, edge_msa: Command
) -> None:
    run = shutil.copytree(inputs["student"], tmp_path / "run")
    weights = run / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    for line in (
        ("evaluate", run, "--data", inputs["good.npz"]),
        ("calibrate", "--model", run, "--data", inputs["good.npz"], "--output-dir", tmp_path / "made"),
        ("export", "--target", "laptop", "--model", run, "--output-dir", tmp_path / "made"),
    ):
        ran = edge_msa(*line)
        assert "weights.safetensors cannot be read" in told(ran)
        assert ran.code == 1
        assert not (tmp_path / "made").exists()


def test_an_error_nobody_foresaw_is_not_hidden(edge_msa: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*, json: bool) -> NoReturn:
        raise ZeroDivisionError(json)

    monkeypatch.setattr("edge_msa.flow.devices.list_devices", broken)
    with pytest.raises(ZeroDivisionError):
        edge_msa("devices")


def test_help_of_a_group_is_shown_where_nothing_was_asked(edge_msa: Command) -> None:
    for line in ((), ("data",)):
        ran = edge_msa(*line)
        assert ran.code == 2
        assert "Usage: edge-msa" in ran.err
    assert edge_msa("--help").code == 0
