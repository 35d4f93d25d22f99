from __future__ import annotations

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from edge_msa_export.profiles import find_profile
from edge_msa_export.provenance import Provenance
from edge_msa_export.torch_tensorrt.folder import (
    INFO_NAME,
    SCRIPT_NAME,
    ProgramsInfo,
    is_programs_folder,
    parse_series,
    write_programs_info,
)
from edge_msa_export.torch_tensorrt.programs import CompiledPrograms, ProgramSet
from edge_msa_runtime.bundle.manifest import GraphKey
from tests.unit.export.torch_tensorrt.stand_in import DIMS, install_stand_in, link_programs


def make_info(
    torch_version: str, *, target: str = "jetson", precision: str = "fp32", compiled: CompiledPrograms | None = None
) -> ProgramsInfo:
    return ProgramsInfo(find_profile(target), torch_version, precision, compiled, Provenance(run="abc"))


@pytest.fixture
def folder(programs: ProgramSet, tmp_path: Path) -> Path:
    write_programs_info(tmp_path, link_programs(programs, tmp_path), make_info("2.13.0+cpu"))
    return tmp_path


def test_description_states_what_the_device_needs(folder: Path) -> None:
    info = json.loads((folder / INFO_NAME).read_text(encoding="utf-8"))
    assert (info["torch_tensorrt"], info["loads_on_target"]) == ("2.8.0", False)
    assert info["provenance"]["run"] == "abc"
    programs = {program["file"]: program for program in info["programs"]}
    fuse = programs["programs/fuse.pt2"]
    assert fuse["inputs"]["available"] == {"shape": [1, 3], "dtype": "float32"}
    assert "compiled_parity" not in fuse
    assert all(program["parity"] <= info["parity_limit"] for program in programs.values())


def test_programs_folder_is_recognized(folder: Path, programs: ProgramSet) -> None:
    assert is_programs_folder(folder)
    assert not is_programs_folder(programs.root)


def test_readme_warns_about_another_torch(folder: Path) -> None:
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert "pypi.jetson-ai-lab.io" in readme
    assert f"python3 {SCRIPT_NAME}" in readme
    assert "torch 2.13.0+cpu wrote them, and torch-tensorrt 2.8.0 needs torch\n2.8." in readme


def test_compiled_programs_are_described(programs: ProgramSet, tmp_path: Path) -> None:
    compiled = CompiledPrograms("Orin", {GraphKey.fuse(DIMS): 0.25})
    info = make_info("2.8.0", precision="fp16", compiled=compiled)
    write_programs_info(tmp_path, link_programs(programs, tmp_path), info)
    description = json.loads((tmp_path / INFO_NAME).read_text(encoding="utf-8"))
    assert (description["compiled_for"], description["loads_on_target"]) == ("Orin", True)
    parity = [program["compiled_parity"] for program in description["programs"] if "compiled_parity" in program]
    assert parity == [0.25]
    assert "do not load" not in (tmp_path / "README.md").read_text(encoding="utf-8")


def test_compile_script_compiles_every_program(
    folder: Path, programs: ProgramSet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = install_stand_in(monkeypatch)
    with torch.no_grad():  # restores what the script sets
        runpy.run_path(str(folder / SCRIPT_NAME))["main"]("cpu")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(calls) == len(list((folder / "programs").iterdir()))
    assert all(float(line.rpartition(" ")[2]) <= programs.parity_limit for line in lines)
    loaded = torch.export.load(folder / "compiled" / "fuse.pt2")
    assert np.isfinite(loaded.module()(*loaded.example_inputs[0]).detach().numpy()).all()


def test_series_is_major_and_minor_version() -> None:
    assert parse_series("2.8.0a0+git") == parse_series("2.8.1") == (2, 8)


def test_programs_load_with_torch_of_the_same_series() -> None:
    assert make_info("2.8.0").loads_on_target
    assert not make_info("2.10.0").loads_on_target
    assert make_info("2.9.1", target="jetson-thor").loads_on_target
