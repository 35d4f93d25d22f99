"""What is asked of the operating system, in one object: tests give a folder in place of `/`, and their own commands."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path
from typing import Callable, Sequence

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
