"""Front ends and devices without packages or hardware, for the bundles of `fake_bundles`."""

from __future__ import annotations

import sys
import time
from types import SimpleNamespace
from typing import Any, Callable, Sequence, cast

import numpy as np
import pytest

from edge_msa_runtime.errors import CaptureError
from edge_msa_runtime.features import FeatureSource
from edge_msa_runtime.front_ends import TimedFrames
from edge_msa_runtime.live import opening, voice
from edge_msa_runtime.media.signals import SAMPLE_RATE, Picture, Sound
from edge_msa_runtime.text.words import Word
from tests.unit.runtime.fake_bundles import DIMS, MEAN

AUDIO_PERIOD, VISION_PERIOD = 0.01, 0.1


class AudioStandIn:
    """A frame per 10 ms: the mean of the samples, added to the mean of the bundle's features."""

    modality = "audio"
    period = AUDIO_PERIOD
    source = FeatureSource("stand-in audio", "1", 100.0)

    def push(self, sound: Sound) -> TimedFrames:
        count = len(sound.samples) // 160
        level = sound.samples[: count * 160].reshape(count, 160).mean(axis=1)
        return TimedFrames(sound.time + 0.01, (MEAN["audio"] + level[:, None]).astype("f4"))

    def finish(self) -> TimedFrames:
        return TimedFrames(0.0, np.zeros((0, DIMS["audio"]), "f4"))


class VisionStandIn:
    """A frame per picture: its mean brightness, added to the mean of the bundle's features. Black has no face."""

    modality = "vision"
    period = VISION_PERIOD
    source = FeatureSource("stand-in face", "1", 10.0)

    def push(self, picture: Picture) -> TimedFrames:
        level = picture.pixels.mean() / 255
        return TimedFrames(picture.time, (MEAN["vision"] + level)[None].astype("f4"), np.array([level > 0]))

    def finish(self) -> TimedFrames:
        return TimedFrames(0.0, np.zeros((0, DIMS["vision"]), "f4"))


class VoiceStandIn:
    """Voice is where samples are not 0."""

    def push(self, sound: Sound, frames: TimedFrames | None) -> list[tuple[float, bool]]:
        del frames
        return [(sound.end, bool(np.any(sound.samples)))]


class ListenerStandIn:
    """Hears given words when the sound until `delay` seconds after their ends has come."""

    def __init__(self, words: Sequence[Word], delay: float = 0.3) -> None:
        self._words = list(words)
        self._delay = delay
        self.until = 0.0

    def push(self, sound: Sound) -> list[Word]:
        self.until = max(0.0, sound.end - self._delay)
        found = [word for word in self._words if (word.end or 0.0) <= self.until]
        self._words = self._words[len(found) :]
        return found

    def pause(self) -> list[Word]:
        return []

    def finish(self) -> list[Word]:
        found, self._words = self._words, []
        return found


class RecognizerStandIn:
    """Returns given words, those of each utterance in the order of the utterances."""

    name = "stand-in"
    version = "1"

    def __init__(self, words: Sequence[Word]) -> None:
        self._words = list(words)
        self._until = 0.0

    def listen(self) -> ListenerStandIn:
        return ListenerStandIn(self._words)

    def transcribe(self, samples: Any, *, check: Any = None) -> list[Word]:
        del check
        start, self._until = self._until, self._until + len(samples) / SAMPLE_RATE
        found = [word for word in self._words if start < (word.end or 0.0) <= self._until]
        return [Word(word.text, (word.start or 0.0) - start, (word.end or 0.0) - start) for word in found]


def use_stand_ins(monkeypatch: pytest.MonkeyPatch, words: Sequence[Word] = ()) -> None:
    """Let commands compute the features of the bundles in `fake_bundles`, and `--asr` hear these words."""

    def open_front_ends(manifest: Any, *, sound: bool = True, pictures: bool = True, **_: Any) -> opening.FrontEnds:
        names = manifest.modalities
        audio = AudioStandIn() if sound and "audio" in names else None
        vision = VisionStandIn() if pictures and "vision" in names else None
        return opening.FrontEnds(audio, vision, ())

    monkeypatch.setattr(opening, "open_front_ends", open_front_ends)
    monkeypatch.setattr(voice, "open_voice", VoiceStandIn)
    recognizer = RecognizerStandIn(words)
    monkeypatch.setitem(
        sys.modules,
        "edge_msa_runtime.speech.recognizer",
        cast("Any", SimpleNamespace(open_recognizer=lambda *_, **__: recognizer)),
    )


def make_sounds(seconds: float, voice: Sequence[tuple[float, float]] = (), level: float = 0.1) -> list[Sound]:
    """Return blocks of 0.1 s with samples of `level` in some spans, and 0 elsewhere."""
    found = []
    for index in range(round(seconds * 10)):
        time = index / 10
        is_voice = any(start <= time < end for start, end in voice)
        found.append(Sound(time, np.full(SAMPLE_RATE // 10, level if is_voice else 0.0, "f4")))
    return found


def make_pictures(seconds: float, level: int = 128, rate: float = 10.0) -> list[Picture]:
    """Return gray pictures."""
    pixels = np.full((8, 12, 3), level, "u1")
    return [Picture(index / rate, pixels) for index in range(round(seconds * rate))]


def merge(sounds: Sequence[Sound], pictures: Sequence[Picture]) -> list[Any]:
    """Return sound and pictures in the order of their times."""
    return sorted([*sounds, *pictures], key=lambda item: item.end if isinstance(item, Sound) else item.time)


class DeviceStandIn:
    """Delivers signals at their times, and then ends, or disappears with an error.

    Args:
        name: name of the device.
        signals: sounds or pictures.
        origin: when the times are 0.
        fails: whether it disappears.
        may_end: whether it may end; until then, it delivers nothing.
    """

    def __init__(
        self,
        name: str,
        signals: Sequence[Any],
        origin: float,
        *,
        fails: bool = False,
        may_end: Callable[[], bool] = lambda: True,
    ) -> None:
        self.name = name
        self.dropped = self.lost_blocks = 0
        self.ended = False
        self.notes: tuple[str, ...] = ()
        self.is_closed = False
        self._signals = list(signals)
        self._origin = origin
        self._fails = fails
        self._may_end = may_end

    def read(self, timeout: float | None = None) -> Any:
        if not self._signals:
            if self._fails:
                raise CaptureError(f"{self.name} stopped.")
            if not self._may_end():
                time.sleep(0.01)
                return None
            self.ended = True
            return None
        signal = self._signals[0]
        due = self._origin + (signal.end if isinstance(signal, Sound) else signal.time)
        wait = due - time.monotonic()
        if wait > (timeout or 0.0):
            time.sleep(timeout or 0.0)
            return None
        time.sleep(max(0.0, wait))
        self._signals.pop(0)
        return signal

    def close(self) -> None:
        self.is_closed = True

    def __enter__(self) -> DeviceStandIn:  # noqa: PYI034 - typing.Self needs Python 3.11
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
