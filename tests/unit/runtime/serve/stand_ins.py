"""Front ends, a voice detector and a recognizer whose results are easy to verify."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_msa_runtime.features import FeatureSource
from edge_msa_runtime.front_ends import TimedFrames
from edge_msa_runtime.media.signals import SAMPLE_RATE, Picture, Sound
from edge_msa_runtime.serve.security import HostNames
from edge_msa_runtime.text.words import Word

LOCAL_NAMES = HostNames("127.0.0.1")
PICTURE_RATE = 10.0


class Loudness:
    """A front end of audio: root mean square and peak of each 10 ms."""

    modality = "audio"
    source = FeatureSource("loudness", "1", 100.0)
    period = 0.01

    def __init__(self) -> None:
        self._rest = np.zeros(0, np.float32)
        self._time = 0.0

    def push(self, sound: Sound) -> TimedFrames:
        """Return the frames of complete blocks."""
        if not len(self._rest):
            self._time = sound.time
        samples = np.concatenate([self._rest, sound.samples])
        size = SAMPLE_RATE // 100
        count = len(samples) // size
        blocks, self._rest = samples[: count * size].reshape(count, size), samples[count * size :]
        frames = np.stack([np.sqrt((blocks**2).mean(axis=1)), np.abs(blocks).max(axis=1, initial=0)], axis=1)
        start, self._time = self._time, self._time + count * self.period
        return TimedFrames(start, frames.astype(np.float32))

    def finish(self) -> TimedFrames:
        """Return nothing."""
        return TimedFrames(self._time, np.zeros((0, 2), np.float32))


class Color:
    """A front end of vision: the mean color of a picture."""

    modality = "vision"
    source = FeatureSource("color", "1", PICTURE_RATE)
    period = 1 / PICTURE_RATE

    def push(self, picture: Picture) -> TimedFrames:
        """Return the frame of a picture."""
        return TimedFrames(picture.time, (picture.pixels.mean(axis=(0, 1)) / 255).astype(np.float32)[None])

    def finish(self) -> TimedFrames:
        """Return nothing."""
        return TimedFrames(0.0, np.zeros((0, 3), np.float32))


class Level:
    """A voice detector: voice is what is loud."""

    def push(self, sound: Sound, frames: Any) -> list[tuple[float, bool]]:
        """Return one moment per sound."""
        del frames
        return [(sound.end, bool(np.abs(sound.samples).max(initial=0) > 0.01))]


class Beeps:
    """A recognizer that hears `love` in every full second."""

    name = "beeps"
    version = "1"

    def transcribe(self, samples: Any, *, check: Any = None) -> list[Word]:
        """Return the words of a recording."""
        if check is not None:
            check()
        return [Word("love", float(second), second + 0.5) for second in range(len(samples) // SAMPLE_RATE)]

    def listen(self) -> Any:
        """Return a listener."""
        return _Listener()


class _Listener:
    def __init__(self) -> None:
        self.until = 0.0
        self._words = 0

    def push(self, sound: Sound) -> list[Word]:
        words = []
        while self._words + 1 <= sound.end:
            words.append(Word("love", float(self._words), self._words + 0.5))
            self._words += 1
        self.until = float(self._words)
        return words

    def finish(self) -> list[Word]:
        return []
