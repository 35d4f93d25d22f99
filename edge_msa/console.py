"""What commands print: results on stdout, progress and notes on stderr, JSON as the only line of stdout.

The library is silent: outside of `messages` and `command_messages` nothing is printed, and notes go to the logger
`edge_msa`. On a terminal, a status line shows what happens and the elapsed time. Elsewhere, a line is printed when
nothing else was for 30 seconds. With several training processes (torchrun, `fabric run`), only the first one prints.
"""

from __future__ import annotations

import contextlib
import enum
import json
import logging
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO

from edge_msa import status_line
from edge_msa_runtime.wording import merge_split_notes

_TIMED_INTERVAL = 1.0
"""Seconds between two redraws of the status line while latency is measured."""
LIBRARY_LOGGERS = (
    "transformers",
    "huggingface_hub",
    "lightning_fabric",
    "lightning",
    "torch.onnx",
    "onnxscript",
)
"""Loggers of libraries whose messages a user needs only with `--verbose`."""
STEP_LOGGERS = ("edge_msa_export", "edge_msa_calibrate")
"""Loggers whose INFO records say what happens. The status line shows them."""
LOGGER = logging.getLogger("edge_msa")
"""Gets all notes (as warnings), progress (INFO) and details (DEBUG), printed or not."""
LOGGER.addHandler(logging.NullHandler())  # without it, Python prints warnings that no handler takes


@dataclass(frozen=True)
class Progress:
    """What a progress callback gets."""

    step: str
    """What progresses, e.g. `teacher: epoch`."""
    done: int
    """How many are done."""
    total: int | None
    """How many there are; None if that is not known."""
    text: str
    """One line for people, e.g. `epoch 3 of 20: loss 0.412`."""


ProgressCallback = Callable[[Progress], None]


class _Level(enum.IntEnum):
    """What is printed."""

    SILENT = 0
    RESULTS = 1
    MESSAGES = 2
    DETAILS = 3


@dataclass(frozen=True)
class _Settings:
    """What is printed in the current context, i.e. in the current thread."""

    level: _Level = _Level.SILENT
    json: bool = False
    """Whether stdout is for JSON only."""
    on_progress: ProgressCallback | None = None
    printed_notes: set[str] = field(default_factory=set)
    kept: list[Path] = field(default_factory=list)
    next_commands: list[str] = field(default_factory=list)


_settings: ContextVar[_Settings | None] = ContextVar("console_settings", default=None)
_has_full_width: ContextVar[bool] = ContextVar("full_width_tables", default=False)


@contextmanager
def messages(
    *, verbose: bool | None = None, quiet: bool = False, on_progress: ProgressCallback | None = None
) -> Iterator[None]:
    """Set what the body prints, in this thread. Every function of the Python API uses it.

    Args:
        verbose: Whether to print results, progress and notes. None and False leave it as it is: silent by default,
            and in a command of the command line as the user chose.
        quiet: Whether to print results only.
        on_progress: Called at every step of long work, in this thread. An exception that it raises ends the work.

    Raises:
        ValueError: `verbose` and `quiet` are both true.
    """
    if verbose and quiet:
        raise ValueError("verbose and quiet must not both be True. Pass one of them.")
    current = _current()
    level = _Level.RESULTS if quiet else max(current.level, _Level.MESSAGES) if verbose else current.level
    with _active(replace(current, level=level, on_progress=on_progress or current.on_progress)):
        yield


@contextmanager
def command_messages(
    name: str = "", *, details: bool = False, quiet: bool = False, json: bool = False
) -> Iterator[None]:
    """Print results, progress and notes of a command of the command line.

    Args:
        name: Name of the command, which the status line shows (default: the enclosing one).
        details: Whether to print details as well (`--verbose`).
        quiet: Whether to print results only (`--quiet`). Errors are printed as always.
        json: Whether stdout is for JSON only. Results are then printed on stderr.
    """
    level = _Level.DETAILS if details else _Level.RESULTS if quiet else _Level.MESSAGES
    with _active(replace(_current(), level=level, json=json)):
        if name and _prints_messages():
            status_line.start_command(name)
        yield


