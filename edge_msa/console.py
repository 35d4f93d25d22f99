"""What commands print: results on stdout, progress and notes on stderr, JSON as the last line of stdout.

With several training processes (torchrun, `fabric run`), only the first one prints.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LIBRARY_LOGGERS = (
    "transformers",
    "huggingface_hub",
    "lightning_fabric",
    "lightning",
    "torch.onnx",
    "onnxscript",
)
"""Loggers of libraries whose messages a user needs only with `--verbose`."""


@dataclass
class _Console:
    """What commands print in this process."""

    verbose: bool = False
    printed_notes: set[str] = field(default_factory=set)
    kept: list[Path] = field(default_factory=list)


_console = _Console()


def set_verbose(*, verbose: bool) -> None:
    """Turn details on or off, for this module and for the loggers of libraries."""
    _console.verbose = verbose
    for name in LIBRARY_LOGGERS:
        logging.getLogger(name).setLevel(logging.INFO if verbose else logging.ERROR)


def is_verbose() -> bool:
    """Return whether the user wants details (`--verbose`)."""
    return _console.verbose


def start_command() -> None:
    """Forget earlier commands of this process: their notes, their kept progress, and `--verbose`."""
    _console.printed_notes.clear()
    _console.kept.clear()
    set_verbose(verbose=False)


def keep_progress(path: Path) -> None:
    """Record that a file or folder contains results from which the same command continues after an interruption."""
    if path not in _console.kept:
        _console.kept.append(path)


def kept_progress() -> tuple[Path, ...]:
    """Return the files and folders passed to `keep_progress`, in order."""
    return tuple(_console.kept)


def print_result(text: str) -> None:
    """Print a result to stdout."""
    if _is_first_process():
        print(text, flush=True)


def print_step(name: str) -> None:
    """Print the heading of the next step to stdout."""
    print_result(f"== {name}")


def print_progress(text: str) -> None:
    """Print a progress message to stderr."""
    if _is_first_process():
        print(text, file=sys.stderr, flush=True)


def print_detail(text: str) -> None:
    """Print to stderr what a user needs only with `--verbose`."""
    if is_verbose():
        print_progress(text)


def print_notes(notes: Iterable[str], *, known: bool = False) -> None:
    """Print notes to stderr: information that the user did not ask for but should know.

    A command prints each note once, no matter how many of its steps find it.

    Args:
        notes: The notes.
        known: Whether an earlier command has printed them. They are then printed only with `--verbose`.
    """
    if known and not is_verbose():
        return
    for note in (text.removeprefix("note: ") for text in notes):  # the message of a child process may be a note
        if note not in _console.printed_notes:
            _console.printed_notes.add(note)
            print_progress(f"note: {note}")


def print_note(note: str) -> None:
    """Print one note to stderr."""
    print_notes([note])


def print_json(value: Mapping[str, Any]) -> None:
    """Print a value as one compact line of JSON to stdout."""
    print(json.dumps(value, separators=(",", ":")), flush=True)


def print_output(name: str, path: Path, next_command: str | None = None) -> None:
    """Print the file or folder that a command has written, its size, and the command to run next.

    Args:
        name: What was written.
        path: The file or folder.
        next_command: The command to run next (default: none). The path in it is quoted for the shell.
    """
    print_result(f"{name}: {path} ({format_size(total_size(path))})")
    if next_command:
        print_result(f"next: {next_command.replace(str(path), shlex.quote(str(path)))}")


def print_up_to_date(path: Path) -> None:
    """Print that a step is skipped because its output exists and its inputs have not changed."""
    print_result(f"Skipped: {path} is up to date.")


def format_metrics(metrics: Mapping[str, Any]) -> str:
    """Format metrics as one line."""
    return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())


def total_size(path: Path) -> int:
    """Return the size in bytes of a file, or of all files in a folder and its subfolders."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def format_size(size: int) -> str:
    """Format a number of bytes with a decimal unit."""
    if size < 1000:
        return f"{size} B"
    return f"{size / 1e3:.0f} KB" if size < 1e6 else f"{size / 1e6:.1f} MB"


def shows_progress() -> bool:
    """Return whether stderr is a terminal, so that progress bars are useful."""
    return sys.stderr.isatty()


def _is_first_process() -> bool:
    return os.environ.get("RANK", "0") == "0"
