"""The reference face of a task file, and the pose of a head relative to it."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Iterator, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_VALUES_PER_VERTEX = 5  # x, y, z, and a position in a texture


class Pose(NamedTuple):
    """How a head is turned. All angles are 0 if the face looks straight into the camera, upright.

    Attributes:
        yaw: radians, positive if the face turns to the right side of the picture.
        pitch: radians, positive if the face looks up.
        roll: radians, positive if the head tilts clockwise in the picture.
        points: landmarks (n, 3) without position and rotation, in the units of the reference face: x to the right of
            the picture, y up, z to the camera.
    """

    yaw: float
    pitch: float
    roll: float
    points: NDArray[np.float64]


class ReferenceFace:
    """A face that looks straight into the camera.

    MediaPipe keeps it in `geometry_pipeline_metadata_landmarks.binarypb`, a protocol buffer with a mesh of 468
    landmarks in cm, and the weights of the landmarks that determine the pose: those that expressions hardly move. See
    mediapipe/tasks/cc/vision/face_geometry/proto/geometry_pipeline_metadata.proto.

    Args:
        content: the protocol buffer.

    Raises:
        ValueError: it is something else.
    """

    def __init__(self, content: bytes) -> None:
        try:
            fields = list(_fields(content))
            (mesh,) = [value for field, value in fields if field == 1]
            numbers = b"".join(value for field, value in _fields(mesh) if field == 3)
            vertices = np.frombuffer(numbers, "<f4").reshape(-1, _VALUES_PER_VERTEX)[:, :3].astype(np.float64)
            weights = [dict(_fields(value)) for field, value in fields if field == 2]
            self._chosen = np.array([int.from_bytes(item[1], "little") for item in weights])
            self._weights = np.array([struct.unpack("<f", item[2])[0] for item in weights], np.float64)
            self._points = vertices[self._chosen]
        except (ValueError, KeyError, IndexError, OverflowError, struct.error):
            raise ValueError("the reference face cannot be read") from None
        if len(self._chosen) < 3 or not (np.isfinite(self._points).all() and (self._weights > 0).all()):
            raise ValueError("the reference face has invalid values")

    def fit(self, landmarks: NDArray[np.float32]) -> Pose:
        """Return the pose of a face.

        The similarity transform that maps the reference face to the landmarks with the smallest weighted sum of squares
        (S. Umeyama, Least-squares estimation of transformation parameters between two point patterns, 1991). The camera
        is taken to be far away: a face at the border of a wide picture seems to be turned by its direction.

        Args:
            landmarks: (n, 3) in pixels, as in `Face`.
        """
        flipped = landmarks * np.array([1.0, -1.0, -1.0])
        weights = self._weights / self._weights.sum()
        at, reference_at = weights @ flipped[self._chosen], weights @ self._points
        moved, reference = flipped[self._chosen] - at, self._points - reference_at
        left, singular, right = np.linalg.svd((moved * weights[:, None]).T @ reference)
        signs = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
        rotation = (left * signs) @ right
        scale = (singular * signs).sum() / (weights @ (reference**2).sum(axis=1))
        points = (flipped - at) @ rotation / max(scale, np.finfo(np.float64).tiny) + reference_at
        return Pose(
            yaw=float(np.arctan2(rotation[0, 2], rotation[2, 2])),
            pitch=float(np.arcsin(np.clip(rotation[1, 2], -1, 1))),
            roll=float(-np.arctan2(rotation[1, 0], rotation[1, 1])),
            points=points,
        )


def _fields(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield number and content of each field of a protocol buffer (https://protobuf.dev/programming-guides/encoding/).

    Raises:
        ValueError: it is truncated, or has a type of field that no protocol buffer of today has.
    """
    at = 0

    def variable() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = content[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(content):
        tag = variable()
        kind = tag & 7
        if kind == 0:
            yield tag >> 3, variable().to_bytes(8, "little")
            continue
        if kind not in {1, 2, 5}:
            raise ValueError(f"unknown type of field {kind}")
        size = variable() if kind == 2 else {1: 8, 5: 4}[kind]
        if at + size > len(content):
            raise ValueError("truncated")
        yield tag >> 3, content[at : at + size]
        at += size
