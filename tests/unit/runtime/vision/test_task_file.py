from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.vision import task_file
from edge_msa_runtime.vision.task_file import default_model_path, read_task_file

MEMBERS = {
    "face_detector.tflite": b"\x1c\0\0\0TFL3detector",
    "face_landmarks_detector.tflite": b"\x1c\0\0\0TFL3landmarks",
    "face_blendshapes.tflite": b"\x1c\0\0\0TFL3blendshapes",
    "geometry_pipeline_metadata_landmarks.binarypb": b"geometry",
}


def write(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_the_members_and_the_digest_are_returned(tmp_path: Path) -> None:
    path = write(tmp_path / "face.task", MEMBERS)
    task = read_task_file(path)
    assert [task.detector, task.landmarks, task.blendshapes, task.geometry] == list(MEMBERS.values())
    assert task.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_missing_file_is_refused_with_the_command_that_downloads_it(tmp_path: Path) -> None:
    path = tmp_path / "models" / "face_landmarker.task"
    with pytest.raises(UsageError) as error:
        read_task_file(path)
    assert str(error.value) == (
        f"There is no face model {str(path)!r}. Pass --face-model FILE, or leave out vision (`features extract "
        "--modalities audio`, `watch --no-vision`, `live --no-camera`), or download it with: "
        f"curl -fL --create-dirs -o {path} "
        "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/face_landmarker.task"
    )


def test_the_default_is_in_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGE_MSA_CACHE", str(tmp_path))
    assert default_model_path() == tmp_path / "face_landmarker.task"


@pytest.mark.parametrize("name", MEMBERS)
def test_a_missing_member_is_named(name: str, tmp_path: Path) -> None:
    others = {member: content for member, content in MEMBERS.items() if member != name}
    with pytest.raises(UsageError, match=f"{name} is missing"):
        read_task_file(write(tmp_path / "face.task", others))


def test_another_model_format_is_refused(tmp_path: Path) -> None:
    members = {**MEMBERS, "face_blendshapes.tflite": b"\x08\x07onnx model"}
    with pytest.raises(UsageError, match=r"face_blendshapes\.tflite is not a TensorFlow Lite model"):
        read_task_file(write(tmp_path / "face.task", members))


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"PK\3\4 truncated", b"PK\5\6" + bytes(18)])
def test_a_file_that_is_not_a_task_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "face.task"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"The face model must be the face_landmarker\.task of MediaPipe") as error:
        read_task_file(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("at", [1, 40, 200])
def test_a_truncated_file_is_refused(at: int, tmp_path: Path) -> None:
    path = write(tmp_path / "face.task", MEMBERS)
    path.write_bytes(path.read_bytes()[:-at])
    with pytest.raises(UsageError, match="must be the face_landmarker"):
        read_task_file(path)


def test_a_file_with_one_changed_bit_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "face.task", MEMBERS)
    content = bytearray(path.read_bytes())
    content[content.index(b"face_detector.tflite") + len("face_detector.tflite") + 4] ^= 1
    path.write_bytes(content)
    with pytest.raises(UsageError, match="must be the face_landmarker"):
        read_task_file(path)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Cannot read the face model"):
        read_task_file(tmp_path)


def test_a_member_that_unpacks_to_too_much_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_file, "_MAX_BYTES", 1024 * 1024)
    bomb = {**MEMBERS, "face_detector.tflite": bytes(2 * 1024 * 1024)}
    with pytest.raises(UsageError, match=r"face_detector\.tflite has more than 1 MiB"):
        read_task_file(write(tmp_path / "face.task", bomb))


def test_a_file_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_file, "_MAX_BYTES", 1024 * 1024)
    path = tmp_path / "face.task"
    path.write_bytes(bytes(1024 * 1024 + 1))
    with pytest.raises(UsageError, match="it has more than 1 MiB"):
        read_task_file(path)
