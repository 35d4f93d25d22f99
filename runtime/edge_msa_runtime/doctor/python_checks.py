"""Checks of Python: its version and environment, the backends from PyPI, and the tokenizers library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Iterator

from edge_msa_runtime.backend_info import BACKENDS, PIP_BACKENDS
from edge_msa_runtime.doctor.findings import OK, OPTIONAL, PROBLEM, Finding
from edge_msa_runtime.doctor.interpreter import Interpreter, pip_install_command
from edge_msa_runtime.system import System

if TYPE_CHECKING:
    from edge_msa_runtime.bundle.manifest import Manifest

_OLDEST_PYTHON = (3, 8)
_OLDEST_OPENVINO = 2025


def check_python(system: System, interpreter: Interpreter) -> Iterator[Finding]:
    """Check the version and environment of Python, and NumPy."""
    environment = "system Python"
    if interpreter.is_virtual:
        sees = "with" if interpreter.sees_system_packages else "without"
        environment = f"virtual environment {sees} the system's packages"
    detail = f"{interpreter.version_text}, {environment}"
    if interpreter.version < _OLDEST_PYTHON:
        yield Finding("Python", PROBLEM, f"{detail}; 3.8 or later is needed", "Use Python 3.8 or later.", blocking=True)
    else:
        yield Finding("Python", OK, detail)
    version, reason, requirement, _ = interpreter.try_import("numpy")
    if version:
        yield Finding("numpy", OK, version)
    else:
        yield Finding("numpy", PROBLEM, reason, pip_install_command(system, interpreter, requirement), blocking=True)


def check_backends(system: System, interpreter: Interpreter, manifest: Manifest | None) -> Iterator[Finding]:
    """Check the backends from PyPI, and tokenizers.

    A package that is not installed is a problem only if the bundle uses it, and optional if another of its backends is
    installed. A package that is installed but cannot be
    imported is always a problem.
    """
    used = () if manifest is None else manifest.backends
    for name in PIP_BACKENDS:
        version, reason, requirement, _ = interpreter.try_import(name)
        if version is None and (name in used or requirement != name):
            others = [item for item in used if item in PIP_BACKENDS and interpreter.try_import(item).version]
            status = OPTIONAL if requirement == name and others else PROBLEM
            yield Finding(name, status, reason, pip_install_command(system, interpreter, requirement))
        elif version is None:
            yield Finding(name, OK, "not installed")
        elif name == "openvino" and _release_year(version) < _OLDEST_OPENVINO:
            detail = f"{version} cannot load fp16 and int8 graphs; {_OLDEST_OPENVINO}.0 or later is needed"
            upgrade = pip_install_command(system, interpreter, f"'openvino>={_OLDEST_OPENVINO}'")
            yield Finding(name, PROBLEM, detail, upgrade)
        else:
            yield Finding(name, OK, version)
    if manifest is None and not any(interpreter.try_import(name).version for name in BACKENDS):
        fix = pip_install_command(system, interpreter, "onnxruntime")
        yield Finding("backends", PROBLEM, "none is installed", fix, blocking=True)
    if manifest is not None and manifest.language is not None:
        yield _check_tokenizers(system, interpreter)


def _release_year(version: str) -> int:
    year = version.partition(".")[0]
    return int(year) if year.isdigit() else _OLDEST_OPENVINO


def _check_tokenizers(system: System, interpreter: Interpreter) -> Finding:
    version, reason, requirement, culprit = interpreter.try_import("tokenizers")
    if version is not None:
        return Finding("tokenizers", OK, version)
    if culprit == "tokenizers":
        # From 0.21 on there are no wheels for Python 3.8.
        package = "'tokenizers<0.21'" if interpreter.version < (3, 9) else "tokenizers"
        requirement = f"--force-reinstall {package}" if "--force-reinstall" in requirement else package
    fix = pip_install_command(system, interpreter, requirement)
    return Finding("tokenizers", PROBLEM, f"{reason}; the bundle accepts frames, but no text", fix)
