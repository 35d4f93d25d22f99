from __future__ import annotations

import math
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edge_msa_runtime.vision.reference_face import ReferenceFace

VERTICES = np.random.default_rng(0).normal(size=(468, 3)).astype(np.float32)
CHOSEN = (4, 33, 263, 300, 467)


def field(number: int, content: bytes) -> bytes:
    size = len(content)
    length = bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7 & 127 | 128, size >> 14])
    return bytes([number << 3 | 2]) + length + content


def number(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128, value >> 7])


def geometry() -> bytes:
    """Return a protocol buffer like the one in a task file."""
    floats = [value for vertex in VERTICES.tolist() for value in (*vertex, 0.5, 0.5)]
    mesh = b"\x08\0" + b"".join(b"\x1d" + struct.pack("<f", value) for value in floats)
    weights = [field(2, b"\x08" + number(at) + b"\x15" + struct.pack("<f", 0.1 + at / 468)) for at in CHOSEN]
    return field(1, mesh) + b"".join(weights) + b"\x18\x02"


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Return the rotation of a head that tilts clockwise, then looks up, then turns to the right of the picture."""
    turn = np.array([[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]])
    look = np.array([[1, 0, 0], [0, math.cos(pitch), math.sin(pitch)], [0, -math.sin(pitch), math.cos(pitch)]])
    tilt = np.array([[math.cos(roll), math.sin(roll), 0], [-math.sin(roll), math.cos(roll), 0], [0, 0, 1]])
    turned: np.ndarray = turn @ look @ tilt
    return turned


@pytest.mark.parametrize(
    "angles", [(0, 0, 0), (0.5, 0, 0), (0, 0.3, 0), (0, 0, -0.7), (-0.6, 0.4, 1.2), (1.2, -0.8, 3.0)]
)
def test_the_pose_of_a_moved_and_scaled_face_is_found(angles: tuple[float, float, float]) -> None:
    placed = VERTICES @ rotation(*angles).T * 12 + [320, -240, 5]
    pose = ReferenceFace(geometry()).fit((placed * [1, -1, -1]).astype(np.float32))
    np.testing.assert_allclose((pose.yaw, pose.pitch, pose.roll), angles, atol=1e-4)
    np.testing.assert_allclose(pose.points, VERTICES, atol=1e-3)


def test_only_the_chosen_landmarks_determine_the_pose() -> None:
    moved = VERTICES.copy()
    others = [at for at in range(468) if at not in CHOSEN]
    moved[others] += 5
    pose = ReferenceFace(geometry()).fit(moved * np.array([1, -1, -1], np.float32))
    np.testing.assert_allclose((pose.yaw, pose.pitch, pose.roll), 0, atol=1e-5)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        geometry()[:-30],
        geometry()[:9000],
        field(1, b"") + field(2, b"\x08\x01\x15\0\0\0\x3f"),
        b"\x0b",
        b"\xff" * 20,
        geometry() + field(2, b"\x08\x7f\x15" + struct.pack("<f", -1)),
        geometry() + field(2, b"\x08" + number(470) + b"\x15" + struct.pack("<f", 1)),
    ],
)
def test_anything_else_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="the reference face"):
        ReferenceFace(content)


def test_the_published_reference_face_looks_into_the_camera(face_model: Path) -> None:
    with zipfile.ZipFile(face_model) as archive:
        face = ReferenceFace(archive.read("geometry_pipeline_metadata_landmarks.binarypb"))
    assert len(face._chosen) == 33
    right_eye, left_eye = (face._points[face._chosen.tolist().index(at)] for at in (33, 263))
    assert left_eye[0] == pytest.approx(-right_eye[0])
    assert left_eye[0] > 0
    assert left_eye[1] == pytest.approx(right_eye[1])
