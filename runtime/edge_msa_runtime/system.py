"""Files, commands and packages of the operating system.

Tests replace the root folder and the function that runs commands.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
from pathlib import Path
from typing import Callable, Sequence

# A vendor's tool that hangs must not block the caller.
_TIMEOUT_SECONDS = 20


def run_command(command: Sequence[str]) -> str | None:
    """Return what a command prints, or None if it does not exist, fails, or takes more than 20 seconds."""
    try:
        done = subprocess.run(
            list(command), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=_TIMEOUT_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace").strip()


@dataclasses.dataclass(frozen=True)
class System:
    """An operating system.

    Attributes:
        root: folder that contains its files.
        run: function that runs a command and returns its output, or None if the command failed.
    """

    root: Path = Path("/")
    run: Callable[[Sequence[str]], str | None] = run_command

    def read_text(self, path: str) -> str | None:
        """Return a file's text without surrounding blanks and zero bytes (of device trees); None if unreadable."""
        try:
            return (self.root / path.lstrip("/")).read_bytes().decode("utf-8", "replace").strip("\0 \n\t")
        except OSError:
            return None

    def read_matching(self, pattern: str) -> dict[str, str]:
        """Return the texts of all readable files that match a glob pattern, sorted by absolute path."""
        texts = {}
        for path in sorted(self.root.glob(pattern.lstrip("/"))):
            name = "/" + path.relative_to(self.root).as_posix()
            text = self.read_text(name)
            if text is not None:
                texts[name] = text
        return texts

    def exists(self, path: str) -> bool:
        """Return whether a file or folder exists."""
        return (self.root / path.lstrip("/")).exists()

    def installed_packages(self, pattern: str) -> dict[str, str]:
        """Return the versions of the installed Debian packages whose names match a pattern."""
        output = self.run(["dpkg-query", "-W", "-f", "${db:Status-Abbrev} ${Package} ${Version}\\n", pattern]) or ""
        rows = [line.split() for line in output.splitlines()]
        return {row[1]: row[2] for row in rows if len(row) == 3 and row[0] == "ii"}

    def is_writable(self, folder: Path) -> bool:
        """Return whether files can be written into a folder, or whether it can be created if it does not exist."""
        parent = self._nearest_existing(folder)
        return parent.is_dir() and os.access(str(parent), os.W_OK)

    def free_bytes(self, folder: Path) -> int | None:
        """Return the free space of the disk of a folder, which need not exist; None if it is unknown."""
        try:
            return shutil.disk_usage(str(self._nearest_existing(folder))).free
        except OSError:
            return None

    def is_container(self) -> bool:
        """Return whether this is a Docker or Podman container."""
        return self.exists("/.dockerenv") or self.exists("/run/.containerenv")

    def _nearest_existing(self, folder: Path) -> Path:
        path = self.root / folder.relative_to(folder.anchor)
        return next(parent for parent in (path, *path.parents) if parent.exists())
