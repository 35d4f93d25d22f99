"""Recognize growing sound again and again with a recognizer of whole recordings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

import numpy as np

from edge_msa_runtime.media.signals import GAP_SECONDS, SAMPLE_RATE, Sound
from edge_msa_runtime.speech.agreement import LocalAgreement
from edge_msa_runtime.text.words import Word

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Samples = NDArray[np.float32]

HOP = 0.5
"""Seconds of new sound between two hypotheses."""
PAUSE = 0.5
"""A pause of so many seconds ends an utterance: its words are final."""
# A word that ended so many seconds ago is final even if two hypotheses differ, so that no word is later than 1.5 s.
_LATEST = 0.5
# Sound of at most so many seconds is recognized at once.
_LONGEST = 9.0
# Longer sound than this is cut where words are final.
_COMFORTABLE = 6.0
# Words before the new ones that are kept, in seconds, because a recognizer needs their context.
_CONTEXT = 2.0
# Silence that is kept before speech, in seconds.
_LEAD = 0.3
# Shorter voiced sound than this, in seconds, is no word.
_SHORTEST = 0.1


class BufferedListener:
    """A `Listener` that recognizes the sound of the current utterance about twice a second.

    Words on which two consecutive hypotheses agree are final. A pause or the end makes all words final. Sound without
    voice is never recognized, because recognizers make words up for silence and noise.

    Args:
        recognize: returns the words of samples (n,), with times since the first one.
        find_voice: returns, for samples (n,), whether each piece of `voice_piece` seconds contains voice: (m,) bool.
        voice_piece: seconds.
        hop: seconds of new sound between two hypotheses.
    """

    def __init__(
        self,
        recognize: Callable[[Samples], list[Word]],
        find_voice: Callable[[Samples], NDArray[np.bool_]],
        voice_piece: float,
        *,
        hop: float = HOP,
    ) -> None:
        self._recognize = recognize
        self._find_voice = find_voice
        self._piece = voice_piece
        self._hop = hop
        self._reset()

    def _reset(self) -> None:
        self._agreement = LocalAgreement()
        self._samples: Samples = np.zeros(0, np.float32)
        self._start = 0.0
        self._new = 0
        self._certain = 0.0

    @property
    def until(self) -> float:
        """Time in seconds before which no further word ends."""
        return self._certain

    def push(self, sound: Sound) -> list[Word]:
        """Return the words that became final with this sound. See `Listener.push`."""
        words: list[Word] = []
        if not len(self._samples):
            self._start = sound.time
        elif sound.time - self._end > GAP_SECONDS:
            words = self._flush()
            self._keep(0.0)
            self._start = sound.time
        self._samples = np.concatenate([self._samples, sound.samples])
        self._new += len(sound.samples)
        if self._new >= self._hop * SAMPLE_RATE:
            self._new = 0
            words += self._step()
        return words

    def pause(self) -> list[Word]:
        """Return the remaining words of an utterance that has ended."""
        words = self._flush()
        self._keep(_LEAD)
        return words

    def finish(self) -> list[Word]:
        """Return the remaining words at the end of the recording, and start again."""
        words = self._flush()
        self._reset()
        return words

    @property
    def _end(self) -> float:
        return self._start + len(self._samples) / SAMPLE_RATE

    def _step(self) -> list[Word]:
        first, last = self._new_voice()
        if first is None or last is None:
            if self._end - max(self._agreement.until, self._start) >= PAUSE:
                self._agreement.forget()
                self._keep(_LEAD)
            self._know(self._end - _LEAD)
            return []
        if self._end - last >= PAUSE:
            words = self._agreement.update(self._hypothesis(), final=True)
            self._agreement.forget()
            self._keep(_LEAD)
            self._know(self._end - _LEAD)
            return words
        words = self._agreement.update(self._hypothesis(), before=self._end - _LATEST)
        self._shorten()
        self._know(max(self._agreement.until, min(first, self._end - self._hop)))
        return words

    def _flush(self) -> list[Word]:
        """Return all words of the sound so far that are not final yet."""
        words: list[Word] = []
        if self._new_voice()[0] is not None:
            words = self._agreement.update(self._hypothesis(), final=True)
        self._agreement.forget()
        self._know(self._end)
        return words

    def _new_voice(self) -> tuple[float | None, float | None]:
        """Return the start and the end of the voice after the final words; None if there is none."""
        voiced = np.flatnonzero(self._find_voice(self._samples)) if len(self._samples) else np.zeros(0, int)
        times = self._start + voiced * self._piece
        times = times[times >= self._agreement.until]
        if len(times) * self._piece < _SHORTEST:
            return None, None
        return float(times[0]), float(times[-1]) + self._piece

    def _hypothesis(self) -> list[Word]:
        return [
            Word(word.text, self._start + (word.start or 0.0), self._start + (word.end or 0.0))
            for word in self._recognize(self._samples)
        ]

    def _shorten(self) -> None:
        """Cut sound whose words are final, if there is much sound. Some of it is kept as context."""
        if len(self._samples) <= _COMFORTABLE * SAMPLE_RATE:
            return
        latest = self._agreement.until - _CONTEXT
        ends = [word.end for word in self._agreement.context if word.end is not None and word.end <= latest]
        cut = ends[-1] if ends else None
        if len(self._samples) > _LONGEST * SAMPLE_RATE:
            cut = max(cut or 0.0, self._end - _LONGEST + _CONTEXT)
        if cut is not None and cut > self._start:
            self._agreement.drop(cut)
            self._keep(self._end - cut)

    def _keep(self, seconds: float) -> None:
        """Keep the last part of the sound."""
        end = self._end
        count = min(len(self._samples), round(seconds * SAMPLE_RATE))
        self._samples = self._samples[len(self._samples) - count :]
        self._start = end - count / SAMPLE_RATE

    def _know(self, time: float) -> None:
        self._certain = max(self._certain, time)
