"""Frames and sound of a recording with gaps, as arrays in which a place is a time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Sequence

import numpy as np

from edge_msa_runtime.media.signals import SAMPLE_RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_msa_runtime.front_ends import TimedFrames
    from edge_msa_runtime.media.signals import Sound


class FrameGrid:
    """Puts frames at even times, from the time of the first one. Times without a frame are masked.

    Args:
        period: seconds between two frames.
    """

    def __init__(self, period: float) -> None:
        self._period = period
        self._start: float | None = None
        self._rows: list[int] = []
        self._frames: list[NDArray[np.float32]] = []
        self._valid: list[NDArray[np.bool_]] = []

    @property
    def count(self) -> int:
        """Number of frames that were added."""
        return len(self._rows)

    def add(self, timed: TimedFrames) -> None:
        """Add consecutive frames. Frames come in the order of their times."""
        count = len(timed.frames)
        if not count:
            return
        if self._start is None:
            self._start = math.floor(timed.time / self._period + 1e-3) * self._period
        first = math.floor((timed.time - self._start) / self._period + 1e-3)
        first = max(first, self._rows[-1] + 1) if self._rows else first
        self._rows += range(first, first + count)
        frames = np.asarray(timed.frames, np.float32)
        valid = np.ones(count, np.bool_) if timed.valid is None else np.asarray(timed.valid, np.bool_)
        self._frames.append(np.where(valid[:, None], frames, np.float32(0)))
        self._valid.append(valid)

    def arrays(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return frames (T, d) and mask (T,)."""
        values = np.concatenate(self._frames)
        frames = np.zeros((self._rows[-1] + 1, values.shape[1]), np.float32)
        valid = np.zeros(len(frames), np.bool_)
        frames[self._rows] = values
        valid[self._rows] = np.concatenate(self._valid)
        return frames, valid


def join_samples(sounds: Sequence[Sound]) -> NDArray[np.float32]:
    """Return the samples (n,) from 0 s on, with silence in gaps, so that words keep their times."""
    pieces: list[NDArray[np.float32]] = []
    count = 0
    for sound in sounds:
        missing = max(0, round(sound.time * SAMPLE_RATE) - count)
        pieces += [np.zeros(missing, np.float32), sound.samples]
        count += missing + len(sound.samples)
    return np.concatenate(pieces)
