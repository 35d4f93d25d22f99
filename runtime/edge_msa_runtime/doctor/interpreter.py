"""The Python interpreter and the modules that it can import."""

from __future__ import annotations

import dataclasses
import importlib
import platform
import sys
from pathlib import Path
from typing import Callable

from edge_msa_runtime.backends.onnxruntime_backend import import_onnxruntime
from edge_msa_runtime.errors import first_line


@dataclasses.dataclass(frozen=True)
class Interpreter:
    """A Python interpreter.

    Attributes:
        version: major and minor version.
        architecture: processor architecture, as the system names it.
        is_virtual: whether it belongs to a virtual environment.
        sees_system_packages: whether that environment includes the system's packages.
        import_version: function that imports a module and returns its version. It raises whatever the import raises.
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

    def try_import(self, module: str) -> tuple[str | None, str]:
        """Return the version of a module and an empty text, or None and why it cannot be imported."""
        try:
            return self.import_version(module), ""
        except Exception as error:  # noqa: BLE001 - the exception for a missing library depends on the vendor
            return None, first_line(error)


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
    if module == "onnxruntime":
        import_onnxruntime()
    return str(getattr(importlib.import_module(module), "__version__", "") or "unknown version")
