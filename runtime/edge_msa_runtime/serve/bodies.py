"""Bodies of requests, read within a limit and a time, and with a total limit of memory."""

from __future__ import annotations

import asyncio
import collections
import contextlib
from typing import TYPE_CHECKING, AsyncIterator

from edge_msa_runtime.serve.guard import RefusedError

if TYPE_CHECKING:
    from starlette.requests import Request

SMALL_BYTES = 64 * 1024
"""Bodies of at most this size are not refused because of others, so that large and slow ones keep nobody out."""


async def read_chunks(request: Request, limit: int, seconds: float) -> AsyncIterator[bytes]:
    """Yield the body of a request in chunks.

    Args:
        request: the request.
        limit: largest number of bytes.
        seconds: time in which the body must arrive.

    Raises:
        RefusedError: the body is too large, too slow or incomplete.
    """
    from starlette.requests import ClientDisconnect

    stated = request.headers.get("content-length", "0")
    if not stated.isdigit() or int(stated) > limit:
        raise _too_large(limit, stated)
    loop = asyncio.get_running_loop()
    end, total = loop.time() + seconds, 0
    chunks = request.stream().__aiter__()
    while True:
        try:
            chunk = await asyncio.wait_for(chunks.__anext__(), max(0.001, end - loop.time()))
        except StopAsyncIteration:
            return
        except asyncio.TimeoutError:
            raise RefusedError(408, f"A request must arrive within {seconds:g} s. Send it again.") from None
        except ClientDisconnect:
            raise RefusedError(400, "The connection ended before the body of the request was complete.") from None
        total += len(chunk)
        if total > limit:
            raise _too_large(limit, f"at least {total}")
        yield chunk


class Bodies:
    """Bodies in memory, with a total limit. Small ones are never refused because of it.

    Args:
        total: bytes of all bodies.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._held = 0

    async def read(self, request: Request, limit: int, seconds: float) -> bytes:
        """Return a body. Call `release` with its length when it is not needed any more.

        Raises:
            RefusedError: the body is too large, too slow or incomplete, or there are too many others.
        """
        chunks = []
        held = 0
        try:
            async for chunk in read_chunks(request, limit, seconds):
                self._hold(len(chunk), is_small=held + len(chunk) <= SMALL_BYTES)
                held += len(chunk)
                chunks.append(chunk)
            return b"".join(chunks)
        except BaseException:
            self.release(held)
            raise

    def _hold(self, count: int, *, is_small: bool) -> None:
        if self._held + count > self._total and not is_small:
            raise RefusedError(
                503, f"The limit of {self._total} bytes for all requests is reached. Send this one again later."
            )
        self._held += count

    def release(self, count: int) -> None:
        """Let others use the memory of a body."""
        self._held -= count


class Turns:
    """Lets requests do something in the order in which they come, and only a few at the same time.

    Args:
        size: sum of the sizes of those at the same time.
    """

    def __init__(self, size: int) -> None:
        self._free = size
        self._waiting: collections.deque[tuple[int, asyncio.Event]] = collections.deque()

    @contextlib.asynccontextmanager
    async def take(self, size: int, seconds: float | None = None) -> AsyncIterator[None]:
        """Wait for a turn, which ends with the context.

        Args:
            size: of this one, at most that of all.
            seconds: time to wait; None for no limit.

        Raises:
            asyncio.TimeoutError: the turn did not come in time.
        """
        place = (size, asyncio.Event())
        self._waiting.append(place)
        self._admit()
        try:
            await asyncio.wait_for(place[1].wait(), seconds)
            yield
        finally:
            if place[1].is_set():
                self._free += size
            else:
                self._waiting.remove(place)
            self._admit()

    def _admit(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._free:
            size, admitted = self._waiting.popleft()
            self._free -= size
            admitted.set()


def _too_large(limit: int, got: str) -> RefusedError:
    return RefusedError(413, f"A request of this kind must have at most {limit} bytes, got {got:.40}. Send less.")
