"""A small student, and a stand-in for torch-tensorrt that computes in torch."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from edge_msa_export.torch_tensorrt.programs import ProgramSet

# Two modalities only: torch exports about two graphs per second.
DIMS, CHUNKS, WINDOWS = {"language": 6, "audio": 5}, {"language": 4, "audio": 5}, {"language": 8, "audio": 9}


def install_stand_in(monkeypatch: pytest.MonkeyPatch, *, fails: bool = False) -> list[dict[str, Any]]:
    """Install a module `torch_tensorrt` and return the list of options that its `compile` receives."""
    calls: list[dict[str, Any]] = []

    def compile_(program: Any, **options: Any) -> Any:
        if fails:
            raise RuntimeError("[Error] no kernel\nmore lines")
        calls.append(options)
        return program.run_decompositions().module()

    def save(module: Any, path: str, *, output_format: str, arg_inputs: list[Tensor]) -> None:
        assert output_format == "exported_program"
        torch.export.save(torch.export.export(module, tuple(arg_inputs), strict=False), path)

    module = types.ModuleType("torch_tensorrt")
    module.__spec__ = types.SimpleNamespace(name="torch_tensorrt")  # type: ignore[assignment]
    module.dynamo = types.SimpleNamespace(compile=compile_)  # type: ignore[attr-defined]
    module.save = save  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch_tensorrt", module)
    return calls


def link_programs(programs: ProgramSet, folder: Path) -> ProgramSet:
    """Return the same programs in a folder that tests may write to."""
    (folder / "programs").symlink_to(programs.root / "programs")
    return ProgramSet(folder, programs.saved, programs.parity_limit)
