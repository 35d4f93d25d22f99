"""The vision front end: one frame per picture, with the features of one face."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.features import FeatureSource
from edge_msa_runtime.front_ends import TimedFrames
from edge_msa_runtime.vision import detector, landmarks
from edge_msa_runtime.vision.geometry import NAMES_AND_UNITS, measure
from edge_msa_runtime.vision.reference_face import ReferenceFace
from edge_msa_runtime.vision.task_file import read_task_file, wrong_file

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_msa_runtime.media.signals import Picture
    from edge_msa_runtime.vision.detector import Detection
    from edge_msa_runtime.vision.landmarks import Face

LARGEST = "largest"
EXTRACTOR = "edge-msa face"
"""Name of what computes the features."""
VERSION = "1"
"""Of the features. A change of what they mean changes the version."""


class FaceFrontEnd:
    """Computes blendshapes, head pose, gaze, and the geometry of mouth and brows of one face per picture.

    Every picture is examined on its own, so its frame depends on nothing but the picture. Only one thread at a time may
    use a front end.

    Args:
        model: the task file of MediaPipe's Face Landmarker.
        rate: pictures per second that the source delivers.
        face: which face of a picture: the `largest` one, or the one nearest to a point (x, y), from 0 to 1: shares of
            the width and the height of the picture.

    Attributes:
        face: the face of the last picture; None if it had none.

    Raises:
        UsageError: an argument is invalid, or the model is missing, unreadable or another one.
        BackendUnavailableError: LiteRT is not installed.
    """

    modality = "vision"

    def __init__(self, model: Path, *, rate: float = 15.0, face: str | tuple[float, float] = LARGEST) -> None:
        if not 0 < rate < np.inf:
            raise UsageError(f"rate must be a positive number of pictures per second, got {rate}")
        self._point = check_face(face)
        task = read_task_file(model)
        try:
            self._detector = detector.FaceDetector(task.detector)
            self._finder = landmarks.LandmarkFinder(task.landmarks, task.blendshapes)
            self._reference = ReferenceFace(task.geometry)
        except ValueError as error:
            raise wrong_file(model, str(error)) from None
        names = [*((name, "") for name in landmarks.BLENDSHAPES), *NAMES_AND_UNITS]
        self.source = FeatureSource(
            extractor=EXTRACTOR,
            version=VERSION,
            rate_hz=rate,
            names=tuple(name for name, _ in names),
            units=tuple(unit for _, unit in names),
            parameters={
                "min_score": detector.MIN_SCORE,
                "min_overlap": detector.MIN_OVERLAP,
                "min_presence": landmarks.MIN_PRESENCE,
            },
            model_sha256=task.sha256,
        )
        self.period = 1 / rate
        self.face: Face | None = None

    def push(self, signal: Picture) -> TimedFrames:
        """Return the frame (1, 73) of a picture. It is zero and not valid if there is no face.

        Raises:
            UsageError: the pixels are not an array (height, width, 3) of uint8.
            InferenceError: a model failed.
        """
        pixels = signal.pixels
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
            raise UsageError(
                f"pixels must be an array (height, width, 3) of uint8, got {pixels.shape} of {pixels.dtype}"
            )
        self.face = self._find(pixels)
        frame = np.zeros((1, len(self.source.names)), np.float32)
        if self.face is not None:
            height, width = pixels.shape[:2]
            pose = self._reference.fit(self.face.landmarks)
            frame[0] = np.concatenate([self.face.blendshapes, measure(self.face, pose, width, height)])
        return TimedFrames(signal.time, frame, np.array([self.face is not None]))

    def locate(self, pixels: NDArray[np.uint8]) -> list[Face]:
        """Return all faces of a picture (height, width, 3), the most certain one first."""
        faces = (self._finder.locate(pixels, item) for item in self._detector.find(pixels))
        return [face for face in faces if face is not None]

    def finish(self) -> TimedFrames:
        """Return no frame, because none is pending."""
        self.face = None
        return TimedFrames(0.0, np.zeros((0, len(self.source.names)), np.float32), np.zeros(0, np.bool_))

    def _find(self, pixels: NDArray[np.uint8]) -> Face | None:
        found = sorted(self._detector.find(pixels), key=lambda item: self._order(item, pixels))
        return next((face for face in (self._finder.locate(pixels, item) for item in found) if face), None)

    def _order(self, detection: Detection, pixels: NDArray[np.uint8]) -> float:
        """Return a number that is smallest for the face to choose."""
        upper, lower = detection.box[:2], detection.box[2:]
        if self._point is None:
            return -float(np.prod(lower - upper))
        point = np.array(self._point) * (pixels.shape[1], pixels.shape[0])
        return float(np.linalg.norm((upper + lower) / 2 - point))


def check_face(face: str | tuple[float, float]) -> tuple[float, float] | None:
    """Return the point, or None for the largest face.

    Raises:
        UsageError: it is neither.
    """
    if isinstance(face, str):
        if face == LARGEST:
            return None
    elif isinstance(face, (tuple, list)) and len(face) == 2 and all(_is_share(value) for value in face):
        return (float(face[0]), float(face[1]))
    raise UsageError(f"face must be {LARGEST!r} or a point (x, y) from 0 to 1, got {face!r}")


def parse_face(text: str) -> str | tuple[float, float]:
    """Return the face that an option names: `largest`, or `X,Y`.

    Raises:
        UsageError: the text is something else.
    """
    if text == LARGEST:
        return LARGEST
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError:
        x = y = -1.0
    if not (_is_share(x) and _is_share(y)):
        raise UsageError(f"--face must be {LARGEST}, or X,Y with numbers from 0 to 1, got {text!r:.40}.")
    return (x, y)


def _is_share(value: object) -> bool:
    return isinstance(value, (int, float)) and 0 <= value <= 1
