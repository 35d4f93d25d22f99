from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from edge_msa_runtime.live.thumbnails import HEIGHT, Thumbnails
from edge_msa_runtime.media.signals import Picture

av: Any = pytest.importorskip("av")


def decode(jpeg: bytes) -> Any:
    with av.open(io.BytesIO(jpeg)) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


def test_a_picture_is_kept_every_second() -> None:
    thumbnails = Thumbnails(every=1.0)
    pixels = np.full((60, 90, 3), 200, "u1")
    for index in range(25):
        thumbnails.add(Picture(index / 10, pixels))
    assert [item.time for item in thumbnails.items] == [0.0, 1.0, 2.0]
    assert decode(thumbnails.items[0].jpeg).shape == (HEIGHT, HEIGHT * 3 // 2, 3)
    assert thumbnails.items[0].width == HEIGHT * 3 // 4
    assert abs(int(decode(thumbnails.items[0].jpeg).mean()) - 200) < 4


@pytest.mark.parametrize("center", [(60, 30), (2, 2), (119, 59)])
def test_the_face_is_cut_out(center: tuple[int, int]) -> None:
    landmarks = np.array([[center[0] - 8, center[1] - 8, 0], [center[0] + 8, center[1] + 8, 0]], "f4")
    vision = cast("Any", SimpleNamespace(face=SimpleNamespace(landmarks=landmarks)))
    pixels = np.zeros((60, 120, 3), "u1")
    pixels[max(0, center[1] - 15) : center[1] + 15, max(0, center[0] - 15) : center[0] + 15] = 255
    thumbnails = Thumbnails(vision)
    thumbnails.add(Picture(0.0, pixels))
    assert decode(thumbnails.items[0].jpeg).mean() > 240
