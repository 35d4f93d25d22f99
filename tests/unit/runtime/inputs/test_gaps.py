"""Gap frames in whole samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edge_msa_runtime.inputs.gaps import find_gaps, pack_frames, trim_mask
from edge_msa_runtime.inputs.validation import InputValidator

GAP = -1.0
MASKS = [
    ("1111", "1234"),
    ("1010", "1_3"),
    ("1001", "1_4"),
    ("0110", "23"),
    ("0010", "3"),
    ("0000", ""),
    ("101101", "1_34_6"),
    ("0100101", "2_5_7"),
]


def mask(text: str) -> Any:
    return np.array([letter == "1" for letter in text])


@pytest.mark.parametrize(("valid", "rows"), MASKS)
def test_one_gap_frame_takes_the_place_of_masked_frames_between_valid_ones(valid: str, rows: str) -> None:
    frames = np.arange(1, len(valid) + 1, dtype=np.float32)[:, None]
    expected = [GAP if row == "_" else float(row) for row in rows]
    gap_frame = np.array([GAP], np.float32)
    assert pack_frames(frames, mask(valid), gap_frame)[:, 0].tolist() == expected
    assert len(find_gaps(mask(valid))) == rows.count("_")
    without = [value for value in expected if value != GAP]
    assert pack_frames(frames, mask(valid), None)[:, 0].tolist() == without

    validator = InputValidator({"audio": 1}, gap_frames={"audio": (GAP,)})
    found, far, gaps = validator.validate(language=None, audio=frames, vision=None, valid={"audio": mask(valid)})
    assert [values[:, 0].tolist() for values in found.values()] == ([expected] if expected else [])
    assert (far, sum(gaps.values())) == ((), rows.count("_"))


def test_a_gap_frame_is_not_far_out_of_range() -> None:
    validator = InputValidator({"audio": 1}, {"audio": 1.0}, {"audio": (100.0,)})
    valid = {"audio": mask("101")}
    assert validator.validate(language=None, audio=np.ones((3, 1)), vision=None, valid=valid)[1] == ()


@pytest.mark.parametrize(
    ("valid", "part", "inner"),
    [("0110", (1, 3), None), ("1011", (0, 4), "1011"), ("01010", (1, 4), "101"), ("000", (0, 0), None)],
)
def test_padding_is_trimmed(valid: str, part: tuple[int, int], inner: str | None) -> None:
    used, rest = trim_mask(mask(valid))
    assert (used.start, used.stop) == part
    assert (None if rest is None else rest.tolist()) == (None if inner is None else mask(inner).tolist())
