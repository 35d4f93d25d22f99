"""Serve the predictions of a bundle over HTTP and WebSocket, with FastAPI.

What you need: a bundle, such as demo/bundle-laptop of `edge-msa demo`, and `pip install fastapi uvicorn websockets`.

How to run it: python examples/service.py demo/bundle-laptop
What it prints: the log of uvicorn, which listens on port 8000. Then, in another terminal:

    curl localhost:8000/health
    curl localhost:8000/predict -H 'content-type: application/json' -d '{"audio": [[0.1, 0.2, ...], [0.3, ...]]}'

`/predict` takes text and frames, a list of frames per modality. Each client of the WebSocket `/stream` has a stream of
its own: it sends the same objects piece by piece, {"reset": true} between utterances, and gets a prediction for each.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel

import edge_msa_runtime as emr

MAX_BYTES, MAX_STREAMS = 4_000_000, 100  # of a request or a message; at the same time


class Inputs(BaseModel, extra="forbid"):
    """One utterance. The fields are not typed, because the session checks them and says in one line what is wrong."""

    text: Any = None
    language: Any = None
    audio: Any = None
    vision: Any = None


class Piece(Inputs):
    """What has arrived since the previous message of a stream; `reset` begins a new utterance with it."""

    reset: bool = False


def create_app(bundle: str) -> FastAPI:
    """Return a service in which all requests use one session. Each core runs one prediction at a time."""
    session = emr.load(bundle, threads=1, workers=os.cpu_count() or 1)
    counts = Counter({"requests": 0, "errors": 0, "streams": 0})  # changed in the event loop only

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        with session:
            session.prepare()  # loads all graphs, so that the first requests are as fast as the others
            yield

    app = FastAPI(title="edge-msa", lifespan=lifespan)

    @app.middleware("http")
    async def limit(request: Request, respond: Callable[[Request], Awaitable[Response]]) -> Response:
        length = request.headers.get("content-length", "unknown" if request.method == "POST" else "0")
        fits = length.isdigit() and int(length) <= MAX_BYTES
        problem = {"detail": f"A request must have a Content-Length of at most {MAX_BYTES} bytes, got {length}."}
        response = await respond(request) if fits else JSONResponse(problem, 413)
        counts.update(requests=1, errors=response.status_code >= 400)
        return response

    @app.exception_handler(emr.EdgeMsaError)
    async def explain(_: Request, error: emr.EdgeMsaError) -> Response:
        return JSONResponse({"detail": str(error)}, 422 if isinstance(error, emr.UsageError) else 500)

    @app.post("/predict")
    def predict(utterance: Inputs) -> dict[str, Any]:  # FastAPI runs functions that are not async in threads
        return session.predict(**utterance.model_dump()).to_json()

    @app.get("/health")
    async def health() -> dict[str, Any]:
        features = {name: spec.dim for name, spec in session.manifest.modalities.items()}
        return {"bundle": session.manifest.name, "backend": session.backend, "features": features}

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> str:
        return "".join(f"edge_msa_{name} {value}\n" for name, value in counts.items())

    @app.websocket("/stream")
    async def serve_stream(socket: WebSocket) -> None:
        await socket.accept()
        if counts["streams"] >= MAX_STREAMS:
            return await socket.close(1013, "Too many streams. Try again later.")
        counts["streams"] += 1
        try:
            await converse(socket, session.create_stream())
        finally:
            counts["streams"] -= 1

    return app


async def converse(socket: WebSocket, stream: emr.Stream) -> None:
    """Answer the messages of a client until it leaves. A stream is only memory: there is nothing to close."""
    with suppress(WebSocketDisconnect):  # also if a client no longer answers the pings of uvicorn
        while (message := await socket.receive())["type"] == "websocket.receive":
            content = message.get("text") or message.get("bytes") or ""
            await socket.send_json(await run_in_threadpool(advance, stream, content))


def advance(stream: emr.Stream, message: str | bytes) -> dict[str, Any]:
    """Push the pieces in a message to a stream, and return the prediction, or what is wrong with the message."""
    try:
        piece = Piece.model_validate_json(message)
        if piece.reset:
            stream.reset()
        for name, frames in piece.model_dump(exclude={"reset", "text"}, exclude_none=True).items():
            stream.push(name, frames)
        if piece.text is not None:
            stream.push_text(piece.text)
        return stream.predict().to_json()
    except (ValueError, emr.EdgeMsaError) as error:  # pydantic's errors are ValueErrors
        return {"error": str(error)}


if __name__ == "__main__":
    uvicorn.run(create_app(sys.argv[1]), port=8000, ws_max_size=MAX_BYTES)
