from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_msa.data.synthetic import faces
from edge_msa.data.synthetic.faces import Expression, load_photo, render_face
from edge_msa_runtime.media.signals import Picture

if TYPE_CHECKING:
    from edge_msa_runtime.vision.front_end import FaceFrontEnd

STEPS = (0, 0.25, 0.5, 0.75, 1)


@pytest.fixture(scope="module")
def front_end(face_model: Path) -> FaceFrontEnd:
    pytest.importorskip("ai_edge_litert")
    from edge_msa_runtime.vision.front_end import FaceFrontEnd

    return FaceFrontEnd(face_model)


def found(front_end: FaceFrontEnd, name: str, *expressions: Expression) -> list[float]:
    index = front_end.source.names.index(name)
    pictures = [render_face(expression, width=240, height=180) for expression in expressions]
    return [float(front_end.push(Picture(0, pixels)).frames[0, index]) for pixels in pictures]


@pytest.mark.parametrize("name", ["mouthSmileLeft", "mouthSmileRight"])
def test_blendshapes_follow_the_smile(name: str, front_end: FaceFrontEnd) -> None:
    smiles = found(front_end, name, *(Expression(smile=step) for step in STEPS))
    assert np.diff(smiles).min() > 0
    assert smiles[0] < 0.1
    assert smiles[-1] > 0.8


def test_blendshapes_follow_the_brows(front_end: FaceFrontEnd) -> None:
    raised = found(front_end, "browInnerUp", *(Expression(brows=step) for step in STEPS))
    assert np.diff(raised).min() > 0
    assert raised[-1] > raised[0] + 0.3
    low, plain = found(front_end, "browDownLeft", Expression(brows=-1), Expression())
    assert low > plain + 0.08


def test_blendshapes_follow_the_jaw(front_end: FaceFrontEnd) -> None:
    opened = found(front_end, "jawOpen", *(Expression(jaw=step) for step in STEPS))
    assert np.diff(opened).min() > 0
    assert opened[-1] > opened[0] + 0.1


def test_without_changes_the_face_is_that_of_the_photo() -> None:
    photo = load_photo()
    rendered = render_face(width=304, height=304, center=(151 / 304, 124 / 304), size=108 / 304)
    np.testing.assert_array_equal(rendered, photo)
    assert faces._PHOTO.stat().st_size < 60_000


def test_a_picture_has_the_requested_shape_even_if_the_face_is_outside() -> None:
    pixels = render_face(Expression(smile=0, brows=1, jaw=1), width=64, height=48, center=(-2, 3))
    assert pixels.shape == (48, 64, 3)
    assert pixels.dtype == np.uint8
