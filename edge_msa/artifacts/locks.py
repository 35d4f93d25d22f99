"""File locks between commands that write to the same place."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from edge_msa.console import print_note
from edge_msa.errors import RunError


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock of `path`, and remove the lock file afterwards.

    Raises:
        RunError: Another command holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise RunError(
            f"Another command is writing {path}. Wait until it ends, or choose another --output-dir."
        ) from None
    try:
        yield
    finally:
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)


@contextlib.contextmanager
def wait_for_turn(path: Path, description: str) -> Iterator[None]:
    """Hold the lock for making `path`. If another process holds it, print a note on stderr and wait.

    This lock is independent of `exclusive`, so the body may make a run at `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(f".{path.name}.queue"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print_note(f"waiting for another process that is making {description}")
        lock.acquire(poll_interval=0.5)
    try:
        yield
    finally:
        lock.release()
