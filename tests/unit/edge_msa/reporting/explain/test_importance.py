from __future__ import annotations

import numpy as np

from edge_msa.data.dataset import FloatArray, Frames, Split
from edge_msa.reporting.explain.importance import MAX_CELLS, average_cells, segment_effects, segment_frames


def test_segments_cover_all_frames_once() -> None:
    assert segment_frames(1) == ((0, 1),)
    assert segment_frames(MAX_CELLS)[-1] == (MAX_CELLS - 1, MAX_CELLS)
    segments = segment_frames(375)
    assert len(segments) == MAX_CELLS
    assert [frame for first, last in segments for frame in range(first, last)] == list(range(375))


def test_the_effect_of_a_frame_is_what_its_removal_changes() -> None:
    values = np.array([[[1.0], [2.0], [4.0], [0.0]]] * 2, np.float32)
    valid = np.array([[True, True, True, False]] * 2)
    split = Split(("a", "b"), ("a", "b"), np.zeros(2, np.float32), {"audio": Frames(valid, values)})

    def predict_sum(part: Split) -> FloatArray:
        return np.asarray(part.modalities["audio"].take().sum(axis=1), np.float32)

    effects = segment_effects(split, 1, "audio", segment_frames(3), predict_sum)
    np.testing.assert_allclose(effects, [[1], [2], [4]])
    np.testing.assert_allclose(segment_effects(split, 1, "audio", ((0, 2), (2, 3)), predict_sum), [[3], [4]])


def test_means_of_cells_skip_missing_frames() -> None:
    values = np.array([1.0, np.nan, 3.0, np.nan], np.float32)
    assert average_cells(values, ((0, 2), (2, 3), (3, 4))) == [1.0, 3.0, None]
