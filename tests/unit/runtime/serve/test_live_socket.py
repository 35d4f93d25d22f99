from __future__ import annotations

import asyncio
import gc
import json
import struct
import time
import weakref
from typing import Any, Callable, Iterator

import numpy as np
import pytest

from edge_msa_runtime.live.converter import Converter
from edge_msa_runtime.live.device_input import DeviceInput
from edge_msa_runtime.replay.player import Player
from edge_msa_runtime.serve.application import create_application
from edge_msa_runtime.serve.live_socket import LiveStreams
from edge_msa_runtime.serve.live_stream import LiveStream
from edge_msa_runtime.streams.stream import Stream
from tests.unit.runtime.serve.stand_ins import LOCAL_NAMES, Color, Loudness

pytest.importorskip("starlette", reason="the extra serve is not installed")
pytest.importorskip("av", reason="the extra audio is not installed")

RATE = 16_000
ADDRESS = "ws://127.0.0.1:8000/live"
START = {"type": "start", "sound_rate": RATE, "pictures": False, "words": None}


def sound(start: float, seconds: float, level: float = 0.5) -> bytes:
    samples = np.full(int(seconds * RATE), level, "<f4")
    return struct.pack("<B7xd", 1, start) + samples.tobytes()


def messages(socket: Any, kind: str) -> Iterator[dict[str, Any]]:
    """Yield the messages of a type."""
    while True:
        message = socket.receive_json()
        if message["type"] == kind:
            yield message


def first(socket: Any, kind: str, accept: Callable[[dict[str, Any]], object] = bool) -> dict[str, Any]:
    return next(message for message in messages(socket, kind) if accept(message))


def send_sound(socket: Any, seconds: float, level: float = 0.5, start: float = 0.0) -> None:
    """Send sound in real time."""
    began = time.monotonic() - start
    for number in range(round(start * 10), round((start + seconds) * 10)):
        time.sleep(max(0.0, began + number / 10 - time.monotonic()))
        socket.send_bytes(sound(number / 10, 0.1, level))


def closing(socket: Any) -> tuple[str, int]:
    """Return the error and the code with which a stream ended."""
    message = first(socket, "error")
    return message["message"], socket.receive()["code"]


def test_sound_is_predicted(make_client: Callable[..., Any]) -> None:
    with make_client().websocket_connect(ADDRESS) as socket:
        socket.send_json(START)
        assert socket.receive_json() == {"type": "ready"}
        send_sound(socket, 0.4)
        prediction = first(socket, "prediction")
        assert prediction["subset"] == "a"
        assert prediction["at"] == pytest.approx(0.3, abs=0.3)
        assert set(prediction["ages"]) == {"audio"}


def test_pictures_are_predicted(make_client: Callable[..., Any], encode_jpeg: Callable[..., bytes]) -> None:
    with make_client().websocket_connect(ADDRESS) as socket:
        socket.send_json({**START, "pictures": True})
        for number in range(4):
            socket.send_bytes(struct.pack("<B7xd", 2, number / 10) + encode_jpeg())
            time.sleep(0.1)
        assert first(socket, "prediction")["subset"] == "v"


def test_a_bad_picture_gives_a_note_and_the_stream_goes_on(make_client: Callable[..., Any]) -> None:
    with make_client().websocket_connect(ADDRESS) as socket:
        socket.send_json({**START, "pictures": True})
        socket.send_bytes(struct.pack("<B7xd", 2, 0.0) + b"no picture")
        assert first(socket, "note")["message"] == "A picture was left out: it is not a JPEG picture."
        send_sound(socket, 0.3)
        assert first(socket, "prediction")["subset"] == "a"


def test_utterances_end_with_a_pause(make_client: Callable[..., Any]) -> None:
    with make_client().websocket_connect(ADDRESS) as socket:
        socket.send_json(START)
        send_sound(socket, 0.3)
        send_sound(socket, 0.5, 0.0, start=0.3)
        assert first(socket, "prediction", lambda item: item["final"])["at"] == pytest.approx(0.6, abs=0.05)


