"""A recording as the arrivals of a stream. Words arrive at their ends, as if a recognizer returned them at once."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Callable, Iterable, Iterator, Sequence

from edge_msa_runtime.errors import EdgeMsaError
from edge_msa_runtime.live.converter import Converter, word_items
from edge_msa_runtime.live.word_sources import GivenWords, WordSource
from edge_msa_runtime.media.signals import Picture, Sound
from edge_msa_runtime.replay.items import TIME, Control, Item
from edge_msa_runtime.replay.scenarios import Arrival

if TYPE_CHECKING:
    from edge_msa_runtime.text.words import Word


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
                words = self._words
                yield from self._release(self.seconds if words is None else words.known_until(self.seconds))
        except EdgeMsaError as error:  # raised after the summary
            self.failure = error
        self._add([*self._converter.finish_sound(), *self._converter.finish_pictures()])
        self._hear(() if self._words is None else self._words.finish())
        yield from self._release(float("inf"))
        self._now = max(self._now, self.seconds)
        for item in self._converter.end(self._now):
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
            self._hear(self._words.take(self.seconds))
        if not self._has_sound:
            self._add(self._converter.pass_time(self.seconds))

    def _listen(self, words: WordSource, sound: Sound, items: Sequence[Item]) -> None:
        self._hear(words.push(sound))
        for item in items:
            if isinstance(item, Control) and item.timestamp is not None:
                self._hear(words.end_utterance(item.timestamp))

    def _hear(self, words: Sequence[Word]) -> None:
        for word in words:
            if not self._has_sound:
                self._add(self._converter.note_voice(word))
            self._add(word_items([word]))

    def _add(self, items: Iterable[Item]) -> None:
        for item in items:
            due = self.seconds if item.due is None else item.due
            self._count += 1
            # The end of an utterance comes after everything of its time.
            heapq.heappush(self._waiting, (due, isinstance(item, Control), self._count, item))

    def _release(self, until: float) -> Iterator[Arrival]:
        while self._waiting and self._waiting[0][0] < until:
            due, _, _, item = heapq.heappop(self._waiting)
            self._now = max(self._now, due)
            yield Arrival(self._now, item)
