"""Connections: limits for those without a request, and answers in JSON for what is not valid HTTP."""

from __future__ import annotations

import base64
import sys
from typing import TYPE_CHECKING, Any, Iterable

from edge_msa_runtime.errors import first_line
from edge_msa_runtime.serve.guard import error_body, refuse
from edge_msa_runtime.vendor_packages import import_package

if TYPE_CHECKING:
    from edge_msa_runtime.serve.limits import Limits
    from edge_msa_runtime.serve.security import Receive, Scope, Send

_KEY_BYTES = 16


def create_protocol(limits: Limits) -> Any:
    """Return uvicorn's protocol for HTTP with limits for connections without a request, and answers in JSON.

    Such connections would count as open for ever, and keep others out. They are closed if no complete header comes in
    time, and the oldest one as soon as there are too many connections.
    """
    h11: Any = import_package("h11")
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Protocol(H11Protocol):
        waits_since = 0.0
        is_refused = False

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._check(None)
            self.waits_since = self.loop.time()
            if len(self.connections) > limits.connections:
                self.is_refused = not _close_oldest(self.connections - {self}, h11.IDLE)
                self.app = _refuse_connection if self.is_refused else self.app

        def on_response_complete(self) -> None:
            self.waits_since = self.loop.time()
            super().on_response_complete()

        def _should_upgrade(self) -> bool:
            # The library for WebSockets would answer what is not valid, but not in JSON.
            return not self.is_refused and _is_websocket(self.headers) and bool(super()._should_upgrade())

        def send_400_response(self, msg: str) -> None:
            del msg
            for event in _bad_request(h11, sys.exc_info()[1]):
                self.transport.write(self.conn.send(event))
            self.transport.close()

        def _check(self, waiting: Any) -> None:
            """Close the connection if no header came since the call before."""
            if self not in self.connections or self.transport.is_closing():  # a WebSocket has another protocol
                return
            state = (self.cycle,) if self.conn.their_state is h11.IDLE else None
            if state is not None and waiting is not None and state[0] is waiting[0]:
                self.transport.close()
            else:
                self.loop.call_later(limits.header_seconds / 2, self._check, state)

    return Protocol


def _close_oldest(connections: Iterable[Any], idle: object) -> bool:
    """Close the connection that has waited longest for a request; return whether there was one."""
    waiting = [
        item
        for item in connections
        if hasattr(item, "waits_since")  # a WebSocket does not wait for a request
        and item.conn.their_state is idle
        and (item.cycle is None or item.cycle.response_complete)
    ]
    if not waiting:
        return False
    oldest = min(waiting, key=lambda item: item.waits_since)
    oldest.connections.discard(oldest)
    oldest.transport.close()
    return True


def _bad_request(h11: Any, error: BaseException | None) -> list[Any]:
    """Return the events of an answer to what is not valid HTTP."""
    body = error_body(f"The request is not valid HTTP: {first_line(error)}.")
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    response = h11.Response(status_code=400, headers=headers, reason=b"Bad Request")
    return [response, h11.Data(data=body), h11.EndOfMessage()]


def _is_websocket(headers: list[tuple[bytes, bytes]]) -> bool:
    """Return whether a request to upgrade has a version and a key that can be used."""
    values: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        values.setdefault(name, []).append(value.strip())
    keys = values.get(b"sec-websocket-key", [])
    if values.get(b"sec-websocket-version") != [b"13"] or len(keys) != 1:
        return False
    try:
        return len(base64.b64decode(keys[0], validate=True)) == _KEY_BYTES
    except ValueError:
        return False


async def _refuse_connection(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request for which there is no connection left."""
    del receive
    await refuse(scope, send, 503, "Too many connections are open. Try again later.", headers={"connection": "close"})