def test_typed_words_are_predicted_at_once(make_client: Callable[..., Any]) -> None:
    with make_client(text=True).websocket_connect(ADDRESS) as socket:
        socket.send_json({**START, "sound_rate": None, "words": "typed"})
        socket.send_json({"type": "words", "text": " i love \n it ", "time": 0.1})
        assert first(socket, "words")["words"] == ["i", "love", "it"]
        one = first(socket, "prediction")
        assert one["subset"] == "l"
        socket.send_json({"type": "words", "text": "", "time": 0.2})
        socket.send_json({"type": "end_utterance", "time": 0.3})
        final = first(socket, "prediction", lambda item: item["final"])
        assert final["score"] == one["score"]
        socket.send_json({"type": "reset", "time": 0.4})
        socket.send_json({"type": "words", "text": "not at all", "time": 0.5})
        assert first(socket, "prediction", lambda item: item["score"] != one["score"])["subset"] == "l"


def test_recognized_words_are_predicted(make_client: Callable[..., Any]) -> None:
    with make_client(text=True, words=True).websocket_connect(ADDRESS) as socket:
        socket.send_json({**START, "words": "recognized"})
        socket.send_bytes(sound(0.0, 1.0))
        socket.send_bytes(sound(1.0, 0.2))
        assert first(socket, "words") == {"type": "words", "words": ["love"], "times": [[0.0, 0.5]]}
        assert first(socket, "prediction", lambda item: item["subset"] == "la")


def test_each_browser_has_its_own_stream(make_client: Callable[..., Any]) -> None:
    client = make_client(text=True)
    start = {**START, "sound_rate": None, "words": "typed"}
    with client.websocket_connect(ADDRESS) as one, client.websocket_connect(ADDRESS) as other:
        scores = []
        for socket, text in ((one, "i love it"), (other, "not at all")):
            socket.send_json(start)
            socket.send_json({"type": "words", "text": text, "time": 0.0})
            scores.append(first(socket, "prediction")["score"])
        assert scores[0] != scores[1]
        expected = client.post("/predict", json={"text": "i love it"}).json()["score"]
        assert scores[0] == pytest.approx(expected, abs=1e-4)


def test_more_browsers_than_allowed_are_refused_in_one_line(make_client: Callable[..., Any]) -> None:
    client = make_client(clients=1)
    with client.websocket_connect(ADDRESS) as socket:
        socket.send_json(START)
        socket.receive_json()
        with client.websocket_connect(ADDRESS) as other:
            assert closing(other) == ("The limit of 1 live stream is reached. Close one of them.", 1013)
        assert client.get("/health").json()["live_streams"] == 1
    with client.websocket_connect(ADDRESS) as socket:  # the place is free again
        socket.send_json(START)
        assert socket.receive_json() == {"type": "ready"}


@pytest.mark.parametrize(
    ("options", "message", "problem"),
    [
        ({}, "{", "a text message must be JSON"),
        ({}, '{"type":"reset","time":0}', "the first message must be of the type start"),
        ({}, json.dumps({**START, "words": "typed"}), "words must be one of null, got typed"),
        ({}, json.dumps({**START, "sound_rate": None}), "there must be sound, pictures or words"),
        ({"text": True}, json.dumps({**START, "pictures": True}), "this server uses no pictures, so pictures must be"),
        ({"media": False}, json.dumps(START), "this server uses no sound, so sound_rate must be null"),
    ],
)
def test_a_wrong_start_is_refused_in_one_line(
    make_client: Callable[..., Any], options: dict[str, Any], message: str, problem: str
) -> None:
    with make_client(**options).websocket_connect(ADDRESS) as socket:
        socket.send_text(message)
        text, code = closing(socket)
        assert text.startswith(f"The message cannot be used: {problem}")
        assert code == 1008


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        (b"short", "a binary message must have more than 16 bytes, got 5"),
        (struct.pack("<B7xd", 2, 0.0) + b"jpeg", "pictures were not announced at the start"),
        (json.dumps(START), "the stream has started already"),
        ('{"type":"words"}', "text is missing"),
        ("\ud83d\ude00", "a text message must be JSON"),
    ],
)
def test_a_wrong_message_ends_the_stream_in_one_line(
    make_client: Callable[..., Any], message: bytes | str, problem: str
) -> None:
    with make_client().websocket_connect(ADDRESS) as socket:
        socket.send_json(START)
        if isinstance(message, bytes):
            socket.send_bytes(message)
        else:
            socket.send_text(message)
        assert closing(socket) == (f"The message cannot be used: {problem}.", 1008)


