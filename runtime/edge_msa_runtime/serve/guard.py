"""The outermost layer of the application: it checks requests, adds headers, and answers errors in one line."""

from __future__ import annotations

import json
import logging
from typing import Mapping

from edge_msa_runtime.errors import EdgeMsaError, UsageError, first_line
from edge_msa_runtime.serve.security import (
    Application,
    HostNames,
    Message,
    Receive,
    Scope,
    Send,
    check_headers,
    response_headers,
)

LOGGER = logging.getLogger("edge_msa_runtime.serve")
_STARTS = {"http.response.start", "websocket.http.response.start", "websocket.accept", "websocket.close"}
INTERNAL = "The server failed. Its terminal says why."


class RefusedError(Exception):
    """A request that is answered with a status and one line.

    Attributes:
        status: status of HTTP.
        message: what is wrong, and what to do.
        headers: further headers of the response.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}


class Guard:
    """Wraps an application.

    Args:
        application: the application.
        names: accepted host names.

    Attributes:
        counts: number of `requests`, WebSockets included, and of those that were `refused` because of their headers.
    """

    def __init__(self, application: Application, names: HostNames) -> None:
        self._application = application
        self._names = names
        self.counts = {"requests": 0, "refused": 0}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or one WebSocket."""
        if scope["type"] not in {"http", "websocket"}:
            await self._application(scope, receive, send)
            return
        headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}
        problem: str | None = "A request must have one Host header."
        if sum(key.lower() == b"host" for key, _ in scope["headers"]) == 1:
            problem = check_headers(scope.get("method", "GET"), headers, self._names)
        self.counts["requests"] += 1
        if problem is not None:
            self.counts["refused"] += 1
            await refuse(scope, send, 403, problem)
            return
        own = response_headers(headers["host"])
        added = [(key.lower().encode(), value.encode("latin-1")) for key, value in own.items()]
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            started = started or message["type"] in _STARTS
            if message["type"].endswith("http.response.start"):
                message = {**message, "headers": [*message.get("headers", ()), *added]}
            await send(message)

        try:
            # With an `app`, Starlette raises an error for an unknown path instead of answering it.
            await self._application({**scope, "app": self}, receive, send_with_headers)
        except Exception as error:  # noqa: BLE001 - no client gets a stack trace
            if _has_left(scope, error):
                return
            status, text = explain(error)
            if not started:
                await refuse(scope, send_with_headers, status, text, headers=_headers_of(error))


def explain(error: Exception) -> tuple[int, str]:
    """Return the status and the line that answer an error. What is not the client's fault is logged."""
    from starlette.exceptions import HTTPException

    if isinstance(error, RefusedError):
        return error.status, error.message
    if isinstance(error, UsageError):
        return 422, str(error)
    if isinstance(error, HTTPException):
        return error.status_code, f"{error.detail}. The interface is described at /api.html."
    if isinstance(error, EdgeMsaError):
        LOGGER.warning("%s", error)
        return 500, str(error)
    LOGGER.warning("%s: %s", type(error).__name__, first_line(error))
    LOGGER.debug("", exc_info=error)
    return 500, INTERNAL


def _has_left(scope: Scope, error: Exception) -> bool:
    """Return whether a client has closed its connection."""
    from starlette.requests import ClientDisconnect
    from starlette.websockets import WebSocketDisconnect

    gone = (ClientDisconnect, WebSocketDisconnect, *((OSError,) if scope["type"] == "websocket" else ()))
    return isinstance(error, gone)


def _headers_of(error: Exception) -> Mapping[str, str]:
    return getattr(error, "headers", None) or {}


def error_body(message: str) -> bytes:
    """Return the body of a response that is an error."""
    return json.dumps({"error": message}).encode()


async def refuse(
    scope: Scope, send: Send, status: int, message: str, *, headers: Mapping[str, str] | None = None
) -> None:
    """Answer with a status and `{"error": message}`; a WebSocket is not accepted."""
    kind = "http.response"
    if scope["type"] == "websocket":
        kind = "websocket.http.response"
        if kind not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": 1008, "reason": message[:120]})
            return
    body = error_body(message)
    stated = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
    encoded = [(name.lower().encode(), value.encode("latin-1")) for name, value in stated.items()]
    await send({"type": f"{kind}.start", "status": status, "headers": encoded})
    await send({"type": f"{kind}.body", "body": body})
