"""File locks between commands that write to the same place."""

from __future__ import annotations

import contextlib
import os
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
    file = path.with_name(f".{path.name}.lock")
    with contextlib.ExitStack() as stack:
        if os.name == "posix":
            locked = stack.enter_context(_posix_lock(file))
        else:
            lock = FileLock(file)  # removes its file itself
            with contextlib.suppress(Timeout):
                stack.enter_context(lock.acquire(timeout=0))
            locked = lock.is_locked
        if not locked:
            raise RunError(f"Another command is writing {path}. Wait until it ends, or choose another --output-dir.")
        yield


@contextlib.contextmanager
def _posix_lock(file: Path) -> Iterator[bool]:
    """Create and lock a file, and remove it afterwards. Yield False if another process holds the lock."""
    handle = _lock(file)
    if handle is None:
        yield False
        return
    try:
        yield True
    finally:
        file.unlink(missing_ok=True)  # while it is locked
        os.close(handle)


def _lock(file: Path) -> int | None:
    """Create and lock a file, and return its handle. Return None if another process holds the lock.

    FileLock is not used, because it does not say whether the file that it locked still exists.
    """
    import fcntl

    while True:
        handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(handle), file.stat()):
                return handle
        except FileNotFoundError:  # removed by the process that held the lock: try again
            pass
        except BlockingIOError:
            os.close(handle)
            return None
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


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
