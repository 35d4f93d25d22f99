"""Decode one segment and compute its frames and words. Worker processes import this module, so it is light."""

from __future__ import annotations

import contextlib
import io
import json
import math
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.extraction.settings import Settings, check_versions, digest_file
from edge_msa.errors import BackendUnavailableError, EdgeMsaError
from edge_msa_runtime.errors import first_line
from edge_msa_runtime.media.frame_grid import FrameGrid, join_samples
from edge_msa_runtime.media.signals import Picture, Sound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_msa_runtime.front_ends import FrontEnd

_SHORT = 0.5
"""Seconds that do not matter where a file or segment ends."""
_ROUNDING = 0.1
"""Seconds by which the duration that a file states may be wrong."""
_VOICE = 0.5
"""Voice activity from which on a frame has a voice."""


@dataclass(frozen=True)
class FileState:
    """What a file contains, and how to find out quickly that it still does."""

    content: str
    """SHA-256 of the content."""
    stamp: tuple[int, ...]
    """Size, times of change, and number of the file, which change with the content."""


@dataclass(frozen=True)
class Job:
    """One segment to compute."""

    path: str
    """Absolute path of the file."""
    name: str
    """What messages call the file."""
    start: float
    end: float | None
    recognize: bool
    """Whether to recognize the words."""
    settings: Settings
    state: FileState
    """The state of the file whose result is wanted."""


@dataclass(frozen=True, eq=False)
class SegmentResult:
    """What was computed from one segment."""

    frames: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    """Frames (T, d) by modality, at even times from the first one; zeros where there is none. Without a modality that
    the file lacks."""
    valid: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    """Masks (T,) by modality."""
    text: str | None = None
    """The recognized words; None if none were asked for."""
    seconds: float = 0.0
    """How long the segment is, as far as it was used."""
    facts: tuple[str, ...] = ()
    """What is special, such as `no sound`: names of `FACTS`."""
    notes: tuple[str, ...] = ()
    """What was left out or could not be decoded."""

    def to_bytes(self) -> bytes:
        """Return the result as a file."""
        header = {"text": self.text, "seconds": self.seconds, "facts": self.facts, "notes": self.notes}
        arrays: dict[str, NDArray[Any]] = {"header": np.array(json.dumps(header))}
        for name, frames in self.frames.items():
            arrays |= {name: frames, f"{name}_valid": self.valid[name]}
        file = io.BytesIO()
        np.savez(file, **arrays)  # type: ignore[arg-type]
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> SegmentResult:
        """Return the result in a file that `to_bytes` made.

        Raises:
            Exception: The file is damaged.
        """
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            header = json.loads(str(arrays["header"]))
            names = [name for name in arrays.files if f"{name}_valid" in arrays.files]
            return cls(
                {name: arrays[name] for name in names},
                {name: arrays[f"{name}_valid"] for name in names},
                header["text"],
                header["seconds"],
                tuple(header["facts"]),
                tuple(header["notes"]),
            )


NO_SOUND, SILENT, NO_VOICE, NO_PICTURES, NO_FACE, TRUNCATED, SHORT = (
    "no sound",
    "silent",
    "no voice",
    "no pictures",
    "no face",
    "truncated",
    "short",
)
FACTS = {
    NO_SOUND: "without sound",
    SILENT: "whose sound is silence",
    NO_VOICE: "without a voice",
    NO_PICTURES: "without pictures",
    NO_FACE: "without a face",
    TRUNCATED: "longer than --max-seconds, of which the rest is not used",
    SHORT: "whose end is after that of the file",
}
"""What can be special about a segment, with words that follow `samples`."""


@dataclass(frozen=True)
class Outcome:
    """What became of one piece of work: a value, or why there is none."""

    value: Any = None
    reason: str = ""
    """Why the file cannot be used; nothing if it can."""


