"""Memory and turns of requests, without a server."""

from __future__ import annotations

import asyncio
from typing import Any, AsyncIterator, Awaitable, Callable, Sequence

import pytest

from edge_msa_runtime.serve.bodies import SMALL_BYTES, Bodies, Turns
from edge_msa_runtime.serve.guard import RefusedError

pytest.importorskip("starlette", reason="the extra serve is not installed")


class Request:
    """A request whose body comes in chunks; it waits before the last one, as a slow client does."""

    def __init__(self, chunks: Sequence[int], gate: asyncio.Event | None = None) -> None:
        self.headers: dict[str, str] = {}
        self._chunks = chunks
        self._gate = gate

    async def stream(self) -> AsyncIterator[bytes]:
        for index, size in enumerate(self._chunks):
            if self._gate is not None and index == len(self._chunks) - 1:
                await self._gate.wait()
            yield bytes(size)


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 5))


def test_bodies_have_a_total_limit_that_spares_small_ones() -> None:
    async def check() -> None:
        bodies, gate = Bodies(1_000_000), asyncio.Event()

        def read(*chunks: int) -> Any:
            return bodies.read(Request(chunks), 1_000_000, 5)  # type: ignore[arg-type]

        slow = asyncio.ensure_future(bodies.read(Request([890_000, 1], gate), 1_000_000, 5))  # type: ignore[arg-type]
        await asyncio.sleep(0.01)
        with pytest.raises(RefusedError, match="The limit of 1000000 bytes for all requests is reached") as error:
            await read(100_000, 100_000)
        assert error.value.status == 503
        assert len(await read(SMALL_BYTES)) == SMALL_BYTES
        bodies.release(SMALL_BYTES)
        assert len(await read(100_000)) == 100_000  # what was refused does not count
        gate.set()
        bodies.release(len(await slow) + 100_000)
        assert len(await read(1_000_000)) == 1_000_000

    run(check)


def test_turns_come_in_order_and_within_the_size() -> None:
    async def check() -> None:
        turns, log = Turns(10), []

        async def work(name: str, size: int) -> None:
            async with turns.take(size):
                log.append(f"+{name}")
                await asyncio.sleep(0.01)
                log.append(f"-{name}")

        await asyncio.gather(work("a", 6), work("b", 6), work("c", 4))
        assert log[:3] == ["+a", "-a", "+b"]  # c fits beside a, but b was first
        assert log.index("+c") < log.index("-b")

    run(check)


def test_a_turn_that_does_not_come_is_given_up() -> None:
    async def check() -> None:
        turns = Turns(1)
        async with turns.take(1):
            with pytest.raises(asyncio.TimeoutError):
                async with turns.take(1, 0.01):
                    pass
            canceled = asyncio.ensure_future(turns.take(1).__aenter__())
            await asyncio.sleep(0)
            canceled.cancel()
        async with turns.take(1, 0.01):
            pass

    run(check)
