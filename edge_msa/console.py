"""What commands say: results on stdout, remarks on stderr, JSON as the last line of stdout.

Of several training processes (torchrun, fabric run) the first one speaks.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def say(text: str) -> None:
    """A result."""
    if _speaks():
        print(text, flush=True)


def step(name: str) -> None:
    """The next of several steps begins."""
    say(f"== {name}")


def remark(text: str) -> None:
    """Something to know that is not a result."""
    if _speaks():
        print(text, file=sys.stderr, flush=True)


def remarks(lines: Iterable[str]) -> None:
    """Each line once."""
    for line in dict.fromkeys(lines):
        remark(f"note: {line}")


def say_json(value: Mapping[str, Any]) -> None:
    """One compact line."""
    print(json.dumps(value, separators=(",", ":")), flush=True)


def made(what: str, path: Path, following: str | None = None) -> None:
    """The last lines of a command: what was made, its size, and the command that comes next, its path for a shell."""
    say(f"{what}: {path} ({size_text(size_of(path))})")
    if following:
        say(f"next: {following.replace(str(path), shlex.quote(str(path)))}")


def metrics_line(metrics: Mapping[str, Any]) -> str:
    """Validation numbers on one line."""
    return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def size_text(size: int) -> str:
    """Bytes for people."""
    if size < 1000:
        return f"{size} B"
    return f"{size / 1e3:.0f} KB" if size < 1e6 else f"{size / 1e6:.1f} MB"


def shows_progress() -> bool:
    """Whether somebody watches stderr."""
    return sys.stderr.isatty()


def _speaks() -> bool:
    return os.environ.get("RANK", "0") == "0"
