"""What the front end finds equals what MediaPipe 1.2.3 found: see tests/make_face_scores.py."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.locations import REPOSITORY

if TYPE_CHECKING:
    from edge_msa_runtime.vision.front_end import FaceFrontEnd

pytest.importorskip("ai_edge_litert")
face_pictures = pytest.importorskip("tests.face_pictures", exc_type=ImportError)

SCORES: dict[str, Any] = json.loads((REPOSITORY / "tests" / "face_scores.json").read_text())


def test_the_scores_are_those_of_this_model_and_of_all_pictures(face_model: Path) -> None:
    assert SCORES["model_sha256"] == hashlib.sha256(face_model.read_bytes()).hexdigest()
    assert list(SCORES["pictures"]) == list(face_pictures.PICTURES)


@pytest.mark.parametrize("name", SCORES["pictures"])
def test_faces_are_those_of_mediapipe(name: str, front_end: FaceFrontEnd) -> None:
    pixels = face_pictures.PICTURES[name]()
    faces = front_end.locate(pixels)
    expected = SCORES["pictures"][name]
    assert len(faces) == len(expected)
    for face, scores in zip(faces, expected):
        np.testing.assert_allclose(face.blendshapes, scores["blendshapes"], atol=0.02)
        extent = float(np.ptp(face.landmarks[:, 1]))
        found = face.landmarks[SCORES["landmarks"], :2]
        np.testing.assert_allclose(found, scores["landmarks"], atol=0.01 * extent)
