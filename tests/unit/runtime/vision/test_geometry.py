from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_msa_runtime.media.signals import Picture

pytest.importorskip("ai_edge_litert")
from edge_msa_runtime.vision.geometry import NAMES_AND_UNITS

if TYPE_CHECKING:
    from edge_msa_runtime.vision.front_end import FaceFrontEnd

faces = pytest.importorskip("edge_msa.data.synthetic.faces", exc_type=ImportError)

RATIOS = [name for name, unit in NAMES_AND_UNITS if unit.startswith("eye ")]


def measured(front_end: FaceFrontEnd, pixels: np.ndarray) -> dict[str, float]:
    found = front_end.push(Picture(0, pixels))
    assert found.valid is not None
    assert found.valid.all()
    return dict(zip(front_end.source.names, found.frames[0].tolist()))


@pytest.fixture(scope="module")
def plain(front_end: FaceFrontEnd) -> dict[str, float]:
    return measured(front_end, faces.render_face(width=320, height=240))


@pytest.mark.parametrize("options", [{"size": 0.3}, {"size": 0.7}, {"angle": 25}, {"center": (0.3, 0.4)}])
def test_ratios_depend_neither_on_size_nor_on_place_nor_on_tilt(
    options: dict[str, float], plain: dict[str, float], front_end: FaceFrontEnd
) -> None:
    other = measured(front_end, faces.render_face(width=320, height=240, **options))
    assert len(RATIOS) == 15
    assert {name: other[name] for name in RATIOS} == pytest.approx({name: plain[name] for name in RATIOS}, abs=0.06)


def test_the_place_and_size_are_those_of_the_face(front_end: FaceFrontEnd) -> None:
    found = measured(front_end, faces.render_face(width=400, height=240, center=(0.3, 0.6), size=0.5))
    assert (found["faceX"], found["faceY"], found["faceSize"]) == pytest.approx((0.3, 0.6, 0.5), abs=0.05)


@pytest.mark.parametrize("angle", [-40, -10, 20])
def test_roll_is_the_rotation_in_the_picture(angle: float, plain: dict[str, float], front_end: FaceFrontEnd) -> None:
    found = measured(front_end, faces.render_face(width=320, height=240, angle=angle))
    assert np.degrees(found["headRoll"] - plain["headRoll"]) == pytest.approx(angle, abs=1.5)


def test_mirrored_pictures_swap_left_and_right(plain: dict[str, float], front_end: FaceFrontEnd) -> None:
    pixels = np.ascontiguousarray(faces.render_face(width=320, height=240)[:, ::-1])
    found = measured(front_end, pixels)
    for name in ("headYaw", "headRoll"):
        assert found[name] == pytest.approx(-plain[name], abs=0.03)
    for name in ("eyeOpening", "browHeight", "browSlope", "mouthCorner"):
        assert found[f"{name}Left"] == pytest.approx(plain[f"{name}Right"], abs=0.05)


def test_a_face_that_smiles_raises_brows_or_opens_the_mouth_is_measured_so(
    plain: dict[str, float], front_end: FaceFrontEnd
) -> None:
    def look(**expression: float) -> dict[str, float]:
        return measured(front_end, faces.render_face(faces.Expression(**expression), width=320, height=240))

    serious, raised, opened = look(smile=0), look(brows=1), look(jaw=1)
    assert serious["mouthCornerLeft"] < plain["mouthCornerLeft"] - 0.1
    assert serious["mouthWidth"] < plain["mouthWidth"] - 0.1
    assert raised["browHeightRight"] > plain["browHeightRight"] + 0.03
    assert opened["mouthOpening"] > plain["mouthOpening"] + 0.1
