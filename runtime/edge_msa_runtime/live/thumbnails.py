"""Small pictures for the page."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from edge_msa_runtime.vendor_packages import import_package

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_msa_runtime.front_ends import FrontEnd
    from edge_msa_runtime.media.signals import Picture

HEIGHT = 112
"""Pixels of a thumbnail; it is shown at half of that."""
_MARGIN = 1.5
"""Size of a thumbnail, relative to the face in it."""


class Thumbnail(NamedTuple):
    """A small picture.

    Attributes:
        time: when it was taken, in seconds.
        jpeg: the file.
        width: width at which it is shown, in pixels.
    """

    time: float
    jpeg: bytes
    width: int


class Thumbnails:
    """Keeps a thumbnail every few seconds: of the face if a front end finds one, else of the whole picture.

    Args:
        vision: front end that has processed the pictures; None if there is none.
        every: seconds between thumbnails.

    Attributes:
        items: the thumbnails.
    """

    def __init__(self, vision: FrontEnd | None = None, every: float = 1.0) -> None:
        self._vision = vision
        self._every = every
        self._next = 0.0
        self.items: list[Thumbnail] = []

    def add(self, picture: Picture) -> None:
        """Keep a picture if it is due. The front end has processed it before."""
        if picture.time < self._next:
            return
        self._next = picture.time + self._every
        height, width = picture.pixels.shape[:2]
        face = getattr(self._vision, "face", None)
        left, top, right, bottom = (0, 0, width, height) if face is None else _square(face.landmarks, width, height)
        pixels = picture.pixels[top:bottom, left:right]
        wanted = max(2, round((right - left) * HEIGHT / (bottom - top) / 2) * 2)
        self.items.append(Thumbnail(picture.time, encode_jpeg(pixels, wanted, HEIGHT), wanted // 2))


def _square(landmarks: NDArray[np.float32], width: int, height: int) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of a square around a face, or of what the picture has of it."""
    low, high = landmarks[:, :2].min(axis=0), landmarks[:, :2].max(axis=0)
    (x, y), half = (low + high) / 2, _MARGIN * float((high - low).max()) / 2
    left, top = max(0, min(int(x - half), width - 2)), max(0, min(int(y - half), height - 2))
    return left, top, max(left + 2, min(int(x + half), width)), max(top + 2, min(int(y + half), height))


def encode_jpeg(pixels: NDArray[np.uint8], width: int, height: int) -> bytes:
    """Return a picture in a size as JPEG.

    Raises:
        PackageImportError: PyAV is not installed.
    """
    av: Any = import_package("av")
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
    frame = frame.reformat(width=width, height=height, format="yuvj420p")
    codec = av.CodecContext.create("mjpeg", "w")
    codec.width, codec.height, codec.pix_fmt = width, height, "yuvj420p"
    codec.time_base = Fraction(1, 25)
    codec.options = {"q": "5"}
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)])
