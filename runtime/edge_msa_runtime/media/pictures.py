"""Which pictures of a video are used, and how a decoded one becomes upright red, green and blue."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Containers round times, often to milliseconds.
_ROUNDING = 1e-3
MAX_PIXELS = 8192 * 4608
"""Largest width times height of a picture: larger than any camera takes, and 113 MB as red, green and blue."""
# Pixels are made square only if they are far from it: a difference of 1 % changes no face.
_SQUARE = 0.01
# A wider or narrower pixel than this is an error in the file, and not used.
_MOST_STRETCHED = 4.0


class PictureClock:
    """Chooses pictures: for each tick k / rate the first one at or after it, and each picture at most once.

    A camera that is slower than the ticks, or whose rate varies, thus gives fewer pictures, each with its own time. A
    picture may be a millisecond before its tick, because containers round times.

    Args:
        rate: ticks per second; None chooses every picture.
    """

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._next = 0

    def choose(self, time: float) -> bool:
        """Return whether the next picture, at `time` in seconds (0 or later), is used. Times must not decrease."""
        if self._rate is None:
            return True
        if time < self._next / self._rate - _ROUNDING:
            return False
        self._next = math.floor((time + _ROUNDING) * self._rate) + 1
        return True


def upright_pixels(frame: Any, pixel_shape: float = 1.0) -> NDArray[np.uint8]:
    """Return a decoded PyAV frame as (height, width, 3) uint8: red, green and blue.

    Args:
        frame: an `av.VideoFrame`. A rotation that its metadata state, as those of phones do, is applied.
        pixel_shape: width of a pixel divided by its height. Other pictures than those with square pixels are widened.
            A picture that would then have more than `MAX_PIXELS` pixels becomes smaller.
    """
    width, height = frame.width, frame.height
    if abs(pixel_shape - 1) > _SQUARE and 1 / _MOST_STRETCHED <= pixel_shape <= _MOST_STRETCHED:
        width = max(2, round(width * pixel_shape))
    if width * height > MAX_PIXELS:
        scale = math.sqrt(MAX_PIXELS / (width * height))
        width, height = max(2, int(width * scale)), max(2, int(height * scale))
    pixels = frame.reformat(width=width, height=height, format="rgb24").to_ndarray()
    quarter_turns = round(frame.rotation / 90) % 4
    if quarter_turns:
        pixels = np.ascontiguousarray(np.rot90(pixels, quarter_turns))
    upright: NDArray[np.uint8] = pixels
    return upright
