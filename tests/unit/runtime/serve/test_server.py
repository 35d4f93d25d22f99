from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Iterator

import numpy as np
import pytest

from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.serve.live_stream import LiveStream
from edge_msa_runtime.serve.server import Server, address_of, open_socket
from edge_msa_runtime.serve.uploads import Uploads
from tests.unit.runtime.serve.stand_ins import LOCAL_NAMES

pytest.importorskip("starlette", reason="the extra serve is not installed")
pytest.importorskip("av", reason="the extra audio is not installed")
pytest.importorskip("uvicorn", reason="the extra serve is not installed")
pytest.importorskip("websockets", reason="the extra serve is not installed")
# Old versions of uvicorn, the newest for Python 3.8, use what websockets calls legacy.
UPGRADE = (
    b"GET /live HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
SECONDS = 60.0
"""How long to wait for what must happen."""


class Endless:
    """A server that does not end when it should."""

    started = True
    should_exit = False
    end = threading.Event()

    def run(self, sockets: object) -> None:
        del sockets
        self.end.wait(60)


@pytest.fixture(scope="module")
def port(make_service: Callable[..., Any]) -> Iterator[int]:
    """Serve a bundle of language and audio on a free port."""
    service = make_service(text=True, message_bytes=100_000, json_bytes=1000)
    with open_socket("127.0.0.1", 0) as listener, Server(service, listener, LOCAL_NAMES):
        yield listener.getsockname()[1]


def ask(port: int, request: bytes) -> bytes:
    """Send bytes, and return the answer until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", port), SECONDS) as connection:
        with contextlib.suppress(ConnectionError):  # the server has refused it before its end
            connection.sendall(request)
        parts = []
        while True:
            try:
                part = connection.recv(65536)
            except ConnectionResetError:  # the server has not read everything
                part = b""
            parts.append(part)
            if not part:
                return b"".join(parts)


def connect(port: int, **options: Any) -> Any:
    from websockets.sync.client import connect as open_websocket

    return open_websocket(f"ws://127.0.0.1:{port}/live", **options)


def test_a_taken_port_is_refused_in_one_line() -> None:
    with open_socket("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with (  # noqa: SIM117 - Python 3.8
            pytest.raises(UsageError, match=f"Cannot listen on 127.0.0.1: another program uses port {port}")
        ):
            with open_socket("127.0.0.1", port):
                pass


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("no such host", "--host must be an IP address or a name of this machine, got 'no such host'."),
        ("192.0.2.1", "Cannot listen on 192.0.2.1: this machine does not have the address 192.0.2.1."),
    ],
)
def test_an_address_of_another_machine_is_refused(host: str, message: str) -> None:
    with pytest.raises(UsageError, match="^" + message), open_socket(host, 0):
        pass


def test_addresses_are_for_a_browser_on_this_machine() -> None:
    with open_socket("0.0.0.0", 0) as listener:  # noqa: S104 - for a moment
        assert address_of(listener) == f"http://127.0.0.1:{listener.getsockname()[1]}/"
    with open_socket("localhost", 0) as listener:
        assert address_of(listener).endswith(f":{listener.getsockname()[1]}/")


def test_requests_are_answered(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    connection.request("POST", "/predict", json.dumps({"text": "i love it"}), {"content-type": "application/json"})
    assert json.load(connection.getresponse())["subset"] == "l"
    connection.close()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n",
        b"GET /live HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n\r\n",
        (
            b"GET /live HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n"
            b"Sec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n"
        ),
    ],
)
def test_malformed_requests_are_refused_without_a_stack_trace(port: int, request_bytes: bytes) -> None:
    answer = ask(port, request_bytes)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split(b" ")[1] in {b"400", b"403", b"426"}
    assert set(json.loads(body)) == {"error"}


def test_a_websocket_elsewhere_is_refused_in_one_line(port: int) -> None:
    head, _, body = ask(port, UPGRADE.replace(b"/live", b"/health")).partition(b"\r\n\r\n")
    assert b" 404 " in head
    assert json.loads(body)["error"].startswith("WebSockets are at /live.")


def test_a_websocket_works_and_ends_cleanly(port: int) -> None:
    samples = np.full(8000, 0.5, "<f4").tobytes()
    with connect(port) as client:
        client.send(json.dumps({"type": "start", "sound_rate": 16000, "pictures": False, "words": "typed"}))
        assert json.loads(client.recv(SECONDS)) == {"type": "ready"}
        client.send(struct.pack("<B7xd", 1, 0.0) + samples)
        client.send(json.dumps({"type": "words", "text": "love", "time": 0.2}))
        while json.loads(client.recv(SECONDS)).get("subset") != "la":
            pass
    end = time.monotonic() + SECONDS
    while json.loads(ask(port, b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n").partition(b"\r\n\r\n")[2])[
        "live_streams"
    ]:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_message_that_is_too_large_ends_the_stream(port: int) -> None:
    from websockets.exceptions import ConnectionClosed

    with connect(port) as client:
        client.send(json.dumps({"type": "start", "sound_rate": 16000, "pictures": False, "words": None}))
        client.send(b"x" * 200_000)
        with contextlib.suppress(ConnectionClosed):  # 1009, unless the reset arrives first
            for text in client:
                assert json.loads(text)["type"] in {"ready", "status"}
    assert ask(port, b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n").startswith(b"HTTP/1.1 200")


def test_one_file_is_read_at_a_time(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    running: list[int] = []
    most: list[int] = []

    def predict(*_: object) -> dict[str, object]:
        running.append(1)
        most.append(len(running))
        time.sleep(0.1)
        running.pop()
        return {}

    monkeypatch.setattr(Uploads, "_predict", predict)
    request = b"POST /predict HTTP/1.0\r\nHost: localhost\r\nContent-Type: audio/wav\r\nContent-Length: 1\r\n\r\nx"
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: ask(port, request), range(2)))
    assert [answer.partition(b"\r\n")[0] for answer in answers] == [b"HTTP/1.1 200 OK"] * 2
    assert most == [1, 1]


def test_a_browser_whose_sound_waits_stays_connected(
    make_service: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import uvicorn

    class Config(uvicorn.Config):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **{"ws_ping_timeout": 0.1, "ws_ping_interval": 0.1, **options})

    monkeypatch.setattr(uvicorn, "Config", Config)
    monkeypatch.setattr(LiveStream, "waiting_seconds", 100.0)  # so that nothing more is read
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(open_socket("127.0.0.1", 0))
        stack.enter_context(Server(make_service(text=True), listener, LOCAL_NAMES))
        client = stack.enter_context(connect(listener.getsockname()[1], close_timeout=0.05))
        client.send(json.dumps({"type": "start", "sound_rate": 16000, "pictures": False, "words": None}))
        samples = np.full(1600, 0.5, "<f4").tobytes()
        for index in range(5):
            client.send(struct.pack("<B7xd", 1, index / 10) + samples)
        started = time.monotonic()
        while time.monotonic() - started < 0.3:
            client.send(struct.pack("<B7xd", 1, time.monotonic() - started) + samples)
            time.sleep(0.05)


def test_other_origins_cannot_connect(port: int) -> None:
    from websockets.exceptions import InvalidStatus

    for origin in ("http://evil.example", f"http://localhost:{port}"):
        with pytest.raises(InvalidStatus) as error, connect(port, origin=origin):
            pass
        assert error.value.response.status_code == 403
    with connect(port, origin=f"http://127.0.0.1:{port}"):
        pass


def test_the_server_ends_while_a_browser_is_connected(make_service: Callable[..., Any]) -> None:
    before = set(threading.enumerate())
    with open_socket("127.0.0.1", 0) as listener:
        server = Server(make_service(), listener, LOCAL_NAMES)
        with server:
            client = connect(listener.getsockname()[1])
            client.send(json.dumps({"type": "start", "sound_rate": 16000, "pictures": False, "words": None}))
            assert json.loads(client.recv(SECONDS)) == {"type": "ready"}
        assert server.has_ended
        client.close()
    end = time.monotonic() + SECONDS
    while any(thread.name.startswith("edge-msa") for thread in set(threading.enumerate()) - before):
        assert time.monotonic() < end, threading.enumerate()
        time.sleep(0.02)


def test_a_slow_request_does_not_keep_others_out(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), SECONDS) as slow:
        slow.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
        slow.sendall(b"Content-Length: 100\r\n\r\n{")
        assert ask(port, b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n").startswith(b"HTTP/1.1 200")


def test_connections_without_a_request_do_not_keep_others_out(make_service: Callable[..., Any]) -> None:
    service = make_service(text=True, connections=4, header_seconds=60.0)
    get = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    with open_socket("127.0.0.1", 0) as listener, contextlib.ExitStack() as stack:
        stack.enter_context(Server(service, listener, LOCAL_NAMES))
        port = listener.getsockname()[1]
        waiting = []
        for start in (b"", b"GET / HTTP/1.1\r\n", b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /", b""):
            waiting.append(stack.enter_context(socket.create_connection(("127.0.0.1", port), SECONDS)))
            waiting[-1].sendall(start)
        assert b" 200 " in ask(port, get)
        assert waiting[0].recv(1) == b""  # the oldest one


def test_connections_without_a_request_end(make_service: Callable[..., Any]) -> None:
    with open_socket("127.0.0.1", 0) as listener, contextlib.ExitStack() as stack:
        stack.enter_context(Server(make_service(text=True, header_seconds=0.1), listener, LOCAL_NAMES))
        assert ask(listener.getsockname()[1], b"GET / HTTP/1.1\r\n") == b""


def test_too_many_connections_are_refused_in_one_line(make_service: Callable[..., Any]) -> None:
    service = make_service(text=True, connections=1)
    with open_socket("127.0.0.1", 0) as listener, contextlib.ExitStack() as stack:
        stack.enter_context(Server(service, listener, LOCAL_NAMES))
        port = listener.getsockname()[1]
        stack.enter_context(connect(port))
        for request in (b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", UPGRADE):
            head, _, body = ask(port, request).partition(b"\r\n\r\n")
            assert b" 503 " in head
            assert json.loads(body) == {"error": "Too many connections are open. Try again later."}


def test_the_server_waits_for_a_recognizer_that_still_computes(
    make_service: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, ended = threading.Event(), threading.Event()

    def push(_: object, sound: object) -> list[object]:
        del sound
        begun.set()
        time.sleep(0.5)
        ended.set()
        return []

    monkeypatch.setattr("edge_msa_runtime.live.device_input._CLOSE_SECONDS", 0.05)
    monkeypatch.setattr("tests.unit.runtime.serve.stand_ins._Listener.push", push)
    before = set(threading.enumerate())
    with open_socket("127.0.0.1", 0) as listener, contextlib.ExitStack() as stack:
        server = Server(make_service(text=True, words=True), listener, LOCAL_NAMES)
        with server:
            client = stack.enter_context(connect(listener.getsockname()[1], close_timeout=0.1))
            client.send(json.dumps({"type": "start", "sound_rate": 16000, "pictures": False, "words": "recognized"}))
            client.send(struct.pack("<B7xd", 1, 0.0) + np.full(8000, 0.5, "<f4").tobytes())
            assert begun.wait(SECONDS)
        assert ended.is_set()
        assert server.has_ended
        for thread in set(threading.enumerate()) - before:
            if thread.name.startswith("edge-msa"):
                thread.join(SECONDS)
                assert not thread.is_alive()


def test_ctrl_c_does_not_make_the_server_seem_ended(
    make_service: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_msa_runtime.serve.server._END_SECONDS", 0.3)
    service = make_service()
    with open_socket("127.0.0.1", 0) as listener, contextlib.ExitStack() as stack:
        server = Server(service, listener, LOCAL_NAMES)
        monkeypatch.setattr(server, "_server", Endless())
        threading.Timer(0.2, signal.raise_signal, (signal.SIGINT,)).start()
        with pytest.raises(KeyboardInterrupt):
            stack.enter_context(server).wait()
        stack.close()
        assert not server.has_ended
        Endless.end.set()


def test_ctrl_c_at_the_start_ends_the_server(make_service: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with open_socket("127.0.0.1", 0) as listener:
        server = Server(make_service(), listener, LOCAL_NAMES)
        start = server._thread.start

        def start_and_interrupt() -> None:
            start()
            raise KeyboardInterrupt

        monkeypatch.setattr(server._thread, "start", start_and_interrupt)
        with pytest.raises(KeyboardInterrupt), server:
            pass
        assert server.has_ended


def test_the_server_does_not_wait_for_ever(make_service: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_msa_runtime.serve.server._END_SECONDS", 0.2)
    service = make_service()
    blocked = threading.Event()
    with open_socket("127.0.0.1", 0) as listener:
        server = Server(service, listener, LOCAL_NAMES)
        with server:
            service.work.start(blocked.wait, "test")
    assert not server.has_ended
    blocked.set()
    assert service.work.wait(SECONDS)


def test_a_websocket_is_not_closed_as_a_connection_without_a_request(make_service: Callable[..., Any]) -> None:
    service = make_service(text=True, header_seconds=0.5)
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(open_socket("127.0.0.1", 0))
        stack.enter_context(Server(service, listener, LOCAL_NAMES))
        opened = stack.enter_context(connect(listener.getsockname()[1]))
        time.sleep(0.8)
        opened.send(json.dumps({"type": "start", "sound_rate": None, "pictures": False, "words": "typed"}))
        assert json.loads(opened.recv(SECONDS)) == {"type": "ready"}
