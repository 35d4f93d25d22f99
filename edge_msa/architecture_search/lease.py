"""Worker leases: they show which process runs a trial, and whether that process is still alive.

Each worker holds a lock file, which the operating system releases when the process ends, however it ends. Workers on
the same machine check this lock. Workers on other machines cannot, so each worker also writes a heartbeat into the
shared storage.
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
EXPIRY_SECONDS = 900.0
"""A lease on another machine expires this long after its last heartbeat."""


class WorkerLease:
    """The lease of this process: a lock file that is held until `close`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = (folder / f"{os.getpid()}-{uuid.uuid4().hex[:8]}.lock").resolve()
        self._lock = FileLock(self._path)
        self._lock.acquire()

    def to_json(self) -> dict[str, Any]:
        """Return the description for the storage: host, lock file and current time."""
        return {"host": platform.node(), "lock": str(self._path), "heartbeat": time.time()}

    def close(self) -> None:
        """Release the lock and delete its file."""
        self._lock.release()
        self._path.unlink(missing_ok=True)


def has_expired(lease: Mapping[str, Any]) -> bool:
    """Return whether the worker that `WorkerLease.to_json` describes has ended."""
    lock = Path(lease["lock"])
    if lease["host"] == platform.node() and lock.parent.is_dir():
        return not lock.exists() or _is_released(lock)
    return time.time() - float(lease["heartbeat"]) > EXPIRY_SECONDS


def _is_released(lock: Path) -> bool:
    probe = FileLock(lock, timeout=0)
    try:
        probe.acquire()
    except Timeout:
        return False
    probe.release()
    lock.unlink(missing_ok=True)
    return True


@contextmanager
def send_heartbeats(send: Callable[[], None]) -> Iterator[None]:
    """Call `send` once a minute from a thread until the block ends."""
    ended = Event()

    def run() -> None:
        while not ended.wait(HEARTBEAT_SECONDS):
            send()

    thread = Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
