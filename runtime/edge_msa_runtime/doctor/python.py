"""The doctor's look at Python: its version, its environment, the backends and the library that reads words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Iterator

from edge_msa_runtime.doctor.findings import OK, WRONG, Finding
from edge_msa_runtime.system import Interpreter, System

if TYPE_CHECKING:
    from edge_msa_runtime.bundle.manifest import Manifest

_OLDEST = (3, 8)
_OLDEST_OPENVINO = 2025
PIP_BACKENDS = ("onnxruntime", "openvino")


def python_findings(system: System, interpreter: Interpreter) -> Iterator[Finding]:
    """Its version and environment."""
    shown = f"{interpreter.version[0]}.{interpreter.version[1]}"
    where = "of the system"
    if interpreter.virtual:
        where = f"in a virtual environment that {'sees' if interpreter.sees_system else 'does not see'} the system's"
    old = interpreter.version < _OLDEST
    yield Finding(
        "Python",
        WRONG if old else OK,
        f"{shown}, {where}" + (" packages" if interpreter.virtual else ""),
        "use Python 3.8 or later" if old else "",
        stops=old,
    )
    version, reason = interpreter.version_of("numpy")
    fix = pip_install(system, interpreter, "numpy")
    yield Finding("numpy", OK, version) if version else Finding("numpy", WRONG, reason, fix, stops=True)


def backend_findings(system: System, interpreter: Interpreter, manifest: Manifest | None) -> Iterator[Finding]:
    """The backends that pip has, and tokenizers; one that is missing is wrong where a bundle names it."""
    wanted = () if manifest is None else manifest.backends
    for name in PIP_BACKENDS:
        version, reason = interpreter.version_of(name)
        fix = pip_install(system, interpreter, name)
        if version is None:
            state = WRONG if name in wanted else OK
            yield Finding(name, state, reason if name in wanted else "not installed", fix if name in wanted else "")
        elif name == "openvino" and _year(version) < _OLDEST_OPENVINO:
            upgrade = pip_install(system, interpreter, f"'openvino>={_OLDEST_OPENVINO}'")
            yield Finding(name, WRONG, f"{version} does not read the graphs of fp16 and int8", upgrade)
        else:
            yield Finding(name, OK, version)
    if manifest is None and not any(interpreter.version_of(name)[0] for name in (*PIP_BACKENDS, "tensorrt")):
        fix = pip_install(system, interpreter, "onnxruntime")
        yield Finding("backends", WRONG, "there is none", fix, stops=True)
    if manifest is not None and manifest.language is not None:
        yield _tokenizers(system, interpreter)


def _year(version: str) -> int:
    year = version.partition(".")[0]
    return int(year) if year.isdigit() else _OLDEST_OPENVINO


def _tokenizers(system: System, interpreter: Interpreter) -> Finding:
    version, reason = interpreter.version_of("tokenizers")
    if version is not None:
        return Finding("tokenizers", OK, version)
    # From 0.21 on there is no wheel for Python 3.8.
    package = "'tokenizers<0.21'" if interpreter.version < (3, 9) else "tokenizers"
    fix = pip_install(system, interpreter, package)
    return Finding("tokenizers", WRONG, f"{reason}: frames are read, words are not", fix)


def pip_install(system: System, interpreter: Interpreter, package: str) -> str:
    """The command that installs a package here; a Python that the system manages takes none (PEP 668)."""
    managed = f"/usr/lib/python{interpreter.version[0]}.{interpreter.version[1]}/EXTERNALLY-MANAGED"
    if not interpreter.virtual and system.exists(managed):
        return f"python3 -m venv --system-site-packages env && env/bin/pip install {package}"
    return f"python3 -m pip install {package}"
