"""Find the landmarks and blendshapes of a face with the models of MediaPipe's Face Landmarker."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edge_msa_runtime.vision.graph import Graph
from edge_msa_runtime.vision.warping import Region, sample_region

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_msa_runtime.vision.detector import Detection

COUNT = 478
_SIZE = 256
_SCALE = 1.5  # of the region around the box of a detection
MIN_PRESENCE = 0.5

# Landmarks that the blendshape model takes, and its outputs:
# mediapipe/tasks/cc/vision/face_landmarker/face_blendshapes_graph.cc.
# fmt: off
_BLENDSHAPE_LANDMARKS = np.array([
    0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66, 67, 70, 78, 80,
    81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146, 148, 149, 150, 152, 153,
    154, 155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173, 176, 178, 181, 185, 191, 195, 197, 234, 246, 249,
    251, 263, 267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312, 314,
    317, 318, 321, 323, 324, 332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382,
    384, 385, 386, 387, 388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466, 468, 469, 470, 471, 472, 473,
    474, 475, 476, 477,
])
# fmt: on
BLENDSHAPES = (
    "_neutral",
    "browDownLeft",
    "browDownRight",
    "browInnerUp",
    "browOuterUpLeft",
    "browOuterUpRight",
    "cheekPuff",
    "cheekSquintLeft",
    "cheekSquintRight",
    "eyeBlinkLeft",
    "eyeBlinkRight",
    "eyeLookDownLeft",
    "eyeLookDownRight",
    "eyeLookInLeft",
    "eyeLookInRight",
    "eyeLookOutLeft",
    "eyeLookOutRight",
    "eyeLookUpLeft",
    "eyeLookUpRight",
    "eyeSquintLeft",
    "eyeSquintRight",
    "eyeWideLeft",
    "eyeWideRight",
    "jawForward",
    "jawLeft",
    "jawOpen",
    "jawRight",
    "mouthClose",
    "mouthDimpleLeft",
    "mouthDimpleRight",
    "mouthFrownLeft",
    "mouthFrownRight",
    "mouthFunnel",
    "mouthLeft",
    "mouthLowerDownLeft",
    "mouthLowerDownRight",
    "mouthPressLeft",
    "mouthPressRight",
    "mouthPucker",
    "mouthRight",
    "mouthRollLower",
    "mouthRollUpper",
    "mouthShrugLower",
    "mouthShrugUpper",
    "mouthSmileLeft",
    "mouthSmileRight",
    "mouthStretchLeft",
    "mouthStretchRight",
    "mouthUpperUpLeft",
    "mouthUpperUpRight",
    "noseSneerLeft",
    "noseSneerRight",
)


class Face(NamedTuple):
    """A face in a picture. Left and right are as the person says.

    Attributes:
        detection: where the detector found it.
        presence: confidence that the landmarks are those of a face, from 0.5 to 1.
        landmarks: (478, 3) in pixels of the picture: x to the right, y down, and z away from the camera, with a zero
            near the middle of the head.
        blendshapes: (52,) strength of each of `BLENDSHAPES`, from 0 to 1.
    """

    detection: Detection
    presence: float
    landmarks: NDArray[np.float32]
    blendshapes: NDArray[np.float32]


class LandmarkFinder:
    """Computes landmarks and blendshapes of detected faces.

    The constants are those of mediapipe/tasks/cc/vision/face_landmarker/face_landmarks_detector_graph.cc and of
    face_detector_graph.cc, which chooses the region.

    Args:
        landmarks: the content of `face_landmarks_detector.tflite`.
        blendshapes: the content of `face_blendshapes.tflite`.

    Raises:
        BackendUnavailableError: LiteRT is not installed.
        ValueError: these are other models.
    """

    def __init__(self, landmarks: bytes, blendshapes: bytes) -> None:
        outputs = [("Identity", (1, 1, 1, 3 * COUNT)), ("Identity_1", (1, 1, 1, 1))]
        self._landmarks = Graph(landmarks, "face_landmarks_detector.tflite", (1, _SIZE, _SIZE, 3), outputs)
        shape = (1, len(_BLENDSHAPE_LANDMARKS), 2)
        scores = [("StatefulPartitionedCall:0", (len(BLENDSHAPES),))]
        self._blendshapes = Graph(blendshapes, "face_blendshapes.tflite", shape, scores)

    def locate(self, pixels: NDArray[np.uint8], detection: Detection) -> Face | None:
        """Return the face of a detection in a picture (height, width, 3), or None if it is not a face."""
        region = _region(detection)
        values = sample_region(pixels, region, _SIZE, fill=False) / np.float32(255)
        found, presence = self._landmarks.run(values)
        confidence = 1 / (1 + math.exp(-min(max(float(presence.item()), -100.0), 100.0)))
        if confidence < MIN_PRESENCE:
            return None
        shares = found.reshape(COUNT, 3).astype(np.float64) / _SIZE
        depths = shares[:, 2:] * region.width
        landmarks = np.concatenate([region.to_picture(shares[:, :2]), depths], axis=1).astype(np.float32)
        (blendshapes,) = self._blendshapes.run(landmarks[_BLENDSHAPE_LANDMARKS, :2])
        return Face(detection, confidence, landmarks, blendshapes)


def _region(detection: Detection) -> Region:
    """Return the box of a detection, 1.5 times as large and rotated so that the line between the eyes is horizontal."""
    left, top, right, bottom = detection.box.tolist()
    across, down = (detection.points[1] - detection.points[0]).tolist()
    return Region(
        (left + right) / 2,
        (top + bottom) / 2,
        (right - left) * _SCALE,
        (bottom - top) * _SCALE,
        math.atan2(down, across),
    )
