"""Sound and pictures with their times. All sources deliver these, and all front ends take them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAMPLE_RATE = 16_000
"""Samples per second of all sound."""
GAP_SECONDS = 0.05
"""A sound whose time differs by at most so much from the end of the sound before it continues that sound."""


class Sound(NamedTuple):
    """Consecutive samples of one channel.

    Attributes:
        time: when the first sample was recorded, in seconds since the start of the recording.
        samples: (n,) float32 from -1 to 1, `SAMPLE_RATE` per second.
    """

    time: float
    samples: NDArray[np.float32]

    @property
    def end(self) -> float:
        """When the sample after the last one would be recorded, in seconds."""
        return self.time + len(self.samples) / SAMPLE_RATE


class Picture(NamedTuple):
    """One picture of a video or a camera.

    Attributes:
        time: when it was taken, in seconds since the start of the recording.
        pixels: (height, width, 3) uint8, red, green and blue, upright.
    """

    time: float
    pixels: NDArray[np.uint8]
