from __future__ import annotations

import hashlib
import socket
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.features import FeatureSource
from edge_msa_runtime.media.signals import Picture
from edge_msa_runtime.vision.landmarks import BLENDSHAPES

pytest.importorskip("ai_edge_litert")
from edge_msa_runtime.vision.front_end import FaceFrontEnd, parse_face

face_pictures = pytest.importorskip("tests.face_pictures", exc_type=ImportError)

BLACK = np.zeros((48, 64, 3), np.uint8)


def value(frames: Any, front_end: FaceFrontEnd, name: str) -> float:
    return float(frames.frames[0, front_end.source.names.index(name)])


def test_a_picture_gives_one_frame_at_its_time(front_end: FaceFrontEnd) -> None:
    found = front_end.push(Picture(2.5, face_pictures.small()))
    assert found.time == 2.5
    assert found.frames.shape == (1, 73)
    assert found.frames.dtype == np.float32
    assert found.valid is not None
    assert found.valid.tolist() == [True]
    assert np.isfinite(found.frames).all()
    assert front_end.finish().frames.shape == (0, 73)


def test_a_picture_without_a_face_gives_a_frame_that_is_not_valid(front_end: FaceFrontEnd) -> None:
    front_end.push(Picture(0, face_pictures.small()))
    found = front_end.push(Picture(1, BLACK))
    assert front_end.face is None
    assert found.valid is not None
    assert found.valid.tolist() == [False]
    assert not found.frames.any()


def test_a_frame_depends_on_its_picture_only(front_end: FaceFrontEnd, face_model: Path) -> None:
    pictures = [face_pictures.PICTURES[name]() for name in ("320x240", "no smile", "black", "rotated by 15")]
    forward = [front_end.push(Picture(0, pixels)).frames for pixels in pictures]
    front_end.finish()
    backward = [front_end.push(Picture(0, pixels)).frames for pixels in reversed(pictures)][::-1]
    other = FaceFrontEnd(face_model)
    fresh = [other.push(Picture(0, pixels)).frames for pixels in pictures[1:]]
    np.testing.assert_array_equal(forward, backward)
    np.testing.assert_array_equal(forward[1:], fresh)


def test_the_source_names_features_parameters_and_model(front_end: FaceFrontEnd, face_model: Path) -> None:
    source = front_end.source
    assert source.title == "edge-msa face 1"
    assert source.rate_hz == 15
    assert source.names[:52] == BLENDSHAPES
    assert len(source.names) == len(source.units) == 73
    assert source.units[source.names.index("headYaw")] == "rad"
    assert source.parameters == {"min_score": 0.5, "min_overlap": 0.5, "min_presence": 0.5}
    assert source.model_sha256 == hashlib.sha256(face_model.read_bytes()).hexdigest()
    assert FeatureSource.from_json(source.__dict__, "source") == source


@pytest.mark.parametrize(
    ("face", "smiles"), [("largest", False), ((0.1, 0.5), False), ((0.9, 0.5), True), ((0.74, 0.6), True)]
)
def test_the_largest_or_the_nearest_of_two_faces_is_used(
    face: str | tuple[float, float], smiles: bool, face_model: Path
) -> None:
    front_end = FaceFrontEnd(face_model, face=face)
    found = front_end.push(Picture(0, face_pictures.two_faces()))
    assert (value(found, front_end, "mouthSmileLeft") > 0.5) is smiles
    assert (value(found, front_end, "faceX") > 0.5) is smiles


@pytest.mark.parametrize("face", ["smallest", (0.5,), (0.5, 1.5), (0.5, float("nan"))])
def test_another_choice_of_a_face_is_refused(face: Any, face_model: Path) -> None:
    with pytest.raises(UsageError, match="face must be 'largest' or a point"):
        FaceFrontEnd(face_model, face=face)


def test_an_option_names_a_face() -> None:
    assert parse_face("largest") == "largest"
    assert parse_face("0.25, 1") == (0.25, 1.0)
    for text in ("", "smallest", "0.5", "0.5,1.5", "nan,0", "0,0,0"):
        with pytest.raises(UsageError, match=r"--face must be largest, or X,Y with numbers from 0 to 1, got "):
            parse_face(text)


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf")])
def test_a_rate_that_is_not_positive_is_refused(rate: float, face_model: Path) -> None:
    with pytest.raises(UsageError, match="rate must be a positive number"):
        FaceFrontEnd(face_model, rate=rate)


@pytest.mark.parametrize("pixels", [BLACK[..., 0], BLACK[:0], BLACK.astype(np.float32), BLACK.repeat(2, axis=2)])
def test_other_pixels_are_refused(pixels: Any, front_end: FaceFrontEnd) -> None:
    with pytest.raises(UsageError, match="pixels must be an array"):
        front_end.push(Picture(0, pixels))


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (3, 2)])
def test_a_tiny_picture_has_no_face(shape: tuple[int, int], front_end: FaceFrontEnd) -> None:
    found = front_end.push(Picture(0, np.full((*shape, 3), 128, np.uint8)))
    assert found.valid is not None
    assert not found.valid.any()


def test_a_task_file_with_models_in_other_places_is_refused(face_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "face.task"
    with zipfile.ZipFile(face_model) as source, zipfile.ZipFile(path, "w") as archive:
        for name in source.namelist():
            chosen = "face_detector.tflite" if name == "face_landmarks_detector.tflite" else name
            archive.writestr(name, source.read(chosen))
    with pytest.raises(UsageError, match=r"face_landmarks_detector\.tflite must have the input of shape"):
        FaceFrontEnd(path)


def test_a_truncated_model_in_a_task_file_is_refused(face_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "face.task"
    with zipfile.ZipFile(face_model) as source, zipfile.ZipFile(path, "w") as archive:
        for name in source.namelist():
            archive.writestr(name, source.read(name)[:5000])
    with pytest.raises(UsageError, match=r"face_detector\.tflite cannot be loaded"):
        FaceFrontEnd(path)


def test_loading_prints_nothing(face_model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    FaceFrontEnd(face_model)
    assert capfd.readouterr() == ("", "")


def test_nothing_opens_a_socket(face_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError((arguments, options))

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)
    assert FaceFrontEnd(face_model).push(Picture(0, face_pictures.small())).frames.any()