def _current() -> _Settings:
    # Without a block there is no command to which notes and kept progress could belong.
    return _settings.get() or _Settings()


@contextmanager
def _active(settings: _Settings) -> Iterator[None]:
    was_shown = _prints_messages()
    token = _settings.set(settings)
    is_shown = _prints_messages()
    try:
        with _library_levels(settings), contextlib.ExitStack() as stack:
            if is_shown:
                stack.enter_context(status_line.shown())
                if not was_shown:
                    stack.enter_context(_logged_steps())
            elif was_shown:
                stack.enter_context(status_line.hidden())
            yield
    finally:
        _settings.reset(token)


class _StepHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        """Show a record on the status line."""
        status_line.update(record.getMessage(), None)


@contextmanager
def _logged_steps() -> Iterator[None]:
    """Show what the packages below this one log about their steps."""
    loggers = [logging.getLogger(name) for name in STEP_LOGGERS]
    levels = [logger.level for logger in loggers]
    handler = _StepHandler(logging.INFO)
    for logger in loggers:
        logger.setLevel(logging.INFO)
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)


@contextmanager
def _library_levels(settings: _Settings) -> Iterator[None]:
    """Set the levels of the loggers of libraries."""
    before = {name: logging.getLogger(name).level for name in LIBRARY_LOGGERS}
    for name in LIBRARY_LOGGERS:
        logging.getLogger(name).setLevel(logging.INFO if settings.level >= _Level.DETAILS else logging.ERROR)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


def is_verbose() -> bool:
    """Return whether the user wants details (`--verbose`)."""
    return _current().level >= _Level.DETAILS


def report_progress(step: str, done: int, total: int | None, text: str) -> None:
    """Tell the callback and the status line how far long work is. It prints nothing that stays.

    Args:
        step: What progresses, e.g. `teacher: epoch`.
        done: How many are done.
        total: How many there are; None if that is not known.
        text: One line for people.
    """
    if not _is_first_process():
        return
    if _prints_messages():
        status_line.update(text, done / total if total else None)
    if (on_progress := _current().on_progress) is not None:
        on_progress(Progress(step, done, total, text))


def show_status(text: str, fraction: float | None = None) -> None:
    """Replace the text of the status line, for steps that are too small for callbacks.

    Args:
        text: What happens.
        fraction: How much is done, 0 to 1, for a progress bar (default: no bar).
    """
    if _prints_messages():
        status_line.update(text, fraction)


@contextmanager
def activity(text: str, *, is_timed: bool = False) -> Iterator[None]:
    """Show on the status line what the body does, with the elapsed time.

    Args:
        text: What happens, e.g. `Loading torch`.
        is_timed: Whether the body measures latency. The line is then drawn less often, so that it does not disturb.
    """
    if not _prints_messages():
        yield
        return
    with status_line.activity(text, _TIMED_INTERVAL if is_timed else status_line.REDRAW_INTERVAL):
        yield


def keep_progress(path: Path) -> None:
    """Record that a file or folder contains results from which the same command continues after an interruption."""
    kept = _current().kept
    if path not in kept:
        kept.append(path)


def kept_progress() -> tuple[Path, ...]:
    """Return the files and folders passed to `keep_progress` in the current `messages` block, in order."""
    return tuple(_current().kept)


def print_result(text: str) -> None:
    """Print a result to stdout, or to stderr if stdout is for JSON only and the command is not quiet."""
    settings = _current()
    if not _is_first_process() or settings.level < (_Level.MESSAGES if settings.json else _Level.RESULTS):
        return
    _print(text, _result_stream(settings))


def print_step(name: str) -> None:
    """Print the heading of the next step."""
    LOGGER.info("%s", name)
    if _prints_messages():
        stream = _result_stream(_current())
        _print(_styled(f"== {name}", "1", stream), stream)
        status_line.start_step(name)


