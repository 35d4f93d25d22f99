"""`edge-msa export --torch-tensorrt`: programs are written completely even if they cannot be compiled here."""

from __future__ import annotations

import importlib.util
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge_msa_export.errors import ExportError
from edge_msa_runtime.modalities import Subset

if TYPE_CHECKING:
    from edge_msa_export.torch_tensorrt.programs import ProgramSet
    from tests.integration.conftest import CommandResult

    Command = Callable[..., CommandResult]


@pytest.mark.skipif(importlib.util.find_spec("torch_tensorrt") is not None, reason="torch-tensorrt is installed here")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "install"),
    [
        ("jetson", "torch==2.8.0 torch-tensorrt==2.8.0 --index-url https://pypi.jetson-ai-lab.io"),
        ("desktop-nvidia", "torch==2.9.0 torch-tensorrt==2.9.0 --extra-index-url https://download.pytorch.org"),
    ],
)
def test_programs_are_written_without_torch_tensorrt(
    target: str, install: str, small_runs: Path, edge_msa: Command, tmp_path: Path
) -> None:
    output = tmp_path / "programs"
    command = ("export", "--torch-tensorrt", "--target", target, small_runs / "student")
    result = edge_msa(*command, "--output-dir", output)
    assert result.code == 4
    assert "torch-tensorrt is not installed" in result.error_line
    assert f"pip install {install}" in result.error_line
    info = json.loads((output / "programs.json").read_text())
    files = {path.relative_to(output).as_posix() for path in (output / "programs").iterdir()}
    assert files == {program["file"] for program in info["programs"]}
    kinds = Counter(path.split("/")[-1].split("-")[0].split(".")[0] for path in files)
    assert (kinds["step"], kinds["fuse"]) == (3, 1)
    assert kinds["window"] >= len(Subset)
    assert all(program["parity"] <= info["parity_limit"] for program in info["programs"])
    assert {path.name for path in output.iterdir()} == {"README.md", "compile.py", "programs.json", "programs"}
    assert "without a converter" in result.out
    other = (*command, "--output-dir", output, "--precision", "fp16")
    refused = edge_msa(*other)
    assert refused.code == 2
    assert "differs: precision fp32 -> fp16. Pass --overwrite" in refused.error_line
    assert edge_msa(*other, "--overwrite").code == 4
    assert json.loads((output / "programs.json").read_text())["precision"] == "fp16"


@pytest.mark.slow
def test_programs_are_kept_if_compilation_fails(
    small_runs: Path, edge_msa: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(programs: ProgramSet, *_: object) -> None:
        (programs.root / "compiled").mkdir()
        raise ExportError("torch-tensorrt cannot compile programs/fuse.pt2: no backend")

    monkeypatch.setattr("edge_msa.deployment.torch_programs.compile_programs", fails)
    command = ("export", "--torch-tensorrt", "--target", "jetson", small_runs / "student")
    result = edge_msa(*command, "--output-dir", tmp_path / "out")
    assert result.code == 1
    assert "cannot compile programs/fuse.pt2: no backend" in result.error_line
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "README.md",
        "compile.py",
        "programs.json",
        "programs",
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--target", "laptop"), "torch-tensorrt with dynamo is not available for laptop-x86"),
        (("--target", "jetson-xavier-nx"), "Supported targets: desktop-nvidia, jetson-agx-orin"),
        (("--target", "jetson", "--precision", "int8"), "--precision must be one of auto, fp32, fp16"),
        (("--target", "jetson-agx-orin", "--dla"), "--dla applies only to bundles"),
        (("--target", "jetson", "--ir"), "--ir applies only to bundles"),
        (("--target", "jetson", "--max-drop", "2"), "--max-drop applies only to bundles"),
    ],
)
def test_unsupported_options_are_rejected_before_slow_work(
    options: tuple[str, ...], message: str, small_runs: Path, edge_msa: Command, tmp_path: Path
) -> None:
    result = edge_msa("export", "--torch-tensorrt", *options, small_runs / "student", "--output-dir", tmp_path / "out")
    assert result.code == 2
    assert message in result.error_line
    assert not (tmp_path / "out").exists()


def test_folder_with_other_files_is_not_replaced(small_runs: Path, edge_msa: Command, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    command = ("export", "--torch-tensorrt", "--target", "jetson", small_runs / "student")
    assert edge_msa(*command, "--output-dir", tmp_path).code == 2
    assert (tmp_path / "notes.txt").read_text() == "mine"
