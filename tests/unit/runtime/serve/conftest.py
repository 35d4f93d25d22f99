from __future__ import annotations

import dataclasses
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Iterator

import numpy as np
import pytest

from edge_msa_runtime import load
from edge_msa_runtime.replay.player import PlayOptions
from tests.unit.runtime.serve.stand_ins import LOCAL_NAMES, Beeps, Color, Level, Loudness

if TYPE_CHECKING:
    from edge_msa_runtime.session import Session

HOST = "127.0.0.1"


@pytest.fixture(scope="session")
def sessions(shared_bundle: Path, make_text_bundle: Callable[[str], Path]) -> Iterator[dict[bool, Session]]:
    """Sessions of a bundle of all modalities, and of one with text and audio."""
    with load(shared_bundle) as frames, load(make_text_bundle("table")) as text:
        yield {False: frames, True: text}


@pytest.fixture(scope="session")
def make_service(sessions: dict[bool, Session]) -> Callable[..., Any]:
    """Return a function that creates a service: `make_service(text=..., media=..., words=..., **limits)`."""
    from edge_msa_runtime.live.opening import FrontEnds
    from edge_msa_runtime.serve.limits import Limits
    from edge_msa_runtime.serve.service import Service

    def make(*, text: bool = False, media: bool = True, words: bool = False, **limits: Any) -> Service:
        def open_front_ends(sound: bool, pictures: bool) -> FrontEnds:
            return FrontEnds(Loudness() if sound else None, Color() if pictures and not text else None, ())

        stream = {"max_gap": None, "bad_frames": "drop", "context": False}
        awaited = ("language",) if words else ()
        return Service(
            sessions[text],
            open_front_ends if media else None,
            Level if media else None,
            Beeps() if words else None,
            play_options=PlayOptions(0.1, stream=stream, awaited=awaited, hold=10.0),
            pause=0.3,
            limits=dataclasses.replace(Limits(), **limits),
        )

    return make


@pytest.fixture
def make_client(make_service: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that creates a client of a service: `make_client(text=..., ...)`."""
    import anyio
    from starlette.testclient import TestClient

    from edge_msa_runtime.serve.application import create_application

    def make(**options: Any) -> TestClient:
        served: Any = create_application(make_service(**options), LOCAL_NAMES)

        async def application(scope: Any, receive: Any, send: Any) -> None:
            # The client cancels a conversation that it has left. A server does not: it waits until it ends.
            with anyio.CancelScope(shield=scope["type"] == "websocket"):
                await served(scope, receive, send)

        return TestClient(application, base_url=f"http://{HOST}:8000", raise_server_exceptions=True)

    return make


@pytest.fixture
def encode_jpeg() -> Callable[..., bytes]:
    """Return a function that makes a JPEG picture of one color: `encode_jpeg(color, width, height)`."""
    import av

    def encode(color: tuple[int, int, int] = (200, 100, 50), width: int = 64, height: int = 48) -> bytes:
        context: Any = av.CodecContext.create("mjpeg", "w")
        context.width, context.height, context.pix_fmt = width, height, "yuvj420p"
        context.time_base = Fraction(1, 15)
        pixels = np.full((height, width, 3), color, np.uint8)
        frame: Any = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuvj420p")
        packets = [*context.encode(frame), *context.encode(None)]
        return b"".join(bytes(packet) for packet in packets)

    return encode
