from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge_msa_runtime.media.pictures import MAX_PIXELS, PictureClock, upright_pixels


def choose(rate: float | None, times: list[float]) -> list[float]:
    clock = PictureClock(rate)
    return [time for time in times if clock.choose(time)]


def test_a_slow_camera_gives_every_picture_and_a_fast_one_the_first_of_each_tick() -> None:
    slow = [0, 0.3, 0.65, 1.0]
    assert choose(15, slow) == slow
    assert choose(2, [0.1, 0.2, 0.5, 0.7, 1.2, 1.4, 1.5]) == [0.1, 0.5, 1.2, 1.5]
    assert choose(None, slow) == slow


def test_after_a_pause_missed_ticks_give_one_picture() -> None:
    assert choose(10, [0, 5, 5.01, 5.1]) == [0, 5, 5.1]


@pytest.mark.parametrize(
    ("shape", "width"), [(1.0, 64), (1.009, 64), (1.5, 96), (0.5, 32), (5.0, 64), (1e-5, 64), (65535.0, 64)]
)
def test_pixels_are_made_square_unless_their_shape_is_impossible(shape: float, width: int) -> None:
    def reformat(width: int, **_: Any) -> Any:
        return SimpleNamespace(to_ndarray=lambda: np.zeros((48, width, 3), np.uint8))

    frame = SimpleNamespace(width=64, height=48, rotation=0, reformat=reformat)
    assert upright_pixels(frame, shape).shape == (48, width, 3)


def test_a_widened_picture_has_no_more_pixels_than_allowed() -> None:
    sizes = []

    def reformat(width: int, height: int, **_: Any) -> Any:
        sizes.append((width, height))
        return SimpleNamespace(to_ndarray=lambda: np.zeros((1, 1, 3), np.uint8))

    upright_pixels(SimpleNamespace(width=8192, height=4608, rotation=0, reformat=reformat), 4.0)
    width, height = sizes[0]
    assert width * height <= MAX_PIXELS
    assert width / height == pytest.approx(4 * 8192 / 4608, rel=1e-3)
