"""Find faces in a picture with the detector of MediaPipe's Face Landmarker."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edge_msa_runtime.vision.graph import Graph
from edge_msa_runtime.vision.warping import Region, sample_region

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SIZE = 128
_ANCHORS_PER_CELL = ((8, 2), (16, 6))  # stride in pixels, number of anchors
MIN_SCORE = 0.5
MIN_OVERLAP = 0.5
"""Boxes with a larger intersection over union are the same face."""


class Detection(NamedTuple):
    """A face that the detector found.

    Attributes:
        score: confidence, from 0.5 to 1.
        box: (4,) left, top, right and bottom in pixels of the picture; it may reach beyond the picture.
        points: (6, 2) in pixels: right eye, left eye, nose, mouth, right ear, left ear, as the person says.
    """

    score: float
    box: NDArray[np.float64]
    points: NDArray[np.float64]


class FaceDetector:
    """Finds faces.

    The constants are those of mediapipe/tasks/cc/vision/face_detector/face_detector_graph.cc.

    Args:
        model: the content of `face_detector.tflite`.

    Raises:
        BackendUnavailableError: LiteRT is not installed.
        ValueError: it is another model.
    """

    def __init__(self, model: bytes) -> None:
        self._anchors = _make_anchors()
        count = len(self._anchors)
        outputs = [("regressors", (1, count, 16)), ("classificators", (1, count, 1))]
        self._graph = Graph(model, "face_detector.tflite", (1, _SIZE, _SIZE, 3), outputs)

    def find(self, pixels: NDArray[np.uint8]) -> list[Detection]:
        """Return the faces in a picture (height, width, 3), the most certain one first."""
        height, width = pixels.shape[:2]
        side = max(width, height)
        square = Region(width / 2, height / 2, side, side)  # the picture with black borders
        values = sample_region(pixels, square, _SIZE, fill=True) / np.float32(127.5) - 1
        boxes, scores = self._graph.run(values)
        return [
            Detection(score, square.to_picture(box.reshape(2, 2)).reshape(4), square.to_picture(points))
            for score, box, points in _merge(*_decode(boxes[0], scores[0, :, 0], self._anchors))
        ]


def _make_anchors() -> NDArray[np.float64]:
    """Return the centers (896, 2) of the anchors, from 0 to 1.

    All anchors have the size 1, see mediapipe/calculators/tflite/ssd_anchors_calculator.cc.
    """
    grids = []
    for stride, count in _ANCHORS_PER_CELL:
        cells = _SIZE // stride
        centers = (np.arange(cells) + 0.5) / cells
        x, y = np.meshgrid(centers, centers)
        grids.append(np.repeat(np.stack([x, y], axis=-1).reshape(-1, 2), count, axis=0))
    return np.concatenate(grids)


def _decode(
    boxes: NDArray[np.float32], logits: NDArray[np.float32], anchors: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return scores (n,), boxes (n, 4) and points (n, 6, 2) of all candidates with a sufficient score, from 0 to 1.

    The model returns center, size and points of a box relative to its anchor, in pixels. See
    mediapipe/calculators/tensor/tensors_to_detections_calculator.cc.
    """
    scores = 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -100, 100)))
    positive = (boxes[:, 2] > 0) & (boxes[:, 3] > 0)
    chosen = (scores >= MIN_SCORE) & positive
    values, at = boxes[chosen].astype(np.float64) / _SIZE, anchors[chosen]
    center, half = at + values[:, :2], values[:, 2:4] / 2
    points = at[:, None] + values[:, 4:].reshape(-1, 6, 2)
    return scores[chosen], np.concatenate([center - half, center + half], axis=1), points


def _merge(
    scores: NDArray[np.float64], boxes: NDArray[np.float64], points: NDArray[np.float64]
) -> list[tuple[float, NDArray[np.float64], NDArray[np.float64]]]:
    """Return one box per face: the mean of all candidates that overlap the best one, weighted with their scores.

    This is the weighted variant of mediapipe/calculators/util/non_max_suppression_calculator.cc.
    """
    faces = []
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    left = np.argsort(-scores, kind="stable")
    while len(left):
        best = left[0]
        upper, lower = np.maximum(boxes[left, :2], boxes[best, :2]), np.minimum(boxes[left, 2:], boxes[best, 2:])
        shared = np.prod(np.clip(lower - upper, 0, None), axis=1)
        same = shared > MIN_OVERLAP * (areas[left] + areas[best] - shared)
        same[0] = True
        face = left[same]
        weights = scores[face] / scores[face].sum()
        faces.append((float(scores[best]), weights @ boxes[face], np.tensordot(weights, points[face], 1)))
        left = left[~same]
    return faces
