from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edge_msa_runtime.live.word_sources import GivenWords, TranscribedWords, join_all
from edge_msa_runtime.media.signals import Sound
from edge_msa_runtime.text.words import Word
from tests.unit.runtime.live.stand_ins import RecognizerStandIn, make_sounds


def test_sounds_are_joined_up_to_gaps() -> None:
    sounds = make_sounds(1.0)
    moved = [Sound(sound.time + 5.0, sound.samples) for sound in sounds]
    joined = join_all([*sounds, *moved])
    assert [(sound.time, len(sound.samples)) for sound in joined] == [(0.0, 16_000), (5.0, 16_000)]
    assert join_all([]) == []


def test_given_words_are_returned_once() -> None:
    words = GivenWords([Word("a", 0.0, 0.5), Word("b", 0.5, 1.0), Word("c", 2.0, 3.0)])
    assert [word.text for word in words.take(1.0)] == ["a", "b"]
    assert words.take(1.0) == []
    assert words.left == 1


def test_an_utterance_is_transcribed_as_a_whole_with_its_times() -> None:
    lengths: list[float] = []

    class Recognizer:
        name = "stand-in"
        version = "1"

        def listen(self) -> Any:
            raise NotImplementedError

        def transcribe(self, samples: Any, *, check: Any = None) -> list[Word]:
            del check
            lengths.append(len(samples) / 16_000)
            return [Word("it", 0.1, 0.25)]

    since: list[float | None] = [1.5]
    words = TranscribedWords(Recognizer(), lambda: since[0])
    sounds = make_sounds(3.0)
    for sound in sounds[:20]:
        assert words.push(sound) == ()
    assert words.known_until(2.0) == 1.5
    (word,) = words.end_utterance(1.85)
    assert (word.start, word.end) == pytest.approx((0.1, 0.25))
    since[0] = None
    assert words.known_until(2.0) == 2.0
    for sound in sounds[20:]:
        words.push(sound)
    (word,) = words.finish()
    assert word.end == pytest.approx(1.9 + 0.25)
    assert lengths == pytest.approx([1.9, 1.1])
    assert words.finish() == []


def test_joined_sound_is_that_of_the_pieces() -> None:
    (joined,) = join_all(make_sounds(0.5, [(0.2, 0.4)]))
    assert np.flatnonzero(joined.samples)[[0, -1]].tolist() == [3200, 6399]


def test_a_transcribed_word_ends_with_its_utterance() -> None:
    words = TranscribedWords(RecognizerStandIn([Word("it", 0.1, 1.7)]), lambda: None)
    for sound in make_sounds(1.8):
        words.push(sound)
    assert words.end_utterance(1.65) == [Word("it", 0.1, 1.65)]
