"""Read the task file of MediaPipe's Face Landmarker: a zip archive with three models and a reference face."""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

from edge_msa_runtime.backends.cache import cache_folder
from edge_msa_runtime.errors import UsageError, first_line

FILE_NAME = "face_landmarker.task"
URL = f"https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/{FILE_NAME}"
_MEMBERS = (
    "face_detector.tflite",
    "face_landmarks_detector.tflite",
    "face_blendshapes.tflite",
    "geometry_pipeline_metadata_landmarks.binarypb",
)
_MAX_BYTES = 64 * 1024 * 1024  # the published file has 3.8 MB
_DAMAGE = (ValueError, EOFError, OSError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error)


class TaskFile(NamedTuple):
    """Content of a task file.

    Attributes:
        path: the file.
        sha256: SHA-256 of the file.
        detector: model that finds faces.
        landmarks: model that finds the landmarks of a face.
        blendshapes: model that computes blendshapes from landmarks.
        geometry: the reference face, see `reference_face`.
    """

    path: Path
    sha256: str
    detector: bytes
    landmarks: bytes
    blendshapes: bytes
    geometry: bytes


def default_model_path() -> Path:
    """Return where the task file is expected: in the cache folder, see docs/reference/environment.md."""
    return cache_folder() / FILE_NAME


def download_command(path: Path) -> str:
    """Return the command that downloads the published task file."""
    return f"curl -fL --create-dirs -o {path} {URL}"


def read_task_file(path: Path) -> TaskFile:
    """Read a task file.

    Raises:
        UsageError: it is missing, unreadable, larger than 64 MiB, or not the task file of the Face Landmarker.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise UsageError(
            f"There is no face model {str(path)!r}. Pass --face-model FILE, or leave out vision (`features extract "
            f"--modalities audio`, `watch --no-vision`, `live --no-camera`), or download it with: "
            f"{download_command(path)}"
        ) from None
    except OSError as error:
        raise UsageError(f"Cannot read the face model {str(path)!r} ({error.strerror or error}).") from None
    if len(content) > _MAX_BYTES:
        raise wrong_file(path, f"it has more than {_MAX_BYTES // 1024**2} MiB")
    members = _read_members(path, content)
    return TaskFile(path, hashlib.sha256(content).hexdigest(), *members)


def _read_members(path: Path, content: bytes) -> list[bytes]:
    members = []
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in _MEMBERS:
                # The size is checked before anything is unpacked, and zipfile unpacks no more than it.
                if archive.getinfo(name).file_size > _MAX_BYTES:
                    raise wrong_file(path, f"{name} has more than {_MAX_BYTES // 1024**2} MiB")
                members.append(archive.read(name))
    except KeyError:
        raise wrong_file(path, f"{name} is missing") from None
    except _DAMAGE as error:
        raise wrong_file(path, first_line(error)) from None
    for name, member in zip(_MEMBERS, members):
        if name.endswith(".tflite") and member[4:8] != b"TFL3":
            raise wrong_file(path, f"{name} is not a TensorFlow Lite model")
    return members


def wrong_file(path: Path, reason: str) -> UsageError:
    """Return the error for a file that is not the expected one."""
    return UsageError(
        f"The face model must be the {FILE_NAME} of MediaPipe, got {str(path)!r} ({reason}). "
        f"Download it with: {download_command(default_model_path())}"
    )
