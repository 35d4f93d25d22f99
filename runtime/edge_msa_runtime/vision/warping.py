"""Sample rectangles of a picture, scaled and rotated, with bilinear interpolation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STEPS = 32  # positions between two pixels


class Region(NamedTuple):
    """A rectangle of a picture, in pixels. It may reach beyond the picture.

    Attributes:
        x: horizontal position of its center.
        y: vertical position of its center.
        width: length of its upper side.
        height: length of its left side.
        angle: clockwise rotation in radians.
    """

    x: float
    y: float
    width: float
    height: float
    angle: float = 0.0

    def to_picture(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return points (..., 2) in pixels of the picture.

        Args:
            points: (..., 2), x and y from 0 to 1: shares of the width and the height of the region.
        """
        right = (points[..., 0] - 0.5) * self.width
        down = (points[..., 1] - 0.5) * self.height
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        return np.stack([self.x + right * cos - down * sin, self.y + right * sin + down * cos], axis=-1)


def sample_region(pixels: NDArray[np.uint8], region: Region, size: int, *, fill: bool) -> NDArray[np.float32]:
    """Return the pixels of a region, as `sample` does. The first sample is its upper left corner.

    Args:
        pixels: (height, width, 3).
        region: the rectangle.
        size: number of samples along each of its sides.
        fill: whether samples outside of the picture are 0; otherwise they are the nearest pixel.

    Returns:
        (size, size, 3), whole numbers from 0 to 255.
    """
    shares = np.arange(size) / size
    return sample(pixels, region.to_picture(np.stack(np.meshgrid(shares, shares), axis=-1)), fill=fill)


def sample(pixels: NDArray[np.uint8], positions: NDArray[np.floating], *, fill: bool) -> NDArray[np.float32]:
    """Return pixels at positions between them.

    The models expect what MediaPipe gives them (mediapipe/calculators/tensor/image_to_tensor_converter_opencv.cc):
    pixels are points at whole coordinates, positions are rounded to 1/32 pixel, and values to whole numbers. All steps
    after the first use whole numbers, so every machine returns the same.

    Args:
        pixels: (height, width, 3).
        positions: (..., 2), x and y in pixels.
        fill: whether pixels outside of the picture are 0; otherwise they are the nearest pixel.

    Returns:
        (..., 3), whole numbers from 0 to 255.
    """
    height, width = pixels.shape[:2]
    rounded = np.rint(positions * _STEPS).astype(np.int32)
    x, y = rounded[..., 0], rounded[..., 1]
    left, top = x // _STEPS, y // _STEPS
    across, down = x - left * _STEPS, y - top * _STEPS
    corners = []
    for row, vertical in ((top, _STEPS - down), (top + 1, down)):
        for column, horizontal in ((left, _STEPS - across), (left + 1, across)):
            weights = vertical * horizontal
            if fill:
                weights *= (row >= 0) & (row < height) & (column >= 0) & (column < width)
            near = np.clip(row, 0, height - 1).astype(np.intp) * width + np.clip(column, 0, width - 1)
            corners.append((near * 3, weights))
    values = pixels.reshape(-1)
    sampled = np.empty((*x.shape, 3), np.float32)
    for channel in range(3):  # much faster than all three at once
        total = np.full(x.shape, _STEPS**2 // 2, np.int32)
        for near, weights in corners:
            total += values[channel:].take(near) * weights
        sampled[..., channel] = total // _STEPS**2
    return sampled
