"""The language modality of a stream that gets words."""

from __future__ import annotations

import bisect
import math
from typing import TYPE_CHECKING, List, NamedTuple, Sequence, Tuple

import numpy as np

from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.streams.channel import NEVER, Channel
from edge_msa_runtime.streams.times import SAME_SECONDS
from edge_msa_runtime.text.stream_text import StreamText
from edge_msa_runtime.text.words import Word

if TYPE_CHECKING:
    from edge_msa_runtime.streams.channel import Note
    from edge_msa_runtime.streams.deferred_steps import StepGraphs
    from edge_msa_runtime.streams.encoding import Encoding
    from edge_msa_runtime.streams.options import StreamOptions
    from edge_msa_runtime.text.encoders import TextEncoder

    _Word = Tuple[Word, List[int], float]
    """A word, its token ids and its time."""

_MAX_KNOWN = 512  # encoded words that are remembered to find duplicates


class TimedWord(NamedTuple):
    """A word in the queue. The order of the fields is the order of the words."""

    time: float
    start: float
    order: int
    word: Word
    ids: list[int]
    arrived: float


class WordChannel(Channel):
    """The language modality of a stream that gets words.

    Args:
        name: name of the modality.
        options: options of the stream.
        text_encoder: encodes the words.
        earlier: the tokens of earlier utterances, as in `TextEncoder.encode_ids`. The stream changes them when an
            utterance ends.
    """

    unit = "words"

    def __init__(
        self, name: str, options: StreamOptions, text_encoder: TextEncoder, earlier: Sequence[Sequence[int]]
    ) -> None:
        super().__init__(name, options)
        self._text_encoder = text_encoder
        self._earlier = earlier
        self._truncate = options.truncate
        self._queue: list[TimedWord] = []
        self._order = 0
        self._known: dict[Word, None] = {}
        self._max_known = options.max_queue + _MAX_KNOWN

    @property
    def held(self) -> int:
        """Number of words in the queue."""
        return len(self._queue)

    @property
    def queued_words(self) -> tuple[Word, ...]:
        """The words in the queue."""
        return tuple(item.word for item in self._queue)

    def final_limit(self, at: float) -> float:
        """Return the time up to which words can be encoded for good before a prediction at `at`."""
        # Several words may have the same time, so one at the watermark may still come.
        watermark = self.watermark
        return min(at, float(np.nextafter(watermark - SAME_SECONDS, -math.inf)) if self._lateness else watermark)

    def insert(self, words: Sequence[_Word], arrived: float, note: Note, *, timed: bool) -> None:
        """Queue the words that are neither late nor known.

        Args:
            words: the words, their token ids and their times. A word without tokens does not affect a prediction.
            arrived: when they were pushed, in seconds of the stream's clock.
            note: gets an event for words that are not used.
            timed: whether the times are those of the caller.

        Raises:
            UsageError: a word is late or a duplicate, and the stream refuses these. Nothing changes.
        """
        known: dict[Word, None] = {}
        accepted, late_times, duplicate = self._select(words, known) if timed else (words, [], 0)
        late, is_watermark = len(late_times), any(time > self.start for time in late_times)
        first = words[0][2] if words else math.nan
        late_text = f"{late} words {self.explain_lateness(late_times[0], is_watermark=is_watermark)}" if late else ""
        duplicate_text = f"{duplicate} words came again with the same times"
        if self._rejects_late and (late or duplicate):
            raise UsageError(late_text if late else duplicate_text)
        kept = [item for item in accepted if item[1]]
        masked = len(accepted) - len(kept)
        for word, ids, time in kept:
            self._order += 1
            start = time if word.start is None else word.start
            bisect.insort(self._queue, TimedWord(time, start, self._order, word, ids, arrived))
        self._remember(known)
        if accepted:
            self._changes += 1
            self.newest = max(self.newest, *(time for _, _, time in accepted)) if timed else first
            self.frontier = max(self.frontier, self.newest)
            self.last_valid = max([self.last_valid, *(time for _, _, time in kept)])
        tally = self.tally
        tally.queued += len(kept)
        tally.late += late
        tally.duplicate += duplicate
        tally.masked += masked
        for kind, count, message in (
            ("late", late, late_text),
            ("duplicate", duplicate, duplicate_text),
            ("masked", masked, f"{masked} words have no tokens"),
        ):
            if count:
                note(kind, self.name, count, first, message)

    def _select(self, words: Sequence[_Word], known: dict[Word, None]) -> tuple[Sequence[_Word], list[float], int]:
        """Return the words that are neither late nor known, the times of late ones, and the number of duplicates."""
        accepted: list[_Word] = []
        late: list[float] = []
        newest, duplicate = self.newest, 0
        for item in words:
            word, _, time = item
            if word.end is not None and (word in self._known or word in known):
                duplicate += 1
            elif time < max(newest - self._lateness, self.bound) - SAME_SECONDS or time <= self.start:
                late.append(time)
            else:
                accepted.append(item)
                newest = max(newest, time)
                if word.end is not None:
                    known[word] = None
        return accepted, late, duplicate

    def _remember(self, words: dict[Word, None]) -> None:
        self._known.update(words)
        while len(self._known) > self._max_known:
            del self._known[next(iter(self._known))]

    def take(self, limit: float) -> Sequence[TimedWord]:
        """Remove and return the words up to a time."""
        taken = self.peek(limit)
        if taken:
            del self._queue[: len(taken)]
            self._changes += 1
        return taken

    def peek(self, limit: float, after: float = NEVER) -> Sequence[TimedWord]:
        """Return the words up to a time, without those up to the time `after`."""
        if self._queue and self._queue[-1].time <= limit and after == NEVER:
            return list(self._queue)
        times = [item.time for item in self._queue]
        return self._queue[bisect.bisect_right(times, after) : bisect.bisect_right(times, limit)]

    def time_of(self, index: int) -> float:
        """Return the time of a word in the queue; 0 is the oldest."""
        return self._queue[index].time

    def restore(self, items: Sequence[TimedWord]) -> None:
        """Put back the words that were taken last."""
        self._queue[:0] = items

    def count_valid(self, items: Sequence[TimedWord]) -> int:
        """Return the number of words."""
        return len(items)

    def count_held(self, items: Sequence[TimedWord]) -> int:
        """Return the number of words."""
        return len(items)

    def drop_queue(self) -> None:
        """Empty the queue, and forget which words were seen."""
        self._queue = []
        self._known = {}

    def extend(
        self, encoding: Encoding, items: Sequence[TimedWord], graphs: StepGraphs, note: Note, *, timed: bool
    ) -> int:
        """Add words to an encoding. No words are ever missing."""
        del timed
        previous, first, kept = encoding.newest_valid, 0, -encoding.valid
        for index, item in enumerate(items):
            if previous > NEVER and item.time - previous > self._oldest:
                note("expired", self.name, index - kept, item.time, self._explain_expiry(index - kept))
                first = kept = index
            previous = item.time
        before = encoding.text
        is_fresh = before is None or first > 0 or items[0].time - encoding.newest_valid > self._oldest
        text = (
            StreamText(self._text_encoder, self._truncate, self._earlier)
            if before is None or is_fresh
            else before.copy()
        )
        added = text.push((item.word, item.ids) for item in items[first:])
        if added is not None:
            encoding.state = graphs.step_one(self.name, added, None if is_fresh else encoding.state)
        elif is_fresh:
            encoding.state = None
        encoding.text = text
        encoding.valid = text.total_words
        encoding.newest = encoding.newest_valid = items[-1].time
        encoding.arrived = items[-1].arrived
        return 0

    def finish(self, encoding: Encoding, graphs: StepGraphs) -> None:
        """Encode all words again if the state is not that of the words. If this fails, the next prediction does it."""
        text = encoding.text
        if text is None or not text.is_stale:
            return
        text = text.copy()  # steps that run later can fail, and then return to the words before
        frames = text.encode_all()
        encoding.state = graphs.step_one(self.name, frames, None) if len(frames) else None
        text.is_stale = False
        encoding.text = text
