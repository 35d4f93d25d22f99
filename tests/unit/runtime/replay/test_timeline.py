from __future__ import annotations

import numpy as np
import pytest

from edge_msa_runtime.replay.items import Control, FrameChunk, WordChunk
from edge_msa_runtime.replay.timeline import Timeline


def test_a_wrong_time_is_not_remembered() -> None:
    timeline = Timeline()
    timeline.check(Control("predict", 10.0))
    with pytest.raises(ValueError, match="timestamp must be at most 3600 s after the newest time of the stream, 10 s"):
        timeline.check(Control("predict", 1e9))
    timeline.check(Control("predict", 3600.0))
    with pytest.raises(ValueError, match=r"times\[0\]\[1\] must be at most 3600 s after .* 3600 s, got 7300.5"):
        timeline.check(WordChunk(("a",), ((7200.0, 7300.5),)))


def test_items_without_times_are_accepted_and_the_first_time_may_be_any() -> None:
    timeline = Timeline()
    timeline.check(FrameChunk("audio", np.zeros((3, 2))))
    timeline.check(Control("predict"))
    timeline.check(FrameChunk("audio", np.zeros((3, 2)), 1.7e9, 0.1, arrival=1.7e9 + 5))
    timeline.check(Control("reset"))
    timeline.check(Control("predict", 0.0))


def test_the_times_of_one_item_belong_together() -> None:
    with pytest.raises(ValueError, match="the time of the last frame must be at most 3600 s from timestamp, 0 s"):
        Timeline().check(FrameChunk("audio", np.zeros((3, 2)), 0.0, 3000.0))
    with pytest.raises(ValueError, match="arrival must be at most 3600 s from timestamp, 0 s, got 3601"):
        Timeline().check(FrameChunk("audio", np.zeros((1, 2)), 0.0, arrival=3601.0))
