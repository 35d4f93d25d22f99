"""Who runs a trial, and whether that process still lives.

On its own machine a process holds a lock file that the system frees when it ends, however it ends. From another machine
the lock says nothing: there the process is attended by a heartbeat that it writes into the storage.
"""

from __future__ import annotations

import os
import platform
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

from filelock import FileLock, Timeout

HEARTBEAT_SECONDS = 60.0
SILENCE_SECONDS = 900.0
"""Without a heartbeat for so long a process on another machine counts as ended."""


class WorkerLease:
    """This process: a name and a held lock file, for as long as it lives."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = (folder / f"{os.getpid()}-{uuid.uuid4().hex[:8]}.lock").resolve()
        self._lock = FileLock(self._path)
        self._lock.acquire()

    def to_json(self) -> dict[str, Any]:
        """What the storage keeps of it."""
        return {"host": platform.node(), "lock": str(self._path), "heartbeat": time.time()}

    def close(self) -> None:
        """Give the lock back."""
        self._lock.release()
        self._path.unlink(missing_ok=True)


def has_ended(lease: Mapping[str, Any]) -> bool:
    """Whether the process that `WorkerLease.to_json` describes is gone."""
    lock = Path(lease["lock"])
    if lease["host"] == platform.node() and lock.parent.is_dir():
        return not lock.exists() or _is_free(lock)
    return time.time() - float(lease["heartbeat"]) > SILENCE_SECONDS


def _is_free(lock: Path) -> bool:
    probe = FileLock(lock, timeout=0)
    try:
        probe.acquire()
    except Timeout:
        return False
    probe.release()
    lock.unlink(missing_ok=True)
    return True


@contextmanager
def keep_heartbeat(heartbeat: Callable[[], None]) -> Iterator[None]:
    """Call `heartbeat` once a minute, from a thread, until the block ends."""
    ended = Event()

    def run() -> None:
        while not ended.wait(HEARTBEAT_SECONDS):
            heartbeat()

    thread = Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
