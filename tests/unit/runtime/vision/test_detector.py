from __future__ import annotations

import numpy as np

from edge_msa_runtime.vision.detector import _decode, _make_anchors, _merge


def test_anchors_are_the_centers_of_two_grids() -> None:
    anchors = _make_anchors()
    assert anchors.shape == (896, 2)
    np.testing.assert_array_equal(anchors[:3] * 128, [[4, 4], [4, 4], [12, 4]])
    np.testing.assert_array_equal(anchors[512:519] * 128, [[8, 8]] * 6 + [[24, 8]])
    np.testing.assert_array_equal(anchors[-1] * 128, [120, 120])


def test_boxes_and_points_are_relative_to_their_anchor() -> None:
    boxes = np.zeros((3, 16), np.float32)
    boxes[:, :4] = [12.8, 0, 25.6, 51.2]
    boxes[:, 4:6] = [-12.8, 6.4]
    boxes[2, 3] = -1
    scores, corners, points = _decode(boxes, np.array([2, -2, 3], np.float32), np.full((3, 2), 0.5))
    np.testing.assert_allclose(scores, [1 / (1 + np.exp(-2))])  # one score is too low, and one box has no height
    np.testing.assert_allclose(corners, [[0.5, 0.3, 0.7, 0.7]], rtol=1e-6)
    np.testing.assert_allclose(points[0, :2], [[0.4, 0.55], [0.5, 0.5]], rtol=1e-6)


def test_overlapping_boxes_are_one_face_at_their_weighted_mean() -> None:
    boxes = np.array([[0.0, 0.0, 0.4, 0.4], [0.5, 0.5, 0.9, 0.9], [0.04, 0.0, 0.44, 0.4]])
    points = np.repeat(boxes[:, None, :2], 6, axis=1)
    faces = _merge(np.array([0.6, 0.8, 0.9]), boxes, points)
    assert [score for score, _, _ in faces] == [0.9, 0.8]
    np.testing.assert_allclose(faces[0][1], [0.024, 0, 0.424, 0.4], atol=1e-12)
    np.testing.assert_allclose(faces[0][2], [[0.024, 0]] * 6, atol=1e-12)
    np.testing.assert_array_equal(faces[1][1], boxes[1])


def test_no_candidates_are_no_face() -> None:
    assert _merge(np.zeros(0), np.zeros((0, 4)), np.zeros((0, 6, 2))) == []
