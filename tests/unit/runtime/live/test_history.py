from __future__ import annotations

import pytest

from edge_msa_runtime.live.history import History
from edge_msa_runtime.replay.items import WordChunk
from edge_msa_runtime.streams.events import StreamEvent
from tests.unit.runtime.live.histories import make_history
from tests.unit.runtime.replay.made_predictions import make


def test_utterances_have_their_words() -> None:
    utterances = make_history().utterances
    assert [item.start for item in utterances] == [0, 6, 12, 18, 24, 30, 36]
    assert utterances[0].words[0].text == "i"
    assert all(item.start < (word.end or 0) <= item.final.time for item in utterances for word in item.words)


def test_of_several_predictions_of_a_moment_the_last_one_counts() -> None:
    history = History()
    for score, is_final in ((0.1, False), (0.2, False), (0.3, True)):
        history.on_prediction(make(1.0, score, made_at=1.0 + score, is_final=is_final))
    history.on_prediction(make(1.5, 0.4))
    assert [moment.score for moment in history.moments] == pytest.approx([0.3, 0.4])


def test_words_without_times_and_other_events_are_left_out() -> None:
    history = History()
    history.on_words(1.0, WordChunk(("love",), None, 1.0))
    history.on_event(1.0, StreamEvent("late", "audio", 1, 1.0, "late"))
    history.on_event(1.0, StreamEvent("absent", "audio", 0, 1.0, "audio is absent"))
    assert history.words == []
    assert history.events == [(1.0, "audio is absent")]
