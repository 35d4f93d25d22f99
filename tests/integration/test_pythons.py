"""The runtime under the Pythons that devices have: 3.8 of JetPack 5, 3.10 of JetPack 6.

An interpreter is looked for in EDGE_MSA_PYTHONS (paths, joined as in PATH), in PATH and among pyenv's versions. What
the tests need is installed once, into `.pythons/`; without an interpreter or a package index these tests skip.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.locations import REPOSITORY

if TYPE_CHECKING:
    from tests.integration.conftest import CommandResult

    Command = Callable[..., CommandResult]

TOP = REPOSITORY
VENVS = TOP / ".pythons"
# The backends that have wheels for it: the small graphs need OpenVINO 2025, which has none for 3.8.
EXTRAS = {"3.8": "onnxruntime,text", "3.10": "onnxruntime,openvino,text"}


@pytest.fixture(scope="module", params=EXTRAS)
def python(request: pytest.FixtureRequest) -> Path:
    """An interpreter with the runtime, its extras, and what its tests need."""
    version: str = request.param
    found = next(_interpreters(version), None)
    if found is None:
        pytest.skip(f"no Python {version} here: put one into PATH, or name it in EDGE_MSA_PYTHONS")
    folder = VENVS / version
    needed = (TOP / "runtime/pyproject.toml").read_text(encoding="utf-8")
    stamp = folder / "needed"
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != needed:
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([found, "-m", "venv", folder], check=True, capture_output=True)
        install = [str(folder / "bin/python"), "-m", "pip", "install", "-q", "--prefer-binary"]
        packages = ["-e", f"{TOP / 'runtime'}[{EXTRAS[version]}]", "onnx", "pytest>=8,<9"]
        done = subprocess.run([*install, *packages], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"the packages for Python {version} cannot be installed: {done.stderr.splitlines()[-1]}")
        stamp.write_text(needed, encoding="utf-8")
    return folder / "bin/python"


def test_the_runtime_s_own_tests_pass(python: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/unit/runtime"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=TOP, env=_environment())
    assert done.returncode == 0, done.stdout
    with capsys.disabled():
        print(f"\nPython {python.parts[-3]}: {done.stdout.splitlines()[-1]}", end="")


@pytest.mark.parametrize("kind", ["streams", "encoder"])
def test_a_bundle_reads_what_it_reads_here(
    python: Path, kind: str, calibrated_runs: dict[str, Path], edge_msa: Command, tmp_path: Path
) -> None:
    common = ("--max-drop", "100", "--output-dir", tmp_path / "bundle")
    ran = edge_msa("export", "--target", "laptop-x86", "--model", calibrated_runs[kind], *common)
    assert ran.code == 0, ran.err
    command = [str(python), "-W", "error", "-m", "edge_msa_runtime", "verify", "--all", "bundle", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=_environment())
    assert done.returncode == 0, done.stderr
    found = {(one["backend"], one["precision"]) for one in json.loads(done.stdout.splitlines()[-1])}
    assert {("onnxruntime", "fp32"), ("onnxruntime", "int8")} <= found
    assert ("openvino", "int8") in found or python.parts[-3] == "3.8"


def _interpreters(version: str) -> Iterator[str]:
    """Paths of interpreters of that version, the ones asked for first."""
    asked = os.environ.get("EDGE_MSA_PYTHONS", "").split(os.pathsep)
    pyenv = sorted(Path("~/.pyenv/versions").expanduser().glob(f"{version}.*/bin/python"))
    for path in (*asked, shutil.which(f"python{version}"), *map(str, pyenv)):
        if path and _version_of(path) == version:
            yield path


def _version_of(path: str) -> str:
    """As "3.8"; empty for what does not run, as a shim of pyenv without a version behind it."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        return subprocess.run([path, "-c", code], capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


def _environment() -> dict[str, str]:
    """Without the paths of this interpreter's packages."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
