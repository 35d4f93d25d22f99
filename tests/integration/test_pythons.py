"""The runtime under the Python versions of devices: 3.8 of JetPack 5, 3.10 of JetPack 6.

Interpreters are searched in EDGE_MSA_PYTHONS (paths, separated as in PATH), in PATH, and among the versions of pyenv.
The packages that the tests need are installed once, into `.pythons/`. The tests skip without an interpreter or a
package index.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from tests.locations import REPOSITORY

pytestmark = pytest.mark.slow

ENVIRONMENTS = REPOSITORY / ".pythons"
# The backends that have wheels for this version. OpenVINO 2025, which the bundles need, has none for 3.8.
EXTRAS = {"3.8": "onnxruntime,text", "3.10": "onnxruntime,openvino,text"}


@pytest.fixture(scope="module", params=EXTRAS)
def python(request: pytest.FixtureRequest) -> Path:
    """Return an interpreter with the runtime, its extras, and the packages that its tests need."""
    version: str = request.param
    interpreter = next(find_interpreters(version), None)
    if interpreter is None:
        pytest.skip(f"Python {version} is not installed: add it to PATH, or to EDGE_MSA_PYTHONS")
    folder = ENVIRONMENTS / version
    ENVIRONMENTS.mkdir(exist_ok=True)
    requirements = (REPOSITORY / "runtime/pyproject.toml").read_text(encoding="utf-8")
    installed = folder / "requirements"
    with FileLock(ENVIRONMENTS / f"{version}.lock"):
        if not installed.is_file() or installed.read_text(encoding="utf-8") != requirements:
            shutil.rmtree(folder, ignore_errors=True)
            subprocess.run([interpreter, "-m", "venv", folder], check=True, capture_output=True)
            install = [str(folder / "bin/python"), "-m", "pip", "install", "-q", "--prefer-binary"]
            packages = ["-e", f"{REPOSITORY / 'runtime'}[{EXTRAS[version]}]", "onnx", "pytest>=8,<9"]
            completed = subprocess.run([*install, *packages], capture_output=True, text=True, check=False)
            if completed.returncode:
                error = completed.stderr.splitlines()[-1]
                pytest.skip(f"the packages for Python {version} cannot be installed: {error}")
            installed.write_text(requirements, encoding="utf-8")
    return folder / "bin/python"


def test_the_unit_tests_of_the_runtime_pass(python: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/unit/runtime"]
    completed = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=REPOSITORY, env=clean_environment()
    )
    assert completed.returncode == 0, completed.stdout
    with capsys.disabled():
        print(f"\nPython {python.parts[-3]}: {completed.stdout.splitlines()[-1]}", end="")


@pytest.mark.parametrize("name", ["streams", "encoder"])
def test_golden_predictions_are_reproduced(
    python: Path, name: str, exported_bundle: Callable[[str, str], Path]
) -> None:
    bundle = exported_bundle("laptop-x86", name)
    command = [str(python), "-W", "error", "-m", "edge_msa_runtime", "verify", "--all", str(bundle), "--json"]
    completed = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=bundle.parent, env=clean_environment()
    )
    assert completed.returncode == 0, completed.stderr
    checks = json.loads(completed.stdout.splitlines()[-1])
    variants = {(check["backend"], check["precision"]) for check in checks}
    assert {("onnxruntime", "fp32"), ("onnxruntime", "int8")} <= variants
    assert ("openvino", "int8") in variants or python.parts[-3] == "3.8"


def find_interpreters(version: str) -> Iterator[str]:
    """Yield paths of interpreters of that version, those of EDGE_MSA_PYTHONS first."""
    configured = os.environ.get("EDGE_MSA_PYTHONS", "").split(os.pathsep)
    pyenv = sorted(Path("~/.pyenv/versions").expanduser().glob(f"{version}.*/bin/python"))
    for path in (*configured, shutil.which(f"python{version}"), *map(str, pyenv)):
        if path and version_of(path) == version:
            yield path


def version_of(path: str) -> str:
    """Return the version as "3.8", or "" if the interpreter does not run, like a shim of pyenv without a version."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        return subprocess.run([path, "-c", code], capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


def clean_environment() -> dict[str, str]:
    """Return the environment without the package paths of this interpreter."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