def hash_file(path: str, name: str) -> Outcome:
    """Return the `FileState` of a file, or why it cannot be read."""
    try:
        stamp = _stamp(path)
        state = FileState(digest_file(Path(path)), stamp)
        return Outcome(state) if _stamp(path) == stamp else Outcome(reason=_changed(name))
    except OSError as error:
        return Outcome(reason=_unreadable(name, error))


def compute_segment(job: Job) -> Outcome:
    """Return the `SegmentResult.to_bytes` of a segment, or why it cannot be decoded.

    Raises:
        BackendUnavailableError: A package or model is missing here, or has another version. No segment can be computed.
    """
    try:
        check_versions(job.settings)
        tools = open_tools(job.settings)
        outcome = _compute_outcome(job, tools)
    except BackendUnavailableError as error:  # exceptions with more arguments cannot be sent to another process
        raise BackendUnavailableError(str(error)) from None
    problem = _find_change(job)
    return Outcome(reason=problem) if problem else outcome


def _compute_outcome(job: Job, tools: Tools) -> Outcome:
    try:
        return Outcome(_compute(job, tools).to_bytes())
    except BackendUnavailableError:
        raise
    except EdgeMsaError as error:
        return Outcome(reason=str(error).replace(job.path, job.name))
    except Exception as error:  # noqa: BLE001 - one file must not stop the others, whatever a decoder raises
        reason = f"{type(error).__name__}: {first_line(error)}".replace(job.path, job.name)
        return Outcome(reason=f"{job.name} cannot be processed ({reason}).")


def _find_change(job: Job) -> str:
    """Return why the file is not the one whose result is wanted, or nothing. It is read again only if it may not be."""
    try:
        if _stamp(job.path) == job.state.stamp or digest_file(Path(job.path)) == job.state.content:
            return ""
    except OSError as error:
        return _unreadable(job.name, error)
    return _changed(job.name)


def _stamp(path: str) -> tuple[int, ...]:
    status = Path(path).stat()
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def _changed(name: str) -> str:
    return f"{name} changed while it was read. Run the same command again when nothing writes to the file."


def _unreadable(name: str, error: OSError) -> str:
    return f"{name} cannot be read ({error.strerror or error})."


@dataclass(frozen=True)
class Tools:
    """What turns sound and pictures into frames and words."""

    audio: FrontEnd | None
    vision: FrontEnd | None
    recognizer: Any

    @property
    def front_ends(self) -> dict[str, FrontEnd]:
        """The front ends by modality."""
        both = {"audio": self.audio, "vision": self.vision}
        return {name: front_end for name, front_end in both.items() if front_end is not None}


_kept = threading.local()


def open_tools(settings: Settings) -> Tools:
    """Return the front ends and the recognizer for some settings. Each thread opens them once.

    Raises:
        BackendUnavailableError: A package is not installed.
        UsageError: A model cannot be loaded.
    """
    if getattr(_kept, "settings", None) != settings:
        _kept.tools = _open_tools(settings)
        _kept.settings = settings
    tools: Tools = _kept.tools
    return tools


def _open_tools(settings: Settings) -> Tools:
    audio = vision = recognizer = None
    if "audio" in settings.modalities:
        from edge_msa_runtime.audio.front_end import AudioFrontEnd

        audio = AudioFrontEnd()
    if "vision" in settings.modalities:
        from edge_msa_runtime.vision.front_end import LARGEST, FaceFrontEnd

        face = LARGEST if settings.face is None else settings.face
        vision = FaceFrontEnd(_face_model(settings), rate=settings.picture_rate, face=face)
    if settings.recognizer is not None:
        from edge_msa_runtime.speech import open_recognizer

        recognizer = open_recognizer(settings.recognizer, language=settings.language)
    return Tools(audio, vision, recognizer)


def _face_model(settings: Settings) -> Path:
    from edge_msa_runtime.vision.task_file import default_model_path

    return default_model_path() if settings.face_model is None else Path(settings.face_model)


