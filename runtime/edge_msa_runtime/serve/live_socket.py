"""The WebSocket of a live stream: one browser, one stream."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
from typing import TYPE_CHECKING, Any, Mapping

from edge_msa_runtime.serve.guard import explain
from edge_msa_runtime.serve.live_stream import LiveStream, TooLateError
from edge_msa_runtime.serve.memory import release_free_memory
from edge_msa_runtime.serve.wire import Start, parse_control, parse_media
from edge_msa_runtime.wording import format_count

if TYPE_CHECKING:
    import threading

    from starlette.websockets import WebSocket

    from edge_msa_runtime.serve.service import Service

_POLICY, _INTERNAL, _TRY_LATER = 1008, 1011, 1013
_JOIN_SECONDS = 10.0
_CLOSE_SECONDS = 5.0
"""Time in which a browser must take the last message."""
_MAX_OUTGOING = 200
"""Messages that wait for a browser that does not read. Then the stream ends."""


class LiveStreams:
    """All live streams of the server.

    Args:
        service: what is served.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._open: set[_Conversation] = set()

    @property
    def count(self) -> int:
        """Number of live streams."""
        return len(self._open)

    async def serve(self, socket: WebSocket) -> None:
        """Serve one browser until it leaves, or is refused with one line."""
        limit = self._service.limits.clients
        await socket.accept()
        if len(self._open) >= limit:
            await _refuse(
                socket, _TRY_LATER, f"The limit of {format_count(limit, 'live stream')} is reached. Close one of them."
            )
            return
        conversation = _Conversation(self._service, socket)
        self._open.add(conversation)
        try:
            await conversation.run()
        finally:
            self._open.discard(conversation)
            self._service.work.start(release_free_memory, "memory")


