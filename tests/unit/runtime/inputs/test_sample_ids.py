from __future__ import annotations

import math

import pytest

from edge_msa_runtime.inputs.sample_ids import position_from_id


@pytest.mark.parametrize(
    ("sample", "video", "position"),
    [
        ("03bSnISJMiM$_$11", "03bSnISJMiM", 11.0),
        ("-3g5yACwYnA$_$82.7645", "-3g5yACwYnA", 82.7645),
        ("_dI--eQ6qVU[4]", "_dI--eQ6qVU", 4.0),
        ("video[3.25:7.5]", "video", 3.25),
        ("03bSnISJMiM_11", "03bSnISJMiM", 11.0),
        ("-3g5yACwYnA[82_7645]", "-3g5yACwYnA", 82.7645),
        ("video_0001", "video", 1.0),
    ],
)
def test_an_id_states_the_position_in_its_video(sample: str, video: str, position: float) -> None:
    assert position_from_id(sample, video) == position


@pytest.mark.parametrize(
    ("sample", "video"),
    [
        ("train-7", "train-7"),
        ("speaker7", "speaker"),
        ("video[first]", "video"),
        ("video$_$", "video"),
        ("video_" + "9" * 400, "video"),
        ("x7", "y"),
        ("", ""),
    ],
)
def test_other_ids_state_no_position(sample: str, video: str) -> None:
    assert math.isnan(position_from_id(sample, video))
