"""Wrong input: one error line, the documented exit code, and no output files."""

from __future__ import annotations

import importlib.metadata
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import pytest
import torch

if TYPE_CHECKING:
    from tests.conftest import Once
    from tests.integration.conftest import CommandResult

    Command = Callable[..., CommandResult]


class Trap:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("echo > trapped",)


@dataclass(frozen=True)
class Inputs:
    """A folder with two valid runs, and files that are each wrong in one way."""

    folder: Path

    def __getitem__(self, name: str) -> Path:
        return self.folder / name


@pytest.fixture(scope="session")
def inputs(archive: Path, small_runs: Path, once: Once) -> Inputs:
    def create(folder: Path) -> None:
        shutil.copytree(small_runs, folder, dirs_exist_ok=True)
        write_wrong_files(folder, archive)

    return Inputs(once("wrong-inputs", create))


def write_wrong_files(folder: Path, archive: Path) -> None:
    content = archive.read_bytes()
    (folder / "truncated.npz").write_bytes(content[: len(content) // 2])
    (folder / "nothing.npz").touch()
    (folder / "text.npz").write_text("these are no features")
    (folder / "features.docx").write_text("these are no features")
    (folder / "truncated.pkl").write_bytes(pickle.dumps({"train": {"text": np.zeros((9, 9))}})[:-40])
    (folder / "code.pkl").write_bytes(pickle.dumps({"train": Trap()}))
    (folder / "empty").mkdir()
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


DATA = {
    "nowhere.npz": (2, "does not exist"),
    "goood.npz": (2, "did you mean"),
    "features.docx": (2, "features.docx"),
    "empty": (2, "empty"),
    "truncated.npz": (1, "truncated"),
    "nothing.npz": (1, "nothing.npz"),
    "text.npz": (1, "text.npz"),
    "truncated.pkl": (1, "truncated.pkl"),
    "code.pkl": (1, "system"),
    "nan.npz": (1, "NaN ... [3, 2, 1]"),
    "none_valid.npz": (1, "valid ... empty"),
    "no_labels.npz": (1, "label"),
}


@pytest.mark.parametrize("name", DATA)
def test_unusable_data_is_one_error_line(name: str, inputs: Inputs, tmp_path: Path, edge_msa: Command) -> None:
    code, words = DATA[name]
    result = edge_msa("train", "--data", inputs[name], "--output-dir", tmp_path / "out")
    assert_words(words, result.error_line)
    assert result.code == code
    assert list(tmp_path.iterdir()) == []


def test_code_in_a_pickle_is_not_run(inputs: Inputs, edge_msa: Command) -> None:
    edge_msa("data", "inspect", inputs["code.pkl"])
    assert not Path("trapped").exists()


def assert_words(words: str, message: str) -> None:
    """Check that the message contains all parts of `words`, which "..." separates, in upper or lower case."""
    for part in words.split(" ... "):
        assert part.lower() in message.lower(), message


# Command with names of inputs in braces and {out} as output; exit code; parts of the error message.
WRONG: list[tuple[str, int, str]] = [
    ("train --data {good.npz} --output-dir {out} --task mosy", 2, "did you mean 'mosi'"),
    ("train --data synthetic --output-dir {out} --task sims", 2, "--task"),
    ("train --data {good.npz} --output-dir {out} --device gpu", 2, "auto ... cpu ... cuda"),
    ("train --data {good.npz} --output-dir {out} --device cuda", 4, "cuda"),
    ("train --data {good.npz} --output-dir {out} --epochs 0", 2, "--epochs"),
    ("train --data {good.npz} --output-dir {out} --recipe {nowhere.toml}", 2, "nowhere.toml"),
    ("train --data {good.npz} --output-dir {out} --recipe {broken.toml}", 2, "broken.toml ... toml"),
    ("train --data {good.npz} --output-dir {out} --recipe {typo.toml}", 2, "did you mean 'epochs'"),
    ("train --data {good.npz} --output-dir {good.npz}", 2, "is a file"),
    ("train --data {good.npz}", 2, "--output-dir"),
    ("trian", 2, "trian"),
    ("train --output-dri {out}", 2, "--output-dri"),
    ("distill --data {good.npz} --teacher {nowhere} --output-dir {out}", 2, "nowhere does not exist"),
    ("distill --data {good.npz} --teacher {empty} --output-dir {out}", 2, "empty is not a run folder"),
    ("distill --data {wide.npz} --teacher {teacher} --output-dir {out}", 1, "audio ... 16 ... 5"),
    (
        "calibrate {teacher} --data {good.npz} --output-dir {out}",
        2,
        "student ... got a teacher",
    ),
    ("calibrate {student} --data {wide.npz} --output-dir {out}", 1, "audio ... 16 ... 5"),
    ("calibrate {student} --data {good.npz} --output-dir {out} --method magic", 2, "magic"),
    ("export --target jetsen --output-dir {out}", 2, "did you mean 'jetson'"),
    ("export --target jetson --dla --output-dir {out}", 2, "jetson-orin-nano ... DLA"),
    ("inspect {out}", 2, "does not exist"),
    ("export {teacher} --target laptop --output-dir {out}", 2, "student ... got a teacher"),
    ("export {student} --target laptop --data {wide.npz} --output-dir {out}", 1, "audio ... 16 ... 5"),
    ("export {student} --target laptop --precision int4 --output-dir {out}", 2, "int4"),
    ("export {student} --target laptop --max-drop -1 --output-dir {out}", 2, "--max-drop"),
    ("evaluate {nowhere} --data {good.npz}", 2, "nowhere does not exist"),
    ("evaluate {empty} --data {good.npz}", 2, "run ... bundle"),
    ("evaluate {student} --data {wide.npz}", 1, "audio ... 16 ... 5"),
    ("evaluate {student} --data {no_test.npz}", 1, "test ... train, valid"),
    ("evaluate {student} --data {good.npz} --task emotions", 2, "emotions"),
    ("evaluate {student} --data {good.npz} --backend openvino", 2, "bundle"),
    ("evaluate {student} --data {good.npz} --split dev", 2, "dev"),
    ("evaluate {student} --data {good.npz} --output {empty}", 2, "is a folder"),
    ("pipeline --data {good.npz} --output-dir {good.npz}", 2, "is a file"),
    ("train --data {good.npz} --output-dir {out} --seed 99999999999", 2, "--seed"),
    ("evaluate {student} --data {good.npz} --predictions {good.npz}/p.csv", 2, "good.npz is not a folder"),
    ("bench {nowhere}", 2, "nowhere"),
    ("bench {empty}", 2, "is not a bundle. It has no manifest.json"),
    ("bench {student}", 2, "is not a bundle. It is a run"),
    ("bench long-windows {student}", 2, "Unexpected argument"),
    ("bench", 2, "see edge-msa bench bundle --help"),
    ("bench {student} --output .", 2, ". is a folder"),
    ("bench {student} --backend tensort", 2, "did you mean 'tensorrt'"),
    ("report {good.npz} --output {empty}", 2, "is a folder"),
    ("export {student} --target jetson --ir --output-dir {out}", 2, "openvino"),
    ("export {student} --target raspberry-pi --precision fp16 --output-dir {out}", 2, "fp32"),
    ("report {nowhere} --output {out}.html", 1, "nowhere does not exist"),
    ("report {empty} --output {out}.html", 1, "no measurement"),
    ("report {good.npz} --output {out}.html", 1, "good.npz ... json"),
    ("pipeline --recipe {broken.toml} --output-dir {out}", 2, "broken.toml ... toml"),
    ("pipeline --recipe {nowhere.toml} --output-dir {out}", 2, "nowhere.toml"),
    ("pipeline --data {truncated.npz} --output-dir {out}", 1, "truncated"),
    ("data inspect {nowhere.npz}", 2, "does not exist"),
    ("data convert {good.npz} --output {out}.zip", 2, ".npz ... out.zip"),
    ("data convert {nan.npz} --output {out}.npz", 1, "NaN or inf"),
]


@pytest.mark.parametrize(("line", "code", "words"), WRONG, ids=[line for line, _, _ in WRONG])
def test_wrong_commands_are_one_error_line(
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
    result = edge_msa(*filled)
    assert_words(words, result.error_line)
    assert result.code == code
    assert list(tmp_path.iterdir()) == []
    assert sorted(path for path in inputs.folder.rglob("*")) == before


@pytest.mark.parametrize("command", ["train", "distill", "calibrate"])
def test_a_folder_with_other_files_is_not_overwritten(
    command: str, inputs: Inputs, tmp_path: Path, edge_msa: Command
) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("mine")
    model = {"train": (), "distill": ("--teacher", inputs["teacher"]), "calibrate": (inputs["student"],)}
    result = edge_msa(command, *model[command], "--data", inputs["good.npz"], "--output-dir", tmp_path / "thesis")
    assert "thesis" in result.error_line
    assert result.code == 2
    assert [path.name for path in tmp_path.rglob("*")] == ["thesis", "chapter.txt"]


def test_a_damaged_run_is_rejected_by_every_command(inputs: Inputs, tmp_path: Path, edge_msa: Command) -> None:
    run = shutil.copytree(inputs["student"], tmp_path / "run")
    weights = run / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    for line in (
        ("evaluate", run, "--data", inputs["good.npz"]),
        ("calibrate", run, "--data", inputs["good.npz"], "--output-dir", tmp_path / "made"),
        ("export", "--target", "laptop", run, "--output-dir", tmp_path / "made"),
    ):
        result = edge_msa(*line)
        assert "weights.safetensors" in result.error_line
        assert result.code == 1
        assert not (tmp_path / "made").exists()


def test_unexpected_errors_are_not_hidden(edge_msa: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> NoReturn:
        raise ZeroDivisionError

    monkeypatch.setattr("edge_msa.workflows.inspect.devices", broken)
    with pytest.raises(ZeroDivisionError):
        edge_msa("devices")


def test_version_is_printed(edge_msa: Command) -> None:
    result = edge_msa("--version")
    assert (result.code, result.out) == (0, f"edge-msa {importlib.metadata.version('edge-msa')}\n")


def test_a_group_without_arguments_prints_its_help(edge_msa: Command) -> None:
    for line in ((), ("data",)):
        result = edge_msa(*line)
        assert result.code == 2
        assert "Usage: edge-msa" in result.err
    assert edge_msa("--help").code == 0
