from __future__ import annotations

import pytest

from edge_msa_runtime.live.utterances import UtteranceEnds, shorten_word
from edge_msa_runtime.text.words import Word


def find_ends(moments: list[tuple[float, bool]], pause: float = 0.6, longest: float = 30.0) -> list[float]:
    ends = UtteranceEnds(pause, longest)
    found = [ends.update(time, active=active) for time, active in moments]
    return [end for end in found if end is not None]


def moments(until: float, *spans: tuple[float, float]) -> list[tuple[float, bool]]:
    return [
        (index / 10, any(start <= index / 10 <= end for start, end in spans)) for index in range(round(until * 10) + 1)
    ]


def test_an_utterance_ends_after_a_pause() -> None:
    assert find_ends(moments(6, (1, 2), (3, 4))) == pytest.approx([2.6, 4.6])


def test_a_short_pause_ends_nothing() -> None:
    assert find_ends(moments(6, (1, 2), (2.4, 4))) == pytest.approx([4.6])


def test_silence_has_no_pause() -> None:
    assert find_ends(moments(20)) == []


def test_a_long_utterance_ends_without_a_pause() -> None:
    assert find_ends(moments(25, (1, 25)), longest=10) == pytest.approx([11, 21])


def test_long_silence_ends_too() -> None:
    assert find_ends(moments(25), longest=10) == pytest.approx([10, 20])


def test_a_gap_of_the_input_counts_as_a_pause() -> None:
    assert find_ends([(0.0, True), (0.1, True), (5.0, True), (5.1, False)]) == pytest.approx([0.7])


def test_a_word_ends_with_the_utterance_in_which_it_starts() -> None:
    assert shorten_word(Word("it", 1.0, 2.1), [0.5, 2.0]) == Word("it", 1.0, 2.0)
    for word in (Word("it", 1.0, 2.0), Word("it", 2.0, 2.1), Word("it")):
        assert shorten_word(word, [2.0]) == word
