"""Pictures of faces for tests, made from one photo. `make_face_scores.py` stores what MediaPipe finds in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edge_msa.data.synthetic.faces import Expression, render_face

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]


def small(expression: Expression | None = None, **options: float | tuple[float, float]) -> Pixels:
    """Return a picture of 320 x 240 pixels."""
    return render_face(expression, width=320, height=240, **options)  # type: ignore[arg-type]


def two_faces() -> Pixels:
    """Return a picture with a large face on the left and a small one on the right."""
    left = render_face(Expression(smile=0), width=320, height=360, size=0.42)
    right = render_face(width=320, height=360, size=0.28, center=(0.5, 0.6))
    return np.concatenate([left, right], axis=1)


def lit(factor: float, offset: float = 0.0) -> Pixels:
    """Return a picture with another brightness."""
    pixels: Pixels = np.clip(small() * factor + offset, 0, 255).astype(np.uint8)
    return pixels


def noisy(deviation: float) -> Pixels:
    """Return a picture with the noise of a camera in the dark."""
    noise = np.random.default_rng(0).normal(0, deviation, (240, 320, 3))
    return np.clip(small() + noise, 0, 255).astype(np.uint8)


def blurred(radius: int) -> Pixels:
    """Return a picture in which each pixel is the mean of its neighbors, three times."""
    pixels = small().astype(np.float64)
    for axis in (0, 1, 0, 1, 0, 1):
        pixels = np.mean([np.roll(pixels, step, axis) for step in range(-radius, radius + 1)], axis=0)
    return pixels.astype(np.uint8)


def gray() -> Pixels:
    """Return a picture without colors."""
    return np.repeat(small().mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)


PICTURES: dict[str, Callable[[], Pixels]] = {
    "320x240": small,
    "640x480": render_face,
    "1280x720": lambda: render_face(width=1280, height=720, size=0.6),
    "240x426": lambda: render_face(width=240, height=426, size=0.3),
    "small face": lambda: small(size=0.2),
    "large face": lambda: small(size=0.75),
    "rotated by -45": lambda: small(angle=-45),
    "rotated by -20": lambda: small(angle=-20),
    "rotated by 15": lambda: small(angle=15),
    "rotated by 30": lambda: small(angle=30),
    "flipped": lambda: np.ascontiguousarray(small()[:, ::-1]),
    "upside down": lambda: np.ascontiguousarray(small()[::-1, ::-1]),
    "at the left border": lambda: small(center=(0.06, 0.5)),
    "at the upper border": lambda: small(center=(0.5, 0.16)),
    "beyond the lower border": lambda: small(center=(0.6, 0.93)),
    "cropped": lambda: np.ascontiguousarray(small()[60:180, 90:230]),
    "very dark": lambda: lit(0.06),
    "dark": lambda: lit(0.25),
    "bright": lambda: lit(1.7),
    "low contrast": lambda: lit(0.3, 120),
    "gray": gray,
    "noise of 15": lambda: noisy(15),
    "noise of 40": lambda: noisy(40),
    "blurred by 1": lambda: blurred(1),
    "blurred by 3": lambda: blurred(3),
    "no smile": lambda: small(Expression(smile=0)),
    "half a smile": lambda: small(Expression(smile=0.5)),
    "brows raised": lambda: small(Expression(brows=1)),
    "brows low": lambda: small(Expression(smile=0.2, brows=-1)),
    "jaw open": lambda: small(Expression(smile=0.3, jaw=1)),
    "rotated without a smile": lambda: small(Expression(smile=0), angle=25, size=0.4),
    "two faces": two_faces,
    "black": lambda: np.zeros((240, 320, 3), np.uint8),
    "noise only": lambda: np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8),
}
"""Functions that make the pictures, by name."""