class _StreamEndedError(Exception):
    """A stream that ends, with the code of the WebSocket and one line."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class _Conversation:
    """One browser."""

    def __init__(self, service: Service, socket: WebSocket) -> None:
        self._service = service
        self._socket = socket
        self._outgoing: asyncio.Queue[str | None] = asyncio.Queue()
        self._problem: tuple[int, str] | None = None
        self._is_full = asyncio.Event()

    async def run(self) -> None:
        """Talk until one side ends."""
        from starlette.websockets import WebSocketDisconnect

        try:
            start = await self._start()
            if start is None:
                return
            await self._talk(start)
        except _StreamEndedError as end:
            await _refuse(self._socket, end.code, end.message)
        except WebSocketDisconnect:  # while something was sent
            return

    async def _start(self) -> Start | None:
        limits = self._service.limits
        try:
            message = await asyncio.wait_for(self._socket.receive(), limits.start_seconds)
        except asyncio.TimeoutError:
            raise _StreamEndedError(
                _POLICY, f"The first message must come within {limits.start_seconds:g} s. Connect again."
            ) from None
        if message["type"] != "websocket.receive":
            return None
        try:
            start = parse_control(_text(message))
            if not isinstance(start, Start):
                raise ValueError("the first message must be of the type start")  # noqa: TRY004, TRY301
            self._check_start(start)
        except ValueError as error:
            raise _StreamEndedError(_POLICY, f"The message cannot be used: {error}.") from None
        return start

    def _check_start(self, start: Start) -> None:
        service = self._service
        if start.sound_rate is not None and not service.needs_sound:
            raise ValueError("this server uses no sound, so sound_rate must be null")
        if start.pictures and not service.needs_pictures:
            raise ValueError("this server uses no pictures, so pictures must be false")
        if start.words is not None and start.words not in service.word_sources:
            raise ValueError(f"words must be one of {', '.join(service.word_sources) or 'null'}, got {start.words}")
        if start.sound_rate is None and not start.pictures and start.words is None:
            raise ValueError("there must be sound, pictures or words")

    async def _talk(self, start: Start) -> None:
        loop = asyncio.get_running_loop()
        work = self._service.work

        def send(value: Mapping[str, Any]) -> None:
            with contextlib.suppress(RuntimeError):  # the server has ended
                loop.call_soon_threadsafe(self._queue, value)

        try:  # in a thread, because front ends load models
            stream = await work.run(LiveStream, self._service, start, send)
        except Exception as error:
            raise _StreamEndedError(_INTERNAL, explain(error)[1]) from error
        stream.open()
        self._queue({"type": "ready"})
        thread = work.start(functools.partial(self._play, stream, loop), "live stream")
        done: set[asyncio.Future[Any]] = set()
        sender = asyncio.ensure_future(self._send_all())
        receiver = asyncio.ensure_future(self._receive_all(stream, start))
        full = asyncio.ensure_future(self._is_full.wait())  # the sender waits for the browser then
        try:
            done, _ = await asyncio.wait({sender, receiver, full}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            closed = work.run(_close, stream, thread)  # also if this task is canceled
            for task in (sender, receiver, full):
                task.cancel()
            await asyncio.gather(sender, receiver, full, return_exceptions=True)
            await asyncio.wait({closed}, timeout=_JOIN_SECONDS)
            # Exceptions refer to this function, and what it refers to would stay in memory.
            done.clear()
            del stream, thread, task, sender, receiver, full, closed
        if self._problem is not None:
            raise _StreamEndedError(*self._problem)

    def _play(self, stream: LiveStream, loop: asyncio.AbstractEventLoop) -> None:
        """Run the stream in its thread."""
        problem = None
        try:
            stream.play()
        except Exception as error:  # noqa: BLE001 - answered in one line
            problem = explain(error)[1]
        with contextlib.suppress(RuntimeError):  # the server has ended
            loop.call_soon_threadsafe(self._end, problem)

    def _end(self, problem: str | None) -> None:
        if problem is not None:
            self._problem = (_INTERNAL, problem)
        self._outgoing.put_nowait(None)

    def _queue(self, value: Mapping[str, Any]) -> None:
        if self._outgoing.qsize() >= _MAX_OUTGOING:
            self._problem = (_POLICY, "The browser does not read its messages. Connect again.")
            self._is_full.set()
            return
        self._outgoing.put_nowait(json.dumps(value, separators=(",", ":")))

    async def _send_all(self) -> None:
        while True:
            text = await self._outgoing.get()
            if text is None:
                return
            await self._socket.send_text(text)

    async def _receive_all(self, stream: LiveStream, start: Start) -> None:
        limits = self._service.limits
        has_media = start.sound_rate is not None or start.pictures
        idle = limits.idle_seconds if has_media else limits.typing_seconds
        while True:
            try:
                message = await asyncio.wait_for(self._socket.receive(), idle)
            except asyncio.TimeoutError:
                raise _StreamEndedError(_POLICY, f"No message for {idle:g} s. Connect again to go on.") from None
            if message["type"] != "websocket.receive":
                return
            try:
                if message.get("bytes") is not None:
                    stream.push(parse_media(message["bytes"]))
                else:
                    stream.push(parse_control(_text(message)))
            except ValueError as error:
                raise _StreamEndedError(_POLICY, f"The message cannot be used: {error}.") from None
            except TooLateError as error:
                raise _StreamEndedError(_TRY_LATER, str(error)) from None
            while stream.waiting_seconds > limits.sound_seconds:  # noqa: ASYNC110 - of a thread
                # Nothing more is read meanwhile, so the browser waits.
                await asyncio.sleep(0.02)


def _close(stream: LiveStream, thread: threading.Thread) -> None:
    stream.close()
    thread.join()


def _text(message: Mapping[str, Any]) -> str:
    text = message.get("text")
    if not isinstance(text, str):
        raise ValueError("the message must be text")  # noqa: TRY004
    return text


async def _refuse(socket: WebSocket, code: int, message: str) -> None:
    """Say why the stream ends, and close it."""
    from starlette.websockets import WebSocketDisconnect

    async def send() -> None:
        await socket.send_text(json.dumps({"type": "error", "message": message}))
        await socket.close(code)

    try:
        await asyncio.wait_for(send(), _CLOSE_SECONDS)
    except (WebSocketDisconnect, RuntimeError, asyncio.TimeoutError):  # the browser has left, or does not read
        return
