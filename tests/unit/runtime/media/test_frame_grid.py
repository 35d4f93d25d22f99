from __future__ import annotations

import numpy as np
import pytest

from edge_msa_runtime.front_ends import TimedFrames
from edge_msa_runtime.media.frame_grid import FrameGrid, join_samples
from edge_msa_runtime.media.signals import Sound


@pytest.mark.parametrize(
    ("times", "rows"),
    [
        ([0.025, 0.035, 0.045], [0, 1, 2]),
        ([0.025, 0.125, 0.1351], [0, 10, 11]),
        ([0.0, 0.0333, 0.0667], [0, 3, 6]),
        ([0.5, 0.5001, 0.5002], [0, 1, 2]),
    ],
)
def test_frames_are_put_at_even_times(times: list[float], rows: list[int]) -> None:
    grid = FrameGrid(0.01)
    for number, time in enumerate(times, 1):
        grid.add(TimedFrames(time, np.full((1, 2), number, np.float32)))
    frames, valid = grid.arrays()
    assert np.flatnonzero(valid).tolist() == rows
    assert frames[rows, 0].tolist() == list(range(1, len(times) + 1))
    assert not frames[~valid].any()


def test_the_grid_does_not_depend_on_the_division_into_pushes() -> None:
    times = [0.025 + 0.01 * k for k in range(1000)]
    one, many = FrameGrid(0.01), FrameGrid(0.01)
    one.add(TimedFrames(times[0], np.ones((1000, 1), np.float32)))
    for time in times:
        many.add(TimedFrames(time, np.ones((1, 1), np.float32)))
    assert all(np.array_equal(a, b) for a, b in zip(one.arrays(), many.arrays()))


def test_gaps_of_the_sound_are_silence() -> None:
    sounds = [Sound(0.5, np.ones(1600, "f4")), Sound(0.6, np.ones(1600, "f4")), Sound(1.0, np.ones(1600, "f4"))]
    samples = join_samples(sounds)
    assert len(samples) == 17_600
    assert np.flatnonzero(np.diff(samples)).tolist() == [7999, 11_199, 15_999]
