"""The Python interpreter and the modules that it can import."""

from __future__ import annotations

import dataclasses
import platform
import sys
from pathlib import Path
from typing import Callable, NamedTuple, Optional

from edge_msa_runtime.errors import PackageImportError
from edge_msa_runtime.system import System
from edge_msa_runtime.vendor_packages import import_package


class ImportResult(NamedTuple):
    """The result of importing a module.

    Attributes:
        version: version of the module; None if it cannot be imported.
        reason: why it cannot be imported.
        requirement: what `pip install` must install to fix it.
        culprit: the package that is missing, damaged or of the wrong version.
    """

    version: Optional[str]  # noqa: UP045 - evaluated by Python 3.8
    reason: str = ""
    requirement: str = ""
    culprit: str = ""


@dataclasses.dataclass(frozen=True)
class Interpreter:
    """A Python interpreter.

    Attributes:
        version: major and minor version.
        architecture: processor architecture, as the system names it.
        is_virtual: whether it belongs to a virtual environment.
        sees_system_packages: whether that environment includes the system's packages.
        import_version: function that imports a module and returns its version. It raises a PackageImportError.
    """

    version: tuple[int, int]
    architecture: str
    is_virtual: bool
    sees_system_packages: bool
    import_version: Callable[[str], str]

    @property
    def version_text(self) -> str:
        """The version as `3.10`."""
        return f"{self.version[0]}.{self.version[1]}"

    def try_import(self, module: str) -> ImportResult:
        """Import a module, and return its version or why it cannot be imported."""
        try:
            return ImportResult(self.import_version(module))
        except PackageImportError as error:
            return ImportResult(None, error.reason, error.requirement, error.culprit)


def current_interpreter() -> Interpreter:
    """Return the interpreter that runs this code."""
    try:
        config = (Path(sys.prefix) / "pyvenv.cfg").read_text(encoding="utf-8", errors="replace").lower()
    except OSError:
        config = ""
    settings = {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in config.splitlines())}
    return Interpreter(
        version=(sys.version_info[0], sys.version_info[1]),
        architecture=platform.machine(),
        is_virtual=sys.prefix != sys.base_prefix,
        sees_system_packages=settings.get("include-system-site-packages") == "true",
        import_version=_import_version,
    )


def _import_version(module: str) -> str:
    return str(getattr(import_package(module), "__version__", "") or "unknown version").partition("-")[0]


def pip_install_command(system: System, interpreter: Interpreter, requirement: str) -> str:
    """Return the command that installs a requirement.

    A Python that the system's package manager controls does not accept pip (PEP 668) and needs an environment.
    """
    marker = f"/usr/lib/python{interpreter.version_text}/EXTERNALLY-MANAGED"
    if not interpreter.is_virtual and system.exists(marker):
        return f"python3 -m venv --system-site-packages env && env/bin/pip install {requirement}"
    return f"python3 -m pip install {requirement}"