def print_progress(text: str) -> None:
    """Print a progress message to stderr."""
    LOGGER.info("%s", text)
    if _prints_messages():
        _print(text, sys.stderr)


def print_detail(text: str) -> None:
    """Print to stderr what a user needs only with `--verbose`."""
    LOGGER.debug("%s", text)
    if is_verbose() and _is_first_process():
        _print(text, sys.stderr)


def print_notes(notes: Iterable[str], *, known: bool = False) -> None:
    """Print notes to stderr and log them: information that the user did not ask for but should know.

    A command prints each note once, no matter how many of its steps find it.

    Args:
        notes: The notes.
        known: Whether an earlier command has printed them. They are then details.
    """
    settings = _current()
    level = _Level.DETAILS if known else _Level.MESSAGES
    texts = dict.fromkeys(text.removeprefix("note: ") for text in notes)  # the message of a child process may be a note
    new = [note for note in texts if note not in settings.printed_notes]
    if not known or settings.level >= level:
        settings.printed_notes.update(new)
    for note in merge_split_notes(new):
        LOGGER.log(logging.DEBUG if known else logging.WARNING, "%s", note)
        if settings.level >= level and _is_first_process():
            _print(f"{_styled('note:', '33', sys.stderr)} {note}", sys.stderr)


def is_printed(note: str) -> bool:
    """Return whether the command has printed a note, so that a result need not repeat it."""
    settings = _current()
    return settings.level >= _Level.MESSAGES and note in settings.printed_notes


def print_note(note: str) -> None:
    """Print one note to stderr."""
    print_notes([note])


def print_json(value: Mapping[str, Any]) -> None:
    """Print a value as one compact line of JSON to stdout."""
    if _current().level > _Level.SILENT and _is_first_process():
        _print(json.dumps(value, separators=(",", ":")), sys.stdout)


def print_output(name: str, path: Path, next_command: str | None = None) -> None:
    """Print the file or folder that a command has written, its size, and the command to run next.

    Args:
        name: What was written.
        path: The file or folder.
        next_command: The command to run next (default: none). The path in it is quoted for the shell.
    """
    print_result(f"{name}: {path} ({format_size(total_size(path))})")
    if next_command:
        print_next(next_command.replace(str(path), shlex.quote(str(path))))


def print_next(command: str) -> None:
    """Print the command to run next, as it can be copied to a shell. A quiet command does not print it."""
    _current().next_commands.append(command)
    if _current().level >= _Level.MESSAGES:
        print_result(f"next: {command}")


def has_next() -> bool:
    """Return whether the command has printed a command to run next."""
    return bool(_current().next_commands)


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


@contextmanager
def full_width_tables() -> Iterator[None]:
    """Let tables in the body have any width, because they are not printed."""
    token = _has_full_width.set(True)
    try:
        yield
    finally:
        _has_full_width.reset(token)


def table_width() -> int | None:
    """Return how many characters the lines of a printed table may have; None if it is not printed on a terminal."""
    if _has_full_width.get():
        return None
    stream = _result_stream(_current())
    return status_line.terminal_width(stream) if _is_terminal(stream) else None


def _result_stream(settings: _Settings) -> TextIO:
    return sys.stderr if settings.json else sys.stdout


def _print(text: str, stream: TextIO) -> None:
    status_line.print_line(text, stream)


def _styled(text: str, code: str, stream: TextIO) -> str:
    """Return a text in a style of ANSI terminals, on terminals, unless the user has set NO_COLOR."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not _is_terminal(stream):
        return text
    return f"\x1b[{code}m{text}\x1b[0m"


def _is_terminal(stream: TextIO) -> bool:
    return stream.isatty()


def _prints_messages() -> bool:
    """Return whether this process prints progress and notes."""
    return _current().level >= _Level.MESSAGES and _is_first_process()


def _is_first_process() -> bool:
    return os.environ.get("RANK", "0") == "0"
