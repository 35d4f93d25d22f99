"""A recording as the arrivals of a stream. Words arrive at their ends, as if a recognizer returned them at once.

A word belongs to the utterance in which it starts, and the words of a subtitle to the one in which the subtitle starts:
subtitles stay after the voice has stopped, and recognizers often end the last word too late. Words that end after their
utterance get its end. If the voice goes on while a subtitle is shown, its later words belong to the next utterance.
"""

from __future__ import annotations

import heapq
from typing import Callable, Iterable, Iterator, Sequence

from edge_msa_runtime.errors import EdgeMsaError
from edge_msa_runtime.live.converter import Converter, word_items
from edge_msa_runtime.live.utterances import shorten_word
from edge_msa_runtime.live.word_sources import GivenWords, WordSource
from edge_msa_runtime.media.signals import Picture, Sound
from edge_msa_runtime.replay.items import END_UTTERANCE, TIME, Control, Item
from edge_msa_runtime.replay.scenarios import Arrival
from edge_msa_runtime.text.words import Word

_AHEAD = 0.25
"""Seconds by which the recording is read ahead: voice and the end of an utterance are known so late."""
_REMAINDER = 0.1
"""Seconds after the last utterance that belong to it. They are too short for a prediction of their own."""


class FileInput:
    """Reads a recording. The recognizer, if there is one, is ahead of the predictions by what it needs.

    Args:
        signals: sound and pictures in the order of their times.
        converter: computes the frames.
        words: delivers the words; None without any.
        has_sound: whether the recording has sound; without, words count as voice.
        on_picture: receives every picture after its frame was computed.

    Attributes:
        failure: the error that ended the recording before its end; None so far. What was read until then counts.
        seconds: how far it was read.
    """

    def __init__(
        self,
        signals: Iterable[Sound | Picture],
        converter: Converter,
        words: WordSource | None = None,
        *,
        has_sound: bool = True,
        on_picture: Callable[[Picture], object] | None = None,
    ) -> None:
        self._signals = signals
        self._converter = converter
        self._words = words
        self._has_sound = has_sound
        self._on_picture = on_picture
        self._waiting: list[tuple[float, bool, int, Item]] = []
        self._known: list[Word] = []  # that did not arrive yet
        self._undecided: tuple[float, list[Word]] | None = None  # an end, and words of a subtitle after it
        self._count = 0
        self._now = 0.0
        self.failure: EdgeMsaError | None = None
        self.seconds = 0.0

    def arrivals(self) -> Iterator[Arrival]:
        """Yield everything in the order of time. The last utterance ends with the recording."""
        yield Arrival(0.0, Control(TIME))
        try:
            for signal in self._signals:
                self._read(signal)
                self._decide()
                until = self.seconds - _AHEAD
                yield from self._release(until if self._words is None else min(until, self._words.known_until(until)))
        except EdgeMsaError as error:  # raised after the summary
            self.failure = error
        self._add([*self._converter.finish_sound(), *self._converter.finish_pictures()])
        self._hear(() if self._words is None else self._words.finish())
        if isinstance(self._words, GivenWords):
            self._hear(self._words.take(self.seconds))
        self._decide(is_over=True)
        last = self._converter.end(self.seconds)
        if last:
            self._end_words(self.seconds)
            self._decide(is_over=True)
        self._extend_last()
        yield from self._release(float("inf"))
        self._now = max(self._now, self.seconds)
        for item in last:
            yield Arrival(self._now, item)

    def _read(self, signal: Sound | Picture) -> None:
        if isinstance(signal, Sound):
            self.seconds = max(self.seconds, signal.end)
            items = self._converter.convert_sound(signal)
            self._add(items)
            if self._words is not None:
                self._listen(self._words, signal, items)
        else:
            self.seconds = max(self.seconds, signal.time)
            self._add(self._converter.convert_picture(signal))
            if self._on_picture is not None:
                self._on_picture(signal)
        if isinstance(self._words, GivenWords):
            self._hear(self._words.take(self.seconds if not self._has_sound else self.seconds - _AHEAD))
        if not self._has_sound:
            self._add(self._converter.pass_time(self.seconds))

    def _listen(self, words: WordSource, sound: Sound, items: Sequence[Item]) -> None:
        self._hear(words.push(sound))
        for item in items:
            if isinstance(item, Control) and item.timestamp is not None:
                self._hear(words.end_utterance(item.timestamp))
                self._end_words(item.timestamp)

    def _hear(self, words: Sequence[Word]) -> None:
        ends = self._waiting_ends() if words else []
        for word in words:
            if not self._has_sound:
                self._add(self._converter.note_voice(word))
            self._known.append(shorten_word(word, ends))

    def _end_words(self, end: float) -> None:
        """Shorten the words that started before the end of an utterance. Wait for the voice after it with others."""
        self._decide(is_over=True)
        later: list[Word] = []
        if isinstance(self._words, GivenWords):
            later = [word for word in self._known if word.cue < end < (word.end or 0.0)]
            self._known = [word for word in self._known if word not in later]
            later += self._words.take_cue(end)
        self._known = [shorten_word(word, [end]) for word in self._known]
        self._known += [shorten_word(word, [end]) for word in later if (word.start or 0.0) < end]
        later = [word for word in later if (word.start or 0.0) >= end]
        if later:
            self._undecided = (end, later)

    def _decide(self, *, is_over: bool = False) -> None:
        """Find out to which utterance the words of a subtitle after the end of an utterance belong.

        They belong to the next one if its voice has started before them.
        """
        if self._undecided is None:
            return
        end, words = self._undecided
        voice = self._converter.voice_since
        if voice is None and not is_over and self.seconds - _AHEAD < max(word.start or 0.0 for word in words):
            return
        starts = float("inf") if voice is None else voice
        self._known += [word if (word.start or 0.0) >= starts else Word(word.text, end, end) for word in words]
        self._undecided = None

    def _extend_last(self) -> None:
        """Let the last utterance end with the recording if almost nothing comes after it."""
        ends = self._waiting_ends()
        if not ends or self.seconds - max(ends) >= _REMAINDER:
            return
        for index, (_, is_control, count, item) in enumerate(self._waiting):
            if _is_end(item) and item.timestamp == max(ends):
                end = Control(END_UTTERANCE, self.seconds)
                self._waiting[index] = (self.seconds, is_control, count, end)
        heapq.heapify(self._waiting)

    def _waiting_ends(self) -> list[float]:
        """Return the ends of utterances that did not arrive yet."""
        return [item.timestamp or 0.0 for _, _, _, item in self._waiting if _is_end(item)]

    def _add(self, items: Iterable[Item]) -> None:
        for item in items:
            due = self.seconds if item.due is None else item.due
            self._count += 1
            # The end of an utterance comes after everything of its time.
            heapq.heappush(self._waiting, (due, isinstance(item, Control), self._count, item))

    def _release(self, until: float) -> Iterator[Arrival]:
        if self._undecided is not None:
            until = min(until, self._undecided[0])
        arrived = [word for word in self._known if (word.end or 0.0) < until]
        self._known = [word for word in self._known if (word.end or 0.0) >= until]
        for word in arrived:
            self._add(word_items([word]))
        while self._waiting and self._waiting[0][0] < until:
            due, _, _, item = heapq.heappop(self._waiting)
            self._now = max(self._now, due)
            yield Arrival(self._now, item)


def _is_end(item: Item) -> bool:
    return isinstance(item, Control) and item.kind == END_UTTERANCE