def test_a_browser_that_sends_nothing_is_disconnected(make_client: Callable[..., Any]) -> None:
    with make_client(start_seconds=0.05).websocket_connect(ADDRESS) as socket:
        assert closing(socket) == ("The first message must come within 0.05 s. Connect again.", 1008)
    with make_client(idle_seconds=0.05).websocket_connect(ADDRESS) as socket:
        socket.send_json(START)
        assert closing(socket) == ("No message for 0.05 s. Connect again to go on.", 1008)


def test_sound_faster_than_real_time_is_refused(make_client: Callable[..., Any]) -> None:
    with make_client().websocket_connect(ADDRESS) as socket:
        socket.send_json(START)
        for number in range(100):  # also if it takes some seconds to send them
            socket.send_bytes(sound(float(number), 1.0))
        assert closing(socket) == ("The message cannot be used: sound must not come faster than it is recorded.", 1008)


def test_a_flood_of_messages_is_refused(make_client: Callable[..., Any]) -> None:
    with make_client(messages=5).websocket_connect(ADDRESS) as socket:
        socket.send_json(START)
        for _ in range(500):  # also if it takes some seconds to send them
            socket.send_json({"type": "end_utterance", "time": 0.0})
        message = "The message cannot be used: there must be at most 5 words and commands per second."
        assert closing(socket) == (message, 1008)


