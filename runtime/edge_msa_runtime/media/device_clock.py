"""Sound of a device at 16 kHz, with the times of the computer's clock.

Blocks arrive late by varying amounts, so samples are counted instead. But the clock of a sound card differs from that
of the computer, often by 0.01 % (0.4 s per hour). The least lateness of several seconds shows the difference. Single
samples are then inserted or removed, so that the sound has no gap and stays in time with pictures.
"""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING

import numpy as np

from edge_msa_runtime.media.resampling import Resampler
from edge_msa_runtime.media.signals import GAP_SECONDS, SAMPLE_RATE, Sound

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Samples = NDArray[np.float32]

_WINDOW = 5.0
"""Seconds of sound whose least lateness counts."""
_TOLERANCE = 0.002
"""Lateness in seconds that is not corrected."""
_CORRECTION_SECONDS = 2.0
"""Seconds of sound over which a lateness is corrected."""
_MOST = 0.005
"""Largest share of samples that are inserted or removed."""
_SET_BACK = 1.0
"""A clock that goes back by more seconds than this was set: the samples count."""


class DeviceClock:
    """Resamples the blocks of a device to 16 kHz, and gives them times.

    Args:
        rate: samples per second of the device.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._shift = 0.0
        self._is_running = False
        self._begin(0.0)

    def _begin(self, time: float) -> None:
        self._resampler = Resampler(self._rate)
        self._start = self._expected = time
        self._count = 0
        self._seconds = 0.0  # of this run
        self._inserted = 0  # samples, less those that were removed
        self._owed = 0.0
        # Seconds of the run and lateness of blocks, if nothing had been inserted; only those that can be the least one.
        self._lateness: collections.deque[tuple[float, float]] = collections.deque()

    def lateness(self, time: float) -> float:
        """Return how much later a block with this time was recorded than the samples before it say, in seconds."""
        return time + self._shift - self._expected if self._is_running else 0.0

    def push(self, time: float, samples: Samples, *, is_gap: bool = False) -> list[Sound]:
        """Return the sound that a block completes.

        Args:
            time: when its first sample was recorded, in seconds of the computer's clock.
            samples: (n,) from -1 to 1.
            is_gap: whether sound is missing before it. The block then has a later time than the samples say.
        """
        sounds: list[Sound] = []
        late = self.lateness(time)
        if late < -_SET_BACK:
            self._shift -= late
            late = 0.0
        least = self._note(late)
        if not self._is_running or is_gap or least > GAP_SECONDS:
            sounds += self._timed(self._resampler.finish()) if self._is_running else []
            self._begin(max(0.0, time + self._shift if is_gap or not self._is_running else self._expected + least))
            self._is_running = True
            least = 0.0
        seconds = len(samples) / self._rate
        self._seconds += seconds
        self._expected += seconds
        return sounds + self._timed(self._correct(self._resampler.push(samples), least))

    def _note(self, late: float) -> float:
        """Note the lateness of a block, and return the least one of the last seconds, or 0 if that is not known yet."""
        raw = late + self._inserted / SAMPLE_RATE
        noted = self._lateness
        while noted and noted[-1][1] >= raw:
            noted.pop()
        noted.append((self._seconds, raw))
        while noted[0][0] < self._seconds - _WINDOW:
            noted.popleft()
        return 0.0 if self._seconds < _WINDOW else noted[0][1] - self._inserted / SAMPLE_RATE

    def _correct(self, samples: Samples, late: float) -> Samples:
        """Insert or remove a few samples."""
        if abs(late) <= _TOLERANCE:
            self._owed = 0.0
            return samples
        share = max(-_MOST, min(late / _CORRECTION_SECONDS, _MOST))
        self._owed += share * len(samples)
        change = int(self._owed)
        if not change or len(samples) <= abs(change):
            return samples
        self._owed -= change
        self._inserted += change
        self._expected += change / SAMPLE_RATE
        return _stretch(samples, change)

    def _timed(self, samples: Samples) -> list[Sound]:
        if not len(samples):
            return []
        sound = Sound(self._start + self._count / SAMPLE_RATE, samples)
        self._count += len(samples)
        return [sound]


def _stretch(samples: Samples, change: int) -> Samples:
    """Insert single samples, or remove them if `change` is negative, where the sound changes least."""
    steps = np.abs(np.diff(samples))
    parts = np.array_split(np.arange(len(steps)), abs(change))
    places = np.array([part[np.argmin(steps[part])] for part in parts])
    if change < 0:
        return np.delete(samples, places + 1)
    return np.insert(samples, places + 1, (samples[places] + samples[places + 1]) / 2)
