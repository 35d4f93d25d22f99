"""Where the words of a recording come from: a transcript, or a recognizer that listens to its sound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Sequence

if TYPE_CHECKING:
    from edge_msa_runtime.media.signals import Sound
    from edge_msa_runtime.speech.recognizer import Listener
    from edge_msa_runtime.text.words import Word

_GAP = 0.05
"""Longest time between two sounds that belong together, in seconds."""
FILE_BLOCK = 4.0
"""Seconds of a file that a recognizer gets at once."""


class WordSource(Protocol):
    """Delivers words while a recording is read."""

    def push(self, sound: Sound) -> Sequence[Word]:
        """Return the words that became known with this sound."""

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

    @property
    def left(self) -> int:
        """Number of words that were not returned yet."""
        return len(self._words) - self._next


class RecognizedWords:
    """The words that a recognizer returns.

    Args:
        listener: of the recognizer.
        block: seconds of sound that it gets at once. A listener recognizes at most once per call, so longer blocks
            take less time, and words become known later.
    """

    def __init__(self, listener: Listener, block: float = 0.0) -> None:
        self._listener = listener
        self._block = block
        self._waiting: list[Sound] = []

    def push(self, sound: Sound) -> Sequence[Word]:
        """Return the words that became final."""
        self._waiting.append(sound)
        return self._flush() if sound.end - self._waiting[0].time >= self._block - 1e-6 else ()

    def finish(self) -> Sequence[Word]:
        """Return the remaining words."""
        return [*self._flush(), *self._listener.finish()]

    def known_until(self, time: float) -> float:
        """Return until when the recognizer is certain."""
        return min(time, self._listener.until)

    def _flush(self) -> list[Word]:
        sounds, self._waiting = join_all(self._waiting), []
        return [word for sound in sounds for word in self._listener.push(sound)]


def join_all(sounds: Sequence[Sound]) -> list[Sound]:
    """Return pieces of sound with as few pieces as possible: a new one begins after each gap."""
    import numpy as np

    groups: list[list[Sound]] = []
    for sound in sounds:
        if groups and abs(sound.time - groups[-1][-1].end) <= _GAP:
            groups[-1].append(sound)
        else:
            groups.append([sound])
    return [group[0]._replace(samples=np.concatenate([item.samples for item in group])) for group in groups]
