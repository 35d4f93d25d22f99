"""Where utterances end: after a pause in the voice, or after a longest time."""

from __future__ import annotations

from typing import Sequence

from edge_msa_runtime.text.words import Word


class UtteranceEnds:
    """Finds the ends of utterances from voice activity.

    Args:
        pause: seconds without voice after which an utterance has ended.
        longest: seconds after which it ends anyway. They count from the first voice, or without voice from the end of
            the utterance before.
    """

    def __init__(self, pause: float, longest: float) -> None:
        self._pause = pause
        self._longest = longest
        self._began: float | None = None  # the end of the utterance before
        self._first: float | None = None  # voice of this utterance
        self._last: float | None = None
        self._has_ended = False

    @property
    def is_open(self) -> bool:
        """Whether there was voice since the last end, or no utterance has ended yet."""
        return self._first is not None or not self._has_ended

    @property
    def voice_since(self) -> float | None:
        """Time of the first voice of the current utterance; None without voice."""
        return self._first

    def update(self, time: float, *, active: bool) -> float | None:
        """Note whether there is voice at a time. Return the end of the utterance if it has ended.

        Args:
            time: in seconds, not before that of the previous call.
            active: whether there is voice. False also lets time pass where nothing is known.
        """
        end: float | None = None
        if self._began is None:
            self._began = time
        if self._last is not None and time - self._last >= self._pause - 1e-6:
            end = self._last + self._pause
        elif time - (self._began if self._first is None else self._first) >= self._longest - 1e-6:
            end = time
        if end is not None:
            self._began, self._first, self._last, self._has_ended = end, None, None, True
        if active:
            self._last = time
            if self._first is None:
                self._first = time
        return end


def shorten_word(word: Word, ends: Sequence[float]) -> Word:
    """Return a word that starts before the end of an utterance, and ends after it, with this end. Others are unchanged.

    Recognizers and subtitles often end the last word of an utterance too late.

    Args:
        word: the word.
        ends: ends of utterances in seconds.
    """
    if word.start is None or word.end is None:
        return word
    for end in ends:
        if word.start < end < word.end:
            return Word(word.text, word.start, end)
    return word