def test_a_stream_whose_front_end_fails_ends_in_one_line(
    make_service: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from starlette.testclient import TestClient

    from edge_msa_runtime.errors import BackendUnavailableError
    from edge_msa_runtime.serve.application import create_application

    def fail(_: object, *, sound: bool, pictures: bool) -> None:
        raise BackendUnavailableError(f"no front end for {sound} and {pictures}")

    service = make_service()
    monkeypatch.setattr(type(service), "create_front_ends", fail)
    application: Any = create_application(service, LOCAL_NAMES)
    with TestClient(application).websocket_connect(ADDRESS) as socket:
        socket.send_json(START)
        assert closing(socket) == ("no front end for True and False", 1011)


def test_somebody_may_type_slowly(make_client: Callable[..., Any]) -> None:
    with make_client(text=True, idle_seconds=0.05).websocket_connect(ADDRESS) as socket:
        socket.send_json({**START, "sound_rate": None, "words": "typed"})
        time.sleep(0.15)
        socket.send_json({"type": "words", "text": "i love it", "time": 0.1})
        assert first(socket, "prediction")["subset"] == "l"


def test_pages_of_others_cannot_connect(make_client: Callable[..., Any]) -> None:
    from starlette.testclient import WebSocketDenialResponse

    for headers in ({"origin": "http://evil.example"}, {"host": "evil.example"}, {"origin": "null"}):
        with pytest.raises(WebSocketDenialResponse) as error, make_client().websocket_connect(ADDRESS, headers=headers):
            pass
        assert error.value.status_code == 403


def test_a_failing_backend_ends_the_stream_in_one_line(
    make_service: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from starlette.testclient import TestClient

    from edge_msa_runtime.serve.application import create_application
    from edge_msa_runtime.serve.live_stream import LiveStream

    def fail(_: LiveStream) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(LiveStream, "play", fail)
    application: Any = create_application(make_service(), LOCAL_NAMES)
    with TestClient(application).websocket_connect(ADDRESS) as socket:
        socket.send_json(START)
        assert closing(socket) == ("The server failed. Its terminal says why.", 1011)


def test_a_recognizer_that_is_too_late_ends_the_stream(
    make_client: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from edge_msa_runtime.live.device_input import DeviceInput

    monkeypatch.setattr(DeviceInput, "waiting_seconds", 301.0)
    with make_client(text=True, words=True).websocket_connect(ADDRESS) as socket:
        socket.send_json({**START, "words": "recognized"})
        socket.send_bytes(sound(0.0, 0.1))
        message, code = closing(socket)
    assert message.startswith("The recognizer is 300 s late. Close other live streams")
    assert code == 1013


def test_the_page_shows_all_counts_of_the_status(make_client: Callable[..., Any]) -> None:
    with make_client().websocket_connect(ADDRESS) as socket:
        socket.send_json(START)
        send_sound(socket, 0.1)
        status = first(socket, "status")
    page = make_client().get("/live.js").text
    assert {name for name in status if f"status.{name}" not in page} == {"type"}


def test_pictures_of_the_future_are_refused(make_client: Callable[..., Any], encode_jpeg: Callable[..., bytes]) -> None:
    with make_client().websocket_connect(ADDRESS) as socket:
        socket.send_json({**START, "pictures": True})
        socket.send_bytes(struct.pack("<B7xd", 2, 4000.0) + encode_jpeg())
        assert closing(socket)[0] == "The message cannot be used: pictures must not come before they are taken."


def test_a_browser_that_reads_nothing_frees_its_place(
    make_service: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Socket:
        """Takes the first message, and then no other one."""

        def __init__(self) -> None:
            self._sent = 0
            self._received = [{"type": "websocket.receive", "text": json.dumps(START)}]

        async def accept(self) -> None:
            return

        async def receive(self) -> Any:
            if not self._received:
                await asyncio.sleep(60)
            return self._received.pop()

        async def send_text(self, text: str) -> None:
            del text
            self._sent += 1
            if self._sent > 1:
                await asyncio.sleep(60)

        async def close(self, code: int) -> None:
            del code

    monkeypatch.setattr("edge_msa_runtime.serve.live_socket._MAX_OUTGOING", 0)
    monkeypatch.setattr("edge_msa_runtime.serve.live_socket._CLOSE_SECONDS", 0.05)
    streams = LiveStreams(make_service())
    asyncio.run(asyncio.wait_for(streams.serve(Socket()), 50))  # type: ignore[arg-type]
    assert streams.count == 0


def test_a_stream_that_cannot_be_used_frees_its_place(make_service: Callable[..., Any]) -> None:
    assert LiveStreams(make_service()).count == 0


def test_nothing_of_a_stream_that_has_ended_stays_in_memory(
    make_client: Callable[..., Any], encode_jpeg: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = (LiveStream, DeviceInput, Converter, Player, Stream, Loudness, Color)
    created: list[tuple[str, weakref.ref[Any]]] = []

    def watch(kind: type) -> None:
        initialize: Any = kind.__init__  # type: ignore[misc]

        def record(item: object, *arguments: Any, **options: Any) -> None:
            created.append((kind.__name__, weakref.ref(item)))
            initialize(item, *arguments, **options)

        monkeypatch.setattr(kind, "__init__", record)

    for kind in kinds:
        watch(kind)
    gc.collect()
    gc.disable()  # what refers to itself would stay
    try:
        with make_client() as client:
            with client.websocket_connect(ADDRESS) as socket:
                socket.send_json({**START, "pictures": True})
                socket.send_bytes(struct.pack("<B7xd", 2, 0.0) + encode_jpeg())
                send_sound(socket, 0.3)
                first(socket, "prediction")
            with client.websocket_connect(ADDRESS) as socket:  # one that ends with an error
                socket.send_json({**START, "pictures": True})
                socket.send_text("{")
                closing(socket)
            end = time.monotonic() + 60
            while (alive := {name for name, item in created if item() is not None}) and time.monotonic() < end:
                time.sleep(0.02)
    finally:
        gc.enable()
    assert {name for name, _ in created} == {kind.__name__ for kind in kinds}
    assert alive == set()


def test_a_browser_that_leaves_at_once_causes_no_note(
    make_service: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    application = create_application(make_service(), LOCAL_NAMES)
    scope = {"type": "websocket", "path": "/live", "headers": [(b"host", b"127.0.0.1:8000")]}

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(_: Any) -> None:
        raise OSError("the connection is closed")

    asyncio.run(application(scope, receive, send))
    assert caplog.records == []
