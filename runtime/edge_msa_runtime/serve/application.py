"""The web application: pages, predictions over HTTP, and live streams over WebSockets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_msa_runtime.serve.bodies import Bodies, Turns
from edge_msa_runtime.serve.description import describe_service
from edge_msa_runtime.serve.guard import Guard, RefusedError
from edge_msa_runtime.serve.json_inputs import parse_utterance
from edge_msa_runtime.serve.live_socket import LiveStreams
from edge_msa_runtime.serve.openapi import describe_api
from edge_msa_runtime.serve.uploads import Uploads
from edge_msa_runtime.vendor_packages import import_package

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.websockets import WebSocket

    from edge_msa_runtime.serve.security import HostNames
    from edge_msa_runtime.serve.service import Service

_PAGES = Path(__file__).with_name("page")
_TYPES = {
    "index.html": "text/html; charset=utf-8",
    "api.html": "text/html; charset=utf-8",
    "live.js": "text/javascript; charset=utf-8",
    "api.js": "text/javascript; charset=utf-8",
    "recorder.js": "text/javascript; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


def create_application(service: Service, names: HostNames) -> Guard:
    """Return the application.

    Args:
        service: what it serves.
        names: host names that requests may use.
    """
    import_package("starlette")
    from starlette.routing import Route, Router, WebSocketRoute

    handlers = _Handlers(service)
    routes = [
        Route("/predict", handlers.predict, methods=["POST"]),
        Route("/predict", _refuse_method),
        Route("/bundle", handlers.bundle),
        Route("/health", handlers.health),
        Route("/openapi.json", handlers.openapi),
        WebSocketRoute("/live", handlers.streams.serve),
        Route("/live", _refuse_http),
        WebSocketRoute("/{path:path}", _refuse_websocket),
        Route("/", handlers.page),
        Route("/{name}", handlers.page),
    ]
    return Guard(Router(routes, redirect_slashes=False), names)


class _Handlers:
    """Answers requests."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._uploads = Uploads(service)
        self._bodies = Bodies(service.limits.json_total_bytes)
        self._turns = Turns(service.limits.json_bytes)
        self._description = describe_service(service)
        self._api = describe_api(service.session.manifest, service.limits, accepts_media=self._uploads.are_accepted)
        self.streams = LiveStreams(service)

    async def page(self, request: Request) -> Response:
        """Return a file of the page."""
        from starlette.responses import Response

        name = request.path_params.get("name", "index.html")
        if name not in _TYPES:
            raise RefusedError(404, f"There is no page {name!r:.60}. The interface is described at /api.html.")
        return Response((_PAGES / name).read_bytes(), media_type=_TYPES[name])

    async def bundle(self, _: Request) -> Response:
        """Describe the bundle."""
        return _json(self._description)

    async def health(self, _: Request) -> Response:
        """Say that the server works."""
        return _json({"status": "ok", "bundle": self._description["name"], "live_streams": self.streams.count})

    async def openapi(self, _: Request) -> Response:
        """Describe the interface."""
        return _json(self._api)

    async def predict(self, request: Request) -> Response:
        """Predict one utterance from JSON, or from a media file."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "application/json":
            limits = self._service.limits
            body = await self._bodies.read(request, limits.json_bytes, limits.body_seconds)
            try:
                async with self._turns.take(len(body)):
                    return _json(await self._service.work.run(self._predict_json, body))
            finally:
                self._bodies.release(len(body))
        if kind.startswith(("audio/", "video/")) or kind == "application/octet-stream":
            return _json(await self._uploads.predict(request))
        raise RefusedError(
            415,
            "Content-Type must be application/json, or application/octet-stream, audio/... or video/... for a media "
            f"file, got {kind!r:.60}.",
        )

    def _predict_json(self, body: bytes) -> dict[str, Any]:
        inputs = parse_utterance(body, self._service.limits.json_containers)
        return self._service.session.predict(**inputs).to_json()


async def _refuse_method(_: Request) -> Response:
    raise RefusedError(405, "Send POST to /predict. The interface is described at /api.html.", {"allow": "POST"})


async def _refuse_websocket(_: WebSocket) -> None:
    raise RefusedError(404, "WebSockets are at /live. The interface is described at /api.html.")


async def _refuse_http(_: Request) -> Response:
    raise RefusedError(
        426,
        "/live is a WebSocket of version 13, and the request has no valid Sec-WebSocket-Key. Open it with a library "
        "for WebSockets.",
        {"upgrade": "websocket", "connection": "upgrade"},
    )


def _json(value: Any) -> Response:
    from starlette.responses import Response

    return Response(json.dumps(value, separators=(",", ":")), media_type="application/json")
