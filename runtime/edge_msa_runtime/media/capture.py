"""What microphones and cameras share: bounded queues, and files that are played in their place."""

from __future__ import annotations

import abc
import collections
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Iterator, TypeVar

if TYPE_CHECKING:
    from types import TracebackType

FILE_PREFIX = "file:"
"""`file:PATH` as the name of a device plays a file at its own speed, to try a command without the device."""

PATIENCE = 5.0
"""A device that delivers nothing for so many seconds has probably been unplugged."""

_T = TypeVar("_T")
_Device = TypeVar("_Device", bound="CaptureDevice[Any]")


class BoundedQueue(Generic[_T]):
    """A queue between the thread of a device and the program. A full queue refuses new items and counts them.

    Args:
        size: items that it holds.
    """

    def __init__(self, size: int) -> None:
        self._items: collections.deque[_T] = collections.deque()
        self._size = size
        self._changed = threading.Condition()
        self._end: Exception | None = None
        self._ended = False
        self.lost = 0

    def put(self, item: _T) -> bool:
        """Add an item; return whether there was room for it. Never waits."""
        with self._changed:
            if len(self._items) >= self._size:
                self.lost += 1
                return False
            self._items.append(item)
            self._changed.notify_all()
            return True

    def replace(self, item: _T) -> None:
        """Add an item. If the queue is full, the oldest item is lost."""
        with self._changed:
            if len(self._items) >= self._size:
                self._items.popleft()
                self.lost += 1
            self._items.append(item)
            self._changed.notify_all()

    def end(self, error: Exception | None = None) -> None:
        """State that no more items come, and why if that is an error. Only the first call counts."""
        with self._changed:
            if not self._ended:
                self._ended, self._end = True, error
                self._changed.notify_all()

    def get(self, timeout: float | None) -> _T | None:
        """Return the oldest item; None after `timeout` seconds without one, or if no more come.

        Raises:
            Exception: the one that `end` got, once after the last item.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._ended, timeout)
            if self._items:
                return self._items.popleft()
            error, self._end = self._end, None
            if error is not None:
                raise error
            return None

    @property
    def ended(self) -> bool:
        """Whether no more items come."""
        with self._changed:
            return self._ended and not self._items


class CaptureDevice(abc.ABC, Generic[_T]):
    """A microphone or a camera. Iterate until the recording ends, and use it in a `with` block, which releases it."""

    @abc.abstractmethod
    def read(self, timeout: float | None = PATIENCE) -> _T | None:
        """Return the next item; None after the timeout, or if the recording has ended."""

    @abc.abstractmethod
    def close(self) -> None:
        """Release the device."""

    def __iter__(self) -> Iterator[_T]:
        while True:
            item = self.read(timeout=None)
            if item is None:
                return
            yield item

    def __enter__(self: _Device) -> _Device:  # noqa: PYI019 - typing.Self needs Python 3.11
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class Pacer:
    """Waits until the time of each item of a recording has come, as if a device delivered it."""

    def __init__(self) -> None:
        self._started: float | None = None
        self._stopped = threading.Event()

    def wait(self, item_time: float) -> bool:
        """Wait until `item_time` seconds after the first call; return False if `stop` was called."""
        if self._started is None:
            self._started = time.monotonic() - item_time
        return not self._stopped.wait(max(0.0, self._started + item_time - time.monotonic()))

    def stop(self) -> None:
        """End the current wait and all further ones."""
        self._stopped.set()


def stand_in_file(device: str) -> Path | None:
    """Return the file that is played in place of a device, or None."""
    return Path(device[len(FILE_PREFIX) :]) if device.startswith(FILE_PREFIX) else None


def one_line(error: Any) -> str:
    """Return the text of an error in one line."""
    return " ".join(str(error).split()) or type(error).__name__
