"""The web application: pages, predictions over HTTP, and live streams over WebSockets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping

from edge_msa_runtime.modalities import MODALITIES
from edge_msa_runtime.serve.bodies import Bodies, Turns
from edge_msa_runtime.serve.description import describe_service
from edge_msa_runtime.serve.guard import Guard, RefusedError
from edge_msa_runtime.serve.live_socket import LiveStreams
from edge_msa_runtime.serve.openapi import describe_api
from edge_msa_runtime.serve.uploads import Uploads
from edge_msa_runtime.vendor_packages import import_package

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

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
_INPUTS = ("text", *MODALITIES, "valid", "truncate")


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
        Route("/bundle", handlers.bundle),
        Route("/health", handlers.health),
        Route("/openapi.json", handlers.openapi),
        WebSocketRoute("/live", handlers.streams.serve),
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
        from starlette.concurrency import run_in_threadpool

        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "application/json":
            limits = self._service.limits
            body = await self._bodies.read(request, limits.json_bytes, limits.body_seconds)
            try:
                async with self._turns.take(len(body)):
                    return _json(await run_in_threadpool(self._predict_json, body))
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


def parse_utterance(body: bytes, most_containers: int) -> dict[str, Any]:
    """Return the arguments of `Session.predict` that a JSON body has.

    Args:
        body: the body.
        most_containers: arrays and objects that it may have. Brackets in texts count, too.

    Raises:
        RefusedError: the body is not an utterance.
    """
    count = body.count(b"[") + body.count(b"{")
    if count > most_containers:
        raise RefusedError(422, f"The body must have at most {most_containers} arrays and objects, got {count}.")
    try:
        value = json.loads(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise RefusedError(422, f"The body must be UTF-8, but byte {error.start} is not.") from None
    except RecursionError:
        raise RefusedError(422, "The body has too many nested brackets.") from None
    except json.JSONDecodeError as error:
        raise RefusedError(422, f"The body must be JSON: {error.msg} at column {error.colno}.") from None
    except ValueError as error:
        raise RefusedError(422, f"The body must be JSON: {error}.") from None
    if not isinstance(value, Mapping):
        raise RefusedError(422, f"The body must be a JSON object, got {repr(value)[:40]}.")
    for name in value:
        if name not in _INPUTS:
            raise RefusedError(422, f"Unknown field {name!r:.40}. Known fields: {', '.join(_INPUTS)}.")
    inputs = {name: item for name, item in value.items() if item is not None}
    if not isinstance(inputs.get("valid", {}), Mapping):
        raise RefusedError(422, f"valid must be an object with masks by modality, got {repr(inputs['valid'])[:40]}.")
    return inputs


def _json(value: Any) -> Response:
    from starlette.responses import Response

    return Response(json.dumps(value, separators=(",", ":")), media_type="application/json")
