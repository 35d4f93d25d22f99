"""Modules that a new interpreter imports. import-linter checks the static import rules in pyproject.toml."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.locations import REPOSITORY

HEAVY = ("torch", "onnx", "onnxruntime", "openvino", "tensorrt", "matplotlib", "jinja2", "sklearn", "transformers")


def imported_modules(code: str) -> set[str]:
    """Run code in a new interpreter and return the names of the modules that it imported."""
    code += "\nimport json, sys\nprint(json.dumps(list(sys.modules)))"
    command = [sys.executable, "-c", code]
    completed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY)
    return set(json.loads(completed.stdout.splitlines()[-1]))


def test_the_runtime_imports_no_other_package_and_no_backend() -> None:
    modules = imported_modules("import edge_msa_runtime, edge_msa_runtime.cli.main")
    others = {"typer", "pydantic", "edge_msa", "edge_msa_export", "edge_msa_calibrate"}
    assert modules & {*HEAVY, *others} == set()


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["bench", "bundle", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    modules = imported_modules(f"from edge_msa.cli import run\nassert run({arguments}) == 0")
    assert modules & {*HEAVY, "numpy", "edge_msa_runtime.session"} == set()


def test_every_module_of_the_runtime_imports_without_extras() -> None:
    """Modules for other operating systems must import as well: nothing vendor-specific is imported at the top."""
    package = REPOSITORY / "runtime/edge_msa_runtime"
    names = [".".join(path.relative_to(package.parent).with_suffix("").parts) for path in sorted(package.rglob("*.py"))]
    names = [name for name in names if not name.endswith("__main__")]
    blocked = ("resource", "fcntl", "pwd", "grp", "termios", *HEAVY, "tokenizers", "cuda", "typer")
    modules = imported_modules(
        f"import importlib, sys\nfor name in {blocked}: sys.modules[name] = None\n"
        f"for name in {names}: importlib.import_module(name)\n"
        f"for name in {blocked}: del sys.modules[name]"
    )
    assert set(names) - {name for name in names if name.endswith("__init__")} <= modules


def test_public_names_of_the_runtime_exist() -> None:
    import edge_msa_runtime

    assert {"load", "Session", "Prediction", "Stream", "Subset", "__version__"} <= set(dir(edge_msa_runtime))
    assert {name for name in edge_msa_runtime.__all__ if not hasattr(edge_msa_runtime, name)} == set()
