"""Bodies of requests, read within a limit and a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, AsyncIterator

from edge_msa_runtime.serve.guard import RefusedError

if TYPE_CHECKING:
    from starlette.requests import Request


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


def _too_large(limit: int, got: str) -> RefusedError:
    return RefusedError(413, f"A request of this kind must have at most {limit} bytes, got {got:.40}. Send less.")
