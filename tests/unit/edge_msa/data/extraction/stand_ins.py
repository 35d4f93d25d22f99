"""Stand-ins for decoding, front ends and recognizers: files are JSON that says what is in them."""

from __future__ import annotations

import json
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typing_extensions import Self

from edge_msa.data.extraction import segment_job
from edge_msa.data.extraction.segment_job import Tools
from edge_msa.data.extraction.settings import Settings
from edge_msa.errors import DataError
from edge_msa_runtime.features import FeatureSource
from edge_msa_runtime.front_ends import TimedFrames
from edge_msa_runtime.media.signals import SAMPLE_RATE, Picture, Sound

NOTE = "1 damaged packet of sound left out"


def write_media(path: Path, **content: Any) -> Path:
    """Write a file of the stand-in.

    Args:
        path: the file.
        content: `seconds`; `level` of the sound (None for no sound); `face` (None for no pictures); `gap`, the start
            and end of missing sound and pictures; `words`; `duration` that the file states; `notes`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


class FakeMedia:
    def __init__(self, path: str, start: float, end: float | None, *, sound: bool, pictures: bool, rate: float) -> None:
        text = Path(path).read_text()
        if not text.startswith("{"):
            raise DataError(f"{path} is not audio or video. Choose another file.")
        content = json.loads(text)
        if content.get("crash"):
            raise ValueError("deep inside")
        self.seconds = float(content.get("seconds", 1.0))
        self.level, self.face = content.get("level", 0.5), content.get("face", True)
        self.gap = content.get("gap", (0.0, 0.0))
        self.duration = content.get("duration", self.seconds)
        self.notes = tuple(content.get("notes", ()))
        self.has_sound, self.has_pictures = self.level is not None, self.face is not None
        self._start, self._end = start, min(self.seconds, self.seconds if end is None else end)
        self._sound, self._pictures, self._rate = sound and self.has_sound, pictures and self.has_pictures, rate

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __iter__(self) -> Iterator[Sound | Picture]:
        for tenth in range(round(self._start * 10), round(self._end * 10)):
            time = tenth / 10
            if self.gap[0] <= time < self.gap[1]:
                continue
            if self._pictures:
                value = 200 if self.face else 0
                yield Picture(time - self._start, np.full((2, 2, 3), value, np.uint8))
            if self._sound:
                yield Sound(time - self._start, np.full(SAMPLE_RATE // 10, self.level, np.float32))


@dataclass
class FakeFrontEnd:
    modality: str
    period: float
    source: FeatureSource

    def push(self, signal: Any) -> TimedFrames:
        if isinstance(signal, Sound):
            level = float(signal.samples.mean())
            return TimedFrames(signal.end, np.array([[level, level > 0.1]], np.float32))
        has_face = bool(signal.pixels.max())
        return TimedFrames(signal.time, np.full((1, 3), signal.time, np.float32), np.array([has_face]))

    def finish(self) -> TimedFrames:
        return TimedFrames(0.0, np.zeros((0, 2 if self.modality == "audio" else 3), np.float32))


class FakeRecognizer:
    name = "fake"

    @property
    def version(self) -> str:
        return VERSION["recognizer"]

    def transcribe(self, samples: Any) -> list[Any]:
        return [types.SimpleNamespace(text=f" {len(samples) / SAMPLE_RATE:g}"), types.SimpleNamespace(text=" seconds")]


VERSION = {"audio": "1", "recognizer": "1"}


def open_fakes(settings: Settings) -> Tools:
    audio, vision = "audio" in settings.modalities, "vision" in settings.modalities
    names = ("level", "voice activity")
    return Tools(
        FakeFrontEnd("audio", 0.1, FeatureSource("fake audio", VERSION["audio"], 10, names)) if audio else None,
        FakeFrontEnd("vision", 0.1, FeatureSource("fake face", "1", 10)) if vision else None,
        FakeRecognizer() if settings.recognizer else None,
    )


def install(patch: pytest.MonkeyPatch) -> None:
    """Use the stand-ins in this process."""
    from edge_msa_runtime import media

    def open_media(
        path: str, *, start: float, end: float | None, sound: bool, pictures: bool, picture_rate: float
    ) -> FakeMedia:
        return FakeMedia(path, start, end, sound=sound, pictures=pictures, rate=picture_rate)

    patch.setattr(media, "open_media", open_media, raising=False)
    patch.setattr(segment_job, "_open_tools", open_fakes)
    patch.setattr(segment_job, "_kept", types.SimpleNamespace())