def _compute(job: Job, tools: Tools) -> SegmentResult:
    from edge_msa_runtime.media import open_media

    limit = job.start + job.settings.max_seconds
    computation = _Computation(job, tools)
    with (
        _finished(tools),
        open_media(
            job.path,
            start=job.start,
            end=limit if job.end is None else min(job.end, limit),
            sound=tools.audio is not None or job.recognize,
            pictures=tools.vision is not None,
            picture_rate=job.settings.picture_rate,
        ) as media,
    ):
        for item in media:
            if isinstance(item, Sound):
                computation.add_sound(item)
            else:
                computation.add_picture(item)
        return computation.finish(media)


@contextlib.contextmanager
def _finished(tools: Tools) -> Iterator[None]:
    """Let the front ends start again after a segment that could not be decoded to its end."""
    try:
        yield
    except BaseException:
        for front_end in tools.front_ends.values():
            front_end.finish()
        raise


class _Computation:
    """The frames and words of one segment."""

    def __init__(self, job: Job, tools: Tools) -> None:
        self._job, self._tools = job, tools
        self._grids = {name: FrameGrid(front_end.period) for name, front_end in tools.front_ends.items()}
        self._sounds: list[Sound] = []
        self._reached = self._loudest = 0.0

    def add_sound(self, sound: Sound) -> None:
        self._reached = max(self._reached, sound.end)
        self._loudest = max(self._loudest, float(np.abs(sound.samples).max(initial=0)))
        if self._tools.audio is not None:
            self._grids["audio"].add(self._tools.audio.push(sound))
        if self._job.recognize:
            self._sounds.append(sound)

    def add_picture(self, picture: Picture) -> None:
        self._reached = max(self._reached, picture.time)
        if self._tools.vision is not None:
            self._grids["vision"].add(self._tools.vision.push(picture))

    def finish(self, media: Any) -> SegmentResult:
        for name, front_end in self._tools.front_ends.items():
            self._grids[name].add(front_end.finish())
        arrays = {name: grid.arrays() for name, grid in self._grids.items() if grid.count}
        frames, valid = ({name: pair[index] for name, pair in arrays.items()} for index in (0, 1))
        facts = {
            **self._sound_facts(media, frames, valid),
            NO_PICTURES: self._tools.vision is not None and not media.has_pictures,
            NO_FACE: "vision" in valid and not valid["vision"].any(),
            **self._length_facts(media.duration),
        }
        return SegmentResult(
            frames,  # type: ignore[arg-type]
            valid,  # type: ignore[arg-type]
            self._recognize(),
            round(self._reached, 3),
            tuple(name for name, holds in facts.items() if holds),
            tuple(media.notes),
        )

    def _sound_facts(self, media: Any, frames: Any, valid: Any) -> dict[str, bool]:
        if self._tools.audio is None and not self._job.recognize:
            return {}
        audible = media.has_sound and self._loudest > 0
        facts = {NO_SOUND: not media.has_sound, SILENT: media.has_sound and not self._loudest}
        if self._tools.audio is not None and audible and "audio" in frames:
            names = self._tools.audio.source.names
            column = next((index for index, name in enumerate(names) if "activity" in name), None)
            if column is not None:
                facts[NO_VOICE] = not bool((frames["audio"][valid["audio"], column] >= _VOICE).any())
        return facts

    def _length_facts(self, duration: float | None) -> dict[str, bool]:
        job, limit = self._job, self._job.settings.max_seconds
        if duration is not None:
            available = duration - job.start
        else:  # nothing says how much follows
            available = math.inf if self._reached > limit - _SHORT else self._reached
        wanted = math.inf if job.end is None else job.end - job.start
        return {
            TRUNCATED: min(available, wanted) > limit + (_ROUNDING if job.end is None else 0.0),
            SHORT: job.end is not None and wanted > available + _SHORT,
        }

    def _recognize(self) -> str | None:
        if not self._job.recognize:
            return None
        if not self._loudest:
            return ""
        words = self._tools.recognizer.transcribe(join_samples(self._sounds))
        return " ".join(word.text.strip() for word in words if word.text.strip())
