"""Where the words of a recording come from: a transcript, or a recognizer that listens to its sound."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Callable, Protocol, Sequence

from edge_msa_runtime.media.signals import GAP_SECONDS
from edge_msa_runtime.text.words import Word

if TYPE_CHECKING:
    from edge_msa_runtime.media.signals import Sound
    from edge_msa_runtime.speech.recognizer import Listener, Recognizer


class WordSource(Protocol):
    """Delivers words while a recording is read."""

    def push(self, sound: Sound) -> Sequence[Word]:
        """Return the words that became known with this sound."""

    def end_utterance(self, time: float) -> Sequence[Word]:
        """Return the words that became known because an utterance has ended."""

    def finish(self) -> Sequence[Word]:
        """Return the remaining words at the end of the recording."""

    def known_until(self, time: float) -> float:
        """Return the time before which no further word ends, if the sound was read up to `time`."""


class GivenWords:
    """The words of a transcript. Those after the end of the recording are not used.

    Args:
        words: in the order of their ends.
    """

    def __init__(self, words: Sequence[Word]) -> None:
        self._words = list(words)
        self._next = 0

    def push(self, sound: Sound) -> Sequence[Word]:
        """Return nothing: `take` returns the words, also where there is no sound."""
        del sound
        return ()

    def end_utterance(self, time: float) -> Sequence[Word]:
        """Return nothing."""
        del time
        return ()

    def finish(self) -> Sequence[Word]:
        """Return nothing."""
        return ()

    def known_until(self, time: float) -> float:
        """Return the time itself."""
        return time

    def take(self, time: float) -> Sequence[Word]:
        """Return the words that end up to a time and were not returned before."""
        first = self._next
        while self._next < len(self._words) and (self._words[self._next].end or 0.0) <= time:
            self._next += 1
        return self._words[first : self._next]

    def take_cue(self, time: float) -> list[Word]:
        """Return the words that come later, of a subtitle that started before a time."""
        found = [word for word in self._words[self._next :] if word.cue < time]
        self._words[self._next :] = [word for word in self._words[self._next :] if word.cue >= time]
        return found

    @property
    def left(self) -> int:
        """Number of words that were not returned yet."""
        return len(self._words) - self._next


class RecognizedWords:
    """The words that a listener returns while it listens.

    Args:
        listener: of a recognizer.
    """

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def push(self, sound: Sound) -> Sequence[Word]:
        """Return the words that became final."""
        return self._listener.push(sound)

    def end_utterance(self, time: float) -> Sequence[Word]:
        """Return nothing: the listener finds pauses itself."""
        del time
        return ()

    def finish(self) -> Sequence[Word]:
        """Return the remaining words."""
        return self._listener.finish()

    def known_until(self, time: float) -> float:
        """Return until when the listener is certain."""
        return min(time, self._listener.until)


class TranscribedWords:
    """The words of whole utterances. This takes less time than a listener, and is more accurate.

    Args:
        recognizer: the recognizer.
        voice_since: returns since when there is voice in the current utterance; None if there is none.
    """

    def __init__(self, recognizer: Recognizer, voice_since: Callable[[], float | None]) -> None:
        self._recognizer = recognizer
        self._voice_since = voice_since
        self._sounds: list[Sound] = []

    def push(self, sound: Sound) -> Sequence[Word]:
        """Return nothing until the utterance ends."""
        self._sounds.append(sound)
        return ()

    def end_utterance(self, time: float) -> Sequence[Word]:
        """Return the words of the utterance. None of them ends after it."""
        before = [sound for sound in self._sounds if sound.time < time]
        self._sounds = self._sounds[len(before) :]
        words = [word for sound in join_all(before) for word in self._transcribe(sound)]
        return [Word(word.text, min(word.start or 0.0, time), min(word.end or 0.0, time)) for word in words]

    def finish(self) -> Sequence[Word]:
        """Return the words of the last utterance."""
        return self.end_utterance(math.inf)

    def known_until(self, time: float) -> float:
        """Return the start of the voice of the current utterance."""
        since = self._voice_since()
        return time if since is None else min(time, since)

    def _transcribe(self, sound: Sound) -> list[Word]:
        words = self._recognizer.transcribe(sound.samples)
        return [Word(word.text, sound.time + (word.start or 0.0), sound.time + (word.end or 0.0)) for word in words]


def join_all(sounds: Sequence[Sound]) -> list[Sound]:
    """Return pieces of sound with as few pieces as possible: a new one begins after each gap."""
    import numpy as np

    groups: list[list[Sound]] = []
    for sound in sounds:
        if groups and abs(sound.time - groups[-1][-1].end) <= GAP_SECONDS:
            groups[-1].append(sound)
        else:
            groups.append([sound])
    return [group[0]._replace(samples=np.concatenate([item.samples for item in group])) for group in groups]
