"""Pictures of a face whose expression follows parameters, for tests and demos of raw media.

`face.jpg` is a part of a portrait of the astronaut Eileen Collins by NASA, which is in the public domain: the image
`astronaut` of scikit-image, from the collection Great Images in NASA. Moving parts of it smoothly changes the
expression.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_msa_runtime.vision.warping import sample

_PHOTO = Path(__file__).with_name("face.jpg")
_MIDDLE = (151.0, 124.0)  # of the face in the photo, in pixels
_HEIGHT = 108.0  # of the face, from chin to forehead, in pixels
# Points that move, in pixels of the photo. The right side of the face is on the left.
_MOUTH_CORNERS = ((130.0, 139.5), (173.0, 140.5))
_MOUTH_MIDDLE = (151.0, 147.0)
_CHIN = (150.0, 166.0)
_BROWS = ((127.0, 88.0), (181.0, 90.0))
_INNER_BROWS = ((143.0, 90.0), (164.0, 90.5))
_REACH = 3.5  # spreads, beyond which a shift moves pixels by less than 1/450 of it


@dataclasses.dataclass(frozen=True)
class Expression:
    """How a face looks. Values outside of the ranges exaggerate it.

    Blendshapes of the Face Landmarker follow the parameters monotonically, as measured at 640 x 480 pixels.

    Attributes:
        smile: from 0, no smile, to 1, the smile of the photo. `mouthSmileLeft` and `mouthSmileRight` are .01 at 0, .15
            at .2, .5 at .4, .67 at .6, .80 at .8, and .90 at 1.
        brows: from -1, low, over 0, as in the photo, to 1, raised. `browInnerUp` is .01 at 0, .14 at .5, and .47 at 1;
            `browDownLeft` is .04 at 0, .11 at -.5, and .18 at -1.
        jaw: from 0, as in the photo, to 1, open. `jawOpen` is .02 at 0, .08 at .5, and .17 at 1. A jaw of 1 also lets a
            face without a smile seem to smile (.53).
    """

    smile: float = 1.0
    brows: float = 0.0
    jaw: float = 0.0


class _Shift(NamedTuple):
    """A part of the photo that moves, in pixels: its middle, how far around it pixels move too, and where it moves."""

    point: tuple[float, float]
    spread: tuple[float, float]
    move: tuple[float, float]


@functools.cache
def load_photo() -> NDArray[np.uint8]:
    """Return the photo (304, 304, 3), which must not be changed."""
    from matplotlib.image import imread

    photo: NDArray[np.uint8] = np.ascontiguousarray(imread(_PHOTO))
    photo.setflags(write=False)
    return photo


def render_face(
    expression: Expression | None = None,
    *,
    width: int = 640,
    height: int = 480,
    center: tuple[float, float] = (0.5, 0.5),
    size: float = 0.45,
    angle: float = 0.0,
) -> NDArray[np.uint8]:
    """Return a picture (height, width, 3) of the face.

    Args:
        expression: how the face looks (default: as in the photo).
        width: of the picture in pixels.
        height: of the picture in pixels.
        center: middle of the face, as shares of the width and the height of the picture.
        size: height of the face from chin to forehead, as a share of the height of the picture.
        angle: clockwise rotation in degrees.
    """
    scale = size * height / _HEIGHT
    x, y = np.arange(width) - center[0] * width, np.arange(height) - center[1] * height
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    positions = np.empty((height, width, 2), np.float32)
    positions[..., 0] = _MIDDLE[0] + (x * cos + y[:, None] * sin) / scale
    positions[..., 1] = _MIDDLE[1] + (y[:, None] * cos - x * sin) / scale
    for shift in _shifts(expression or Expression()):
        across, down = (np.array(shift.point) - _MIDDLE) * scale
        middle = (center[0] * width + across * cos - down * sin, center[1] * height + across * sin + down * cos)
        _move(positions, shift, middle, _REACH * max(shift.spread) * scale)
    return sample(load_photo(), positions, fill=False).astype(np.uint8)


def _move(positions: NDArray[np.float32], shift: _Shift, middle: tuple[float, float], radius: float) -> None:
    """Change the positions in the photo of all pixels of a picture that are nearer to the middle than the radius."""
    columns, rows = (slice(max(math.floor(at - radius), 0), max(math.ceil(at + radius), 0)) for at in middle)
    near = positions[rows, columns]
    offset = (near - np.array(shift.point, np.float32)) / np.array(shift.spread, np.float32)
    near -= np.exp(-0.5 * (offset**2).sum(axis=-1, keepdims=True)) * np.array(shift.move, np.float32)


def _shifts(expression: Expression) -> list[_Shift]:
    down = 1.3 * (1 - expression.smile)
    raised = 1.2 * expression.brows
    shifts = [
        *(
            _Shift(at, (9.0, 8.0), (3.0 * way * down, 7.0 * down))
            for at, way in zip(_MOUTH_CORNERS, (1, -1), strict=True)
        ),
        _Shift(_MOUTH_MIDDLE, (8.0, 6.0), (0.0, -2.0 * down)),
        *(_Shift(at, (12.0, 6.0), (0.0, -4.0 * raised)) for at in _BROWS),
        *(_Shift(at, (7.0, 6.0), (0.0, -3.0 * raised)) for at in _INNER_BROWS),
        _Shift(_CHIN, (20.0, 12.0), (0.0, 14.0 * expression.jaw)),
    ]
    return [shift for shift in shifts if any(shift.move)]
