"""What is asked of the operating system and of Python, in one object each.

Tests give a folder in place of `/`, commands of their own, and a Python that is not there.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Callable, Sequence

from edge_msa_runtime.backends.onnxruntime_backend import import_onnxruntime

# A tool of a vendor that hangs must not hang what asks it.
_PATIENCE_SECONDS = 20


def _run(command: Sequence[str]) -> str | None:
    """What a command prints, or None where it is not there or fails."""
    try:
        done = subprocess.run(
            list(command), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=_PATIENCE_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace").strip()


@dataclasses.dataclass(frozen=True)
class System:
    """A system whose files lie below `root` and whose commands answer through `run` (None: not there, or failed)."""

    root: Path = Path("/")
    run: Callable[[Sequence[str]], str | None] = _run

    def text(self, path: str) -> str | None:
        """A file's text without blanks and zero bytes (of device trees) at its ends; None if it is unreadable."""
        try:
            return (self.root / path.lstrip("/")).read_bytes().decode("utf-8", "replace").strip("\0 \n\t")
        except OSError:
            return None

    def texts(self, pattern: str) -> dict[str, str]:
        """The texts of all files that a pattern matches, by path from the root, in order; unreadable ones left out."""
        found = {}
        for path in sorted(self.root.glob(pattern.lstrip("/"))):
            name = "/" + path.relative_to(self.root).as_posix()
            text = self.text(name)
            if text is not None:
                found[name] = text
        return found

    def exists(self, path: str) -> bool:
        """Whether there is such a file or folder."""
        return (self.root / path.lstrip("/")).exists()

    def packages(self, pattern: str) -> dict[str, str]:
        """Versions of the installed Debian packages that a pattern matches, by name."""
        told = self.run(["dpkg-query", "-W", "-f", "${db:Status-Abbrev} ${Package} ${Version}\\n", pattern]) or ""
        rows = [line.split() for line in told.splitlines()]
        return {row[1]: row[2] for row in rows if len(row) == 3 and row[0] == "ii"}

    def can_write(self, folder: Path) -> bool:
        """Whether a folder can be written, or made where it is not there yet."""
        there = self._nearest(folder)
        return there.is_dir() and os.access(str(there), os.W_OK)

    def free_bytes(self, folder: Path) -> int | None:
        """Free space where a folder is or would be; None where the system does not tell."""
        try:
            return shutil.disk_usage(str(self._nearest(folder))).free
        except OSError:
            return None

    def _nearest(self, folder: Path) -> Path:
        path = self.root / folder.relative_to(folder.anchor)
        return next(parent for parent in (path, *path.parents) if parent.exists())


@dataclasses.dataclass(frozen=True)
class Interpreter:
    """A Python: `version`, the `machine` it is for, whether it is `virtual` and then `sees_system` packages.

    `load` imports a module and gives its version; it raises what the import raises.
    """

    version: tuple[int, int]
    machine: str
    virtual: bool
    sees_system: bool
    load: Callable[[str], str]

    def version_of(self, module: str) -> tuple[str | None, str]:
        """The version of a module, or None and why it cannot be imported."""
        try:
            return self.load(module), ""
        except Exception as error:  # noqa: BLE001 - a library that it lacks shows in as many ways as there are vendors
            lines = str(error).strip().splitlines()
            return None, lines[0] if lines else type(error).__name__


def this_interpreter() -> Interpreter:
    """The one that runs this."""
    try:
        told = (Path(sys.prefix) / "pyvenv.cfg").read_text(encoding="utf-8", errors="replace").lower()
    except OSError:
        told = ""
    settings = {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in told.splitlines())}
    return Interpreter(
        version=(sys.version_info[0], sys.version_info[1]),
        machine=platform.machine(),
        virtual=sys.prefix != sys.base_prefix,
        sees_system=settings.get("include-system-site-packages") == "true",
        load=_load,
    )


def _load(module: str) -> str:
    if module == "onnxruntime":
        import_onnxruntime()
    return str(getattr(importlib.import_module(module), "__version__", "") or "of no version")
