from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edge_msa_runtime.errors import DataError
from edge_msa_runtime.inputs.frames import RawFrames, build_frames

pytestmark = pytest.mark.case("F11")


def _padded(begin: int, end: int, total: int = 6) -> Any:
    values = np.zeros((total, 2), np.float32)
    values[begin:end] = np.arange(1, end - begin + 1)[:, None]
    return values


def _build(samples: list[Any], lengths: Any) -> tuple[list[list[float]], list[str]]:
    """Return the valid frames of every sample, by their first feature, and the notes."""
    raw = RawFrames(values=np.stack(samples), lengths=np.asarray(lengths))
    frames, notes = build_frames(raw, "test", "audio", len(samples))
    return [frames.sample(row)[0][:, 0].tolist() for row in range(len(samples))], notes


def test_the_side_of_the_padding_is_found_for_every_sample() -> None:
    samples = [_padded(0, 3), _padded(3, 6), _padded(2, 4), _padded(0, 6)]
    values, notes = _build(samples, [3, 3, 2, 6])
    assert values == [[1, 2, 3], [1, 2, 3], [1, 2], [1, 2, 3, 4, 5, 6]]
    assert len(notes) == 1
    assert notes[0].startswith("audio: in test, 2 of 4 samples are not padded where")


def test_frames_padded_on_the_right_need_no_note() -> None:
    assert _build([_padded(0, 3), _padded(0, 1)], [3, 4]) == ([[1, 2, 3], [1, 0, 0, 0]], [])


def test_other_samples_decide_where_both_sides_are_possible() -> None:
    ambiguous = _padded(2, 4)
    assert _build([ambiguous, _padded(2, 6)], [4, 4])[0][0] == [1, 2, 0, 0]
    assert _build([ambiguous, _padded(0, 4)], [4, 4])[0][0] == [0, 0, 1, 2]


def test_frames_beyond_the_length_are_counted() -> None:
    values, notes = _build([_padded(0, 5), _padded(0, 2)], [3, 2])
    assert values == [[1, 2, 3], [1, 2]]
    assert notes == ["audio: in test, 1 of 2 samples has frames that are not zero beyond the length, which are ignored"]


def test_the_id_that_fills_the_padding_is_found() -> None:
    ids = np.array([[9, 9, 1, 2], [9, 9, 9, 9], [3, 4, 9, 9]])
    raw = RawFrames(ids=ids, table=np.ones((10, 2), np.float32), lengths=np.array([2, 1, 2]))
    frames, _ = build_frames(raw, "test", "language", 3)
    assert frames.valid[[0, 2]].tolist() == [[False, False, True, True], [True, True, False, False]]


@pytest.mark.parametrize(
    ("lengths", "actual"), [([7, 1], "1 to 7"), ([1.5, 2], "1.5 to 2"), (["a", "b"], "<U1"), ([np.nan, 1], "nan")]
)
def test_invalid_lengths_are_refused(lengths: Any, actual: str) -> None:
    with pytest.raises(DataError, match=f"whole numbers from 0 to 6 frames, got {actual}"):
        _build([_padded(0, 1)] * 2, lengths)
