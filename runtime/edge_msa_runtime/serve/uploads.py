"""Predictions from uploaded sound and video files."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.media.frame_grid import FrameGrid, join_samples
from edge_msa_runtime.media.signals import Sound
from edge_msa_runtime.serve.bodies import Turns, read_chunks
from edge_msa_runtime.serve.guard import RefusedError

if TYPE_CHECKING:
    from starlette.requests import Request

    from edge_msa_runtime.serve.service import Service

_NO_MEDIA = (
    "This server accepts no media files: its bundle takes no sound and no pictures, or it runs with --no-media. "
    "Send JSON with text or frames."
)


class Uploads:
    """Reads files one after the other. A few may arrive and wait at the same time.

    Args:
        service: what is served.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._open = 0
        self._turns = Turns(1)

    @property
    def are_accepted(self) -> bool:
        """Whether the bundle can use anything of a media file."""
        return self._service.needs_sound or self._service.needs_pictures

    async def predict(self, request: Request) -> dict[str, Any]:
        """Return the prediction of the file in a request, as one utterance.

        The file is in a temporary folder until then.

        Raises:
            RefusedError: the server accepts no files, is busy, or the file is too large.
            EdgeMsaError: the file cannot be used.
        """
        from starlette.concurrency import run_in_threadpool

        limits = self._service.limits
        if not self.are_accepted:
            raise RefusedError(415, _NO_MEDIA)
        text = request.query_params.get("text")
        if self._open >= limits.uploads:
            raise RefusedError(503, f"{limits.uploads} files are being processed. Send this one again later.")
        self._open += 1
        try:
            with tempfile.TemporaryDirectory(prefix="edge-msa-upload-") as folder:
                path = Path(folder) / "upload"
                with path.open("wb") as file:
                    async for chunk in read_chunks(request, limits.media_bytes, limits.body_seconds):
                        file.write(chunk)
                async with self._turns.take(1, limits.turn_seconds):
                    return await run_in_threadpool(self._predict, path, text)
        except asyncio.TimeoutError:
            raise RefusedError(
                503, f"Another file was read for {limits.turn_seconds:g} s. Send this one again later."
            ) from None
        finally:
            self._open -= 1

    def _predict(self, path: Path, text: str | None) -> dict[str, Any]:
        from edge_msa_runtime.errors import MediaError

        try:
            return self._predict_file(path, text)
        except (MediaError, UsageError) as error:  # the name of the temporary file means nothing to the client
            raise RefusedError(422, str(error).replace(str(path), "The file")) from error

    def _predict_file(self, path: Path, text: str | None) -> dict[str, Any]:
        from edge_msa_runtime.media.files import open_media

        service = self._service
        session, limit = service.session, service.limits.media_seconds
        opened = service.create_front_ends(sound=True, pictures=True)
        front_ends = {front_end.modality: front_end for front_end in (opened.audio, opened.vision) if front_end}
        takes_text = session.manifest.language is not None
        recognizer = service.recognizer if takes_text and text is None else None
        grids = {name: FrameGrid(front_end.period) for name, front_end in front_ends.items()}
        sounds: list[Sound] = []
        with open_media(
            path,
            sound=service.needs_sound,
            pictures=service.needs_pictures,
            picture_rate=service.picture_rate,
            end=limit + 1.0,
            busy_seconds=service.limits.busy_seconds,
        ) as media:
            if media.duration is not None and media.duration > limit:
                raise _too_long(limit, f"{media.duration:.1f} s")
            for signal in media:
                if signal.time > limit:  # the file does not state its length, or states another one
                    raise _too_long(limit, "more")
                is_sound = isinstance(signal, Sound)
                name = "audio" if is_sound else "vision"
                if name in front_ends:
                    grids[name].add(front_ends[name].push(signal))
                if isinstance(signal, Sound) and recognizer is not None:
                    sounds.append(signal)
            for name, front_end in front_ends.items():
                grids[name].add(front_end.finish())
            notes = list(media.notes)
            duration = media.duration
        words = None
        if recognizer is not None and sounds:
            words = recognizer.transcribe(join_samples(sounds))
            text = " ".join(word.text for word in words)
        inputs = {name: grid.arrays() for name, grid in grids.items() if grid.count}
        frames: dict[str, Any] = {name: rows for name, (rows, _) in inputs.items()}
        valid = {name: mask for name, (_, mask) in inputs.items()}
        prediction = session.predict(text=text or None, **frames, valid=valid)
        return {
            **prediction.to_json(),
            "media": {
                "duration": duration,
                "frames": {name: len(rows) for name, rows in frames.items()},
                "text": text,
                "words": None if words is None else [[word.text, word.start, word.end] for word in words],
                "notes": notes,
            },
        }


def _too_long(limit: float, got: str) -> UsageError:
    return UsageError(
        f"A file must have at most {limit:g} s, got {got}. Cut it into utterances, or use edge-msa-run watch."
    )
