"""Gaze, eyes, brows and mouth of a face as ratios that depend neither on its size nor on its pose."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_msa_runtime.vision.landmarks import Face
    from edge_msa_runtime.vision.reference_face import Pose


class _Side(NamedTuple):
    """Landmarks of one side of the face, see mediapipe/tasks/cc/vision/face_landmarker/face_landmarks_connections.h."""

    outer: int
    inner: int
    upper_lid: int
    lower_lid: int
    iris: int
    brow_outer: int
    brow_middle: int
    brow_inner: int
    mouth_corner: int


_RIGHT = _Side(33, 133, 159, 145, 468, 70, 105, 107, 61)
_LEFT = _Side(263, 362, 386, 374, 473, 300, 334, 336, 291)
_UPPER_LIP, _INNER_UPPER_LIP, _INNER_LOWER_LIP, _LOWER_LIP = 0, 13, 14, 17

_EYE_WIDTHS, _EYE_DISTANCES = "eye widths", "eye distances"
NAMES_AND_UNITS = (
    ("headYaw", "rad"),
    ("headPitch", "rad"),
    ("headRoll", "rad"),
    ("gazeXLeft", _EYE_WIDTHS),
    ("gazeYLeft", _EYE_WIDTHS),
    ("gazeXRight", _EYE_WIDTHS),
    ("gazeYRight", _EYE_WIDTHS),
    ("eyeOpeningLeft", _EYE_WIDTHS),
    ("eyeOpeningRight", _EYE_WIDTHS),
    ("browHeightLeft", _EYE_DISTANCES),
    ("browHeightRight", _EYE_DISTANCES),
    ("browSlopeLeft", _EYE_DISTANCES),
    ("browSlopeRight", _EYE_DISTANCES),
    ("browDistance", _EYE_DISTANCES),
    ("mouthWidth", _EYE_DISTANCES),
    ("mouthOpening", _EYE_DISTANCES),
    ("mouthCornerLeft", _EYE_DISTANCES),
    ("mouthCornerRight", _EYE_DISTANCES),
    ("faceX", "picture widths"),
    ("faceY", "picture heights"),
    ("faceSize", "picture heights"),
)
"""Name and unit of each value of `measure`. Left and right are as the person says."""


def measure(face: Face, pose: Pose, width: int, height: int) -> NDArray[np.float32]:
    """Return pose, gaze, eyes, brows, mouth, and place of a face, as listed in `NAMES_AND_UNITS`.

    Gaze is the position of the iris from the middle of the corners of its eye: x to the right of the picture, y up. A
    brow is high if its middle is far above the middle of the eye, and slopes if its inner end is above its outer end.
    A corner of the mouth is positive if it is above the middle of the lips. The place is the middle of the landmarks.
    The size is the distance from chin to forehead, in the picture.

    Args:
        face: the face.
        pose: its pose. Its landmarks are measured, without rotation.
        width: of the picture in pixels.
        height: of the picture in pixels.
    """
    points = pose.points
    right, left = _eye(points, _RIGHT), _eye(points, _LEFT)
    unit = max(float(np.linalg.norm(left.middle - right.middle)), np.finfo(np.float64).tiny)
    lips = (points[_UPPER_LIP] + points[_LOWER_LIP]) / 2
    brows = [
        *(points[side.brow_middle, 1] - eye.middle[1] for side, eye in ((_LEFT, left), (_RIGHT, right))),
        *(points[side.brow_inner, 1] - points[side.brow_outer, 1] for side in (_LEFT, _RIGHT)),
        np.linalg.norm(points[_LEFT.brow_inner] - points[_RIGHT.brow_inner]),
    ]
    mouth = [
        np.linalg.norm(points[_LEFT.mouth_corner] - points[_RIGHT.mouth_corner]),
        np.linalg.norm(points[_INNER_UPPER_LIP] - points[_INNER_LOWER_LIP]),
        *(points[side.mouth_corner, 1] - lips[1] for side in (_LEFT, _RIGHT)),
    ]
    place = (face.landmarks[:, :2].min(axis=0) + face.landmarks[:, :2].max(axis=0)) / 2
    size = np.linalg.norm(face.landmarks[152] - face.landmarks[10])
    return np.array(
        [
            *(pose.yaw, pose.pitch, pose.roll),
            *(*left.gaze, *right.gaze, left.opening, right.opening),
            *(np.array([*brows, *mouth]) / unit),
            *(place / (width, height)),
            size / height,
        ],
        np.float32,
    )


class _Eye(NamedTuple):
    middle: NDArray[np.float64]
    gaze: tuple[float, float]
    opening: float


def _eye(points: NDArray[np.float64], side: _Side) -> _Eye:
    outer, inner = points[side.outer], points[side.inner]
    middle = (outer + inner) / 2
    width = max(float(np.linalg.norm(outer - inner)), np.finfo(np.float64).tiny)
    right = (outer - inner) / width if side is _LEFT else (inner - outer) / width
    offset = points[side.iris] - middle
    across = float(offset @ right)
    # The direction up of the eye is that of the face, without its part along the corners.
    up = np.array([0.0, 1.0, 0.0]) - right[1] * right
    along = float(offset @ up) / max(float(np.linalg.norm(up)), np.finfo(np.float64).tiny)
    opening = float(np.linalg.norm(points[side.upper_lid] - points[side.lower_lid]))
    return _Eye(middle, (across / width, along / width), opening / width)
