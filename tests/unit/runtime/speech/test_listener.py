from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edge_msa_runtime.media.signals import SAMPLE_RATE, Sound
from edge_msa_runtime.speech.listener import BufferedListener
from edge_msa_runtime.text.words import Word

# Each word is 0.4 s of a constant level that is its number, so that a stand-in can recognize it.
WORD = 0.4
VOCABULARY = [f"word{k}" for k in range(100)]


def speech(*parts: list[int] | float) -> Any:
    """Return sound (n,): lists are words, numbers are seconds of silence."""
    pieces = []
    for part in parts:
        if isinstance(part, list):
            pieces += [np.full(int(WORD * SAMPLE_RATE), (word + 1) / 1000, np.float32) for word in part]
        else:
            pieces.append(np.zeros(int(part * SAMPLE_RATE), np.float32))
    return np.concatenate(pieces)


class Recognizer:
    """Recognizes such words. A word that is cut at the end of the sound is misunderstood."""

    def __init__(self) -> None:
        self.lengths: list[float] = []

    def __call__(self, samples: Any) -> list[Word]:
        self.lengths.append(len(samples) / SAMPLE_RATE)
        assert samples.any(), "silence must not be recognized"
        numbers = np.round(samples * 1000).astype(int)
        edges = np.flatnonzero(np.diff(numbers, prepend=-1, append=-1))
        found = []
        for start, end in zip(edges, edges[1:]):
            number = numbers[start]
            if number > 0 and end - start > 1000:
                cut = end == len(samples) and end - start < WORD * SAMPLE_RATE
                text = f"part{number}of{end}" if cut else VOCABULARY[number - 1]
                found.append(Word(text, start / SAMPLE_RATE, end / SAMPLE_RATE))
        return found


def voiced(samples: Any) -> Any:
    return np.add.reduceat(np.abs(samples), np.arange(0, len(samples), 512)) > 0


def listen() -> tuple[BufferedListener, Recognizer]:
    recognizer = Recognizer()
    return BufferedListener(recognizer, voiced, 512 / SAMPLE_RATE), recognizer


def push(listener: BufferedListener, sound: Any, block: float = 0.1, start: float = 0.0) -> list[tuple[float, Word]]:
    """Return each word with the time at which it was returned."""
    found = []
    size = int(block * SAMPLE_RATE)
    for first in range(0, len(sound), size):
        piece = sound[first : first + size]
        now = start + (first + len(piece)) / SAMPLE_RATE
        found += [(now, word) for word in listener.push(Sound(start + first / SAMPLE_RATE, piece))]
    return found


@pytest.mark.parametrize("block", [0.02, 0.1, 0.33, 1.7])
def test_every_word_comes_once_with_increasing_times(block: float) -> None:
    listener, _ = listen()
    said = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4, 6, 2, 6, 4, 33, 83, 27, 95, 2, 88]
    sound = speech(0.7, said[:12], 0.2, said[12:20], 1.3, said[20:], 0.1)
    found = [word for _, word in push(listener, sound, block)] + listener.finish()
    assert [word.text for word in found] == [VOCABULARY[word] for word in said]
    times = [time for word in found for time in (word.start or 0.0, word.end or 0.0)]
    assert times == sorted(times)
    assert times[:2] == pytest.approx([0.7, 1.1], abs=0.01)


def test_words_come_soon_after_their_end_and_nothing_ends_before_until() -> None:
    listener, _ = listen()
    until = 0.0
    for now, word in push(listener, speech(list(range(40)), 2.0)):
        assert now - (word.end or 0.0) <= 1.1
    assert listener.until > 16
    listener, _ = listen()
    sound = speech([1, 2, 3, 4, 5], 1.0, [6, 7], 1.0)
    for k in range(0, len(sound), 1600):
        words = listener.push(Sound(k / SAMPLE_RATE, sound[k : k + 1600]))
        assert all((word.end or 0.0) >= until for word in words)
        assert listener.until >= until
        until = listener.until


def test_a_pause_makes_the_last_words_final() -> None:
    listener, _ = listen()
    found = push(listener, speech([1, 2, 3], 1.2))
    assert [word.text for _, word in found] == ["word1", "word2", "word3"]
    assert found[-1][0] <= 1.2 + 1.1
    assert listener.finish() == []


def test_a_program_can_state_the_end_of_an_utterance() -> None:
    listener, _ = listen()
    found = [word.text for _, word in push(listener, speech([1, 2]))]
    assert found + [word.text for word in listener.pause()] == ["word1", "word2"]
    assert listener.pause() == []
    more = [word.text for _, word in push(listener, speech([2, 3]), start=0.8)]
    assert more + [word.text for word in listener.finish()] == ["word2", "word3"]


def test_silence_is_never_recognized_and_needs_no_memory() -> None:
    listener, recognizer = listen()
    assert push(listener, speech(30.0)) == []
    assert listener.finish() == []
    assert recognizer.lengths == []


def test_long_speech_is_recognized_in_pieces_of_a_few_seconds() -> None:
    listener, recognizer = listen()
    push(listener, speech([k % 90 for k in range(150)]))
    assert max(recognizer.lengths) < 9.6


def test_a_gap_in_the_sound_ends_an_utterance() -> None:
    listener, _ = listen()
    push(listener, speech([1, 2]))
    found = listener.push(Sound(10.0, speech([3])))
    found += [word for _, word in push(listener, speech([4]), start=10.4)] + listener.finish()
    assert [word.text for word in found][-3:] == ["word2", "word3", "word4"]
    assert [word.start for word in found][-2:] == pytest.approx([10.0, 10.4], abs=0.01)


def test_a_listener_can_be_used_for_the_next_recording() -> None:
    listener, _ = listen()
    for _ in range(2):
        found = [word for _, word in push(listener, speech([1, 2]))] + listener.finish()
        assert [(word.text, word.start) for word in found] == [("word1", 0.0), ("word2", 0.4)]
    assert listener.until == 0.0
