"""Predictions from uploaded sound and video files."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping, Sequence

from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.media.frame_grid import FrameGrid, join_samples
from edge_msa_runtime.media.signals import Sound
from edge_msa_runtime.serve.bodies import Turns, read_chunks
from edge_msa_runtime.serve.guard import RefusedError
from edge_msa_runtime.serve.memory import release_free_memory

if TYPE_CHECKING:
    from starlette.requests import Request

    from edge_msa_runtime.serve.service import Service
    from edge_msa_runtime.text.words import Word

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
                return await self._read(request, path, text)
        except asyncio.TimeoutError:
            raise RefusedError(
                503, f"Another file was read for {limits.turn_seconds:g} s. Send this one again later."
            ) from None
        finally:
            self._open -= 1
            self._service.work.start(release_free_memory, "memory")

    async def _read(self, request: Request, path: Path, text: str | None) -> dict[str, Any]:
        """Wait for the turn of a file, and return its prediction. Both end when the client leaves."""
        left = threading.Event()

        async def watch() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            left.set()

        watching = asyncio.ensure_future(watch())
        try:
            async with self._turns.take(1, self._service.limits.turn_seconds):
                if left.is_set():
                    raise _has_left()
                return await self._service.work.run(self._predict, path, text, left)
        finally:
            watching.cancel()

    def _predict(self, path: Path, text: str | None, left: threading.Event) -> dict[str, Any]:
        from edge_msa_runtime.errors import MediaError

        try:
            return self._predict_file(path, text, left)
        except (MediaError, UsageError) as error:  # the name of the temporary file means nothing to the client
            message = str(error).replace(str(path), "the file")
            raise RefusedError(422, message[0].upper() + message[1:]) from error

    def _check_wanted(self, left: threading.Event) -> None:
        if left.is_set():
            raise _has_left()
        if self._service.work.is_ending:
            raise RefusedError(503, "The server ends.")

    def _predict_file(self, path: Path, text: str | None, left: threading.Event) -> dict[str, Any]:
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
                self._check_wanted(left)
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
        self._check_wanted(left)
        if recognizer is not None and sounds:
            words = recognizer.transcribe(join_samples(sounds), check=lambda: self._check_wanted(left))
            text = " ".join(word.text for word in words)
        inputs = {name: grid.arrays() for name, grid in grids.items() if grid.count}
        frames: dict[str, Any] = {name: rows for name, (rows, _) in inputs.items()}
        valid = {name: mask for name, (_, mask) in inputs.items()}
        if not (text and text.strip()) and not any(mask.any() for mask in valid.values()):
            raise _nothing(frames, words)
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


def _has_left() -> RefusedError:
    return RefusedError(400, "The connection ended before the file was read.")


def _nothing(frames: Mapping[str, Any], words: Sequence[Word] | None) -> RefusedError:
    reasons = [
        "its sound is too short" if "audio" in frames else "",
        "no face was found" if "vision" in frames else "",
        "" if words is None else "no words were recognized",
    ]
    text = ", ".join(reason for reason in reasons if reason) or "it has neither sound nor pictures that can be used"
    return RefusedError(422, f"There is nothing to predict from: {text}. Send another file, or the words as ?text=...")


def _too_long(limit: float, got: str) -> UsageError:
    return UsageError(
        f"A file must have at most {limit:g} s, got {got}. Cut it into utterances, or use edge-msa-run watch."
    )
