"""A student's programs for torch-tensorrt, by the command: written whole where nothing can compile them."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge_msa_export.errors import ExportError

if TYPE_CHECKING:
    from edge_msa_export.torch_tensorrt.programs import Programs
    from tests.integration.conftest import CommandResult

    Command = Callable[..., CommandResult]


@pytest.mark.skipif(importlib.util.find_spec("torch_tensorrt") is not None, reason="torch-tensorrt is installed here")
def test_programs_are_written_and_what_compiles_them_is_said(
    small_runs: Path, edge_msa: Command, tmp_path: Path
) -> None:
    output = tmp_path / "programs"
    command = ("export", "--backend", "torch-tensorrt", "--target", "jetson", "--model", small_runs / "student")
    ran = edge_msa(*command, "--output-dir", output)
    assert ran.code == 4
    assert "torch-tensorrt is not installed here" in ran.error_line
    assert "pip install torch==2.8.0 torch-tensorrt==2.8.0 --index-url https://pypi.jetson-ai-lab.io" in ran.error_line
    facts = json.loads((output / "facts.json").read_text())
    files = {path.relative_to(output).as_posix() for path in (output / "programs").iterdir()}
    assert files == {program["file"] for program in facts["programs"]}
    assert len(files) == 3 + 1 + len([name for name in files if "window" in name])
    assert all(program["parity"] <= facts["parity_limit"] for program in facts["programs"])
    assert {path.name for path in output.iterdir()} == {"README.md", "facts.json", "programs"}
    assert "without a converter" in ran.out
    again = edge_msa(*command, "--output-dir", output, "--precision", "fp16")
    assert again.code == 4
    assert json.loads((output / "facts.json").read_text())["precision"] == "fp16"


def test_programs_are_kept_where_they_cannot_be_compiled(
    small_runs: Path, edge_msa: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(programs: Programs, *_: object) -> None:
        (programs.root / "compiled").mkdir()
        raise ExportError("torch-tensorrt cannot compile programs/fuse.pt2: no backend")

    monkeypatch.setattr("edge_msa.workflows.export.compile_programs", fails)
    command = ("export", "--backend", "torch-tensorrt", "--target", "jetson", "--model", small_runs / "student")
    ran = edge_msa(*command, "--output-dir", tmp_path / "out")
    assert ran.code == 1
    assert "cannot compile programs/fuse.pt2: no backend" in ran.error_line
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"README.md", "facts.json", "programs"}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--target", "laptop"), "no torch-tensorrt with a dynamo path is made for laptop-x86"),
        (("--target", "jetson-xavier-nx"), "it is for jetson-agx-orin"),
        (("--target", "jetson", "--precision", "int8"), "int8 is for the bundle's own TensorRT"),
        (("--target", "jetson-agx-orin", "--dla"), "--dla is for bundles"),
        (("--target", "jetson", "--ir"), "--ir is for bundles"),
        (("--target", "jetson", "--max-drop", "2"), "--max-drop is for bundles"),
        (("--target", "jetson", "--backend", "tensorrt"), "--backend"),
    ],
)
def test_what_does_not_go_that_way_is_refused_before_slow_work(
    options: tuple[str, ...], told: str, small_runs: Path, edge_msa: Command, tmp_path: Path
) -> None:
    backend = () if "--backend" in options else ("--backend", "torch-tensorrt")
    ran = edge_msa("export", *backend, *options, "--model", small_runs / "student", "--output-dir", tmp_path / "out")
    assert ran.code == 2
    assert told in ran.error_line
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_left(small_runs: Path, edge_msa: Command, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    command = ("export", "--backend", "torch-tensorrt", "--target", "jetson", "--model", small_runs / "student")
    assert edge_msa(*command, "--output-dir", tmp_path).code == 2
    assert (tmp_path / "notes.txt").read_text() == "mine"
