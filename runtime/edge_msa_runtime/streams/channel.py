"""One modality of a stream: what it accepts, what waits for a prediction, and the state of its encoder.

A stream changes queues and counters only with its queue lock, and encodings only with its encoding lock.
"""

from __future__ import annotations

import abc
import math
from typing import TYPE_CHECKING, Any, Callable, Hashable, Sequence

from edge_msa_runtime.streams.encoding import Encoding
from edge_msa_runtime.streams.events import Tally
from edge_msa_runtime.streams.times import SAME_SECONDS, format_time

if TYPE_CHECKING:
    import threading

    from edge_msa_runtime.streams.deferred_steps import StepGraphs
    from edge_msa_runtime.streams.options import StreamOptions

    Note = Callable[[str, str, int, float, str], None]
    """Reports an event: kind, modality, count, timestamp and message."""

NEVER = -math.inf
_MAX_COVERED = 1_000_000


class Channel(abc.ABC):
    """What frames and words have in common. The items of its queue are chunks or words.

    Attributes:
        name: the modality.
        tally: its counters.
        encoding: what the items that were encoded for good have left.
        newest: largest event time of an item in seconds.
        bound: nothing before this time will come.
        start: the previous utterance ended here; only later items count.
        frontier: an item after this time is newer than everything known. It is at least 0.
        last_valid: event time of the newest valid item.
        is_absent: whether the last prediction found the modality absent.
        capacity: frames or words that the queue may have: `max_queue`, and those that a window needs again.
        lost_until: newest time of the frames that were dropped because more waited.
        is_closed: whether the stream was closed.
    """

    unit = "frames"

    def __init__(self, name: str, options: StreamOptions) -> None:
        self.name = name
        self.tally = Tally()
        self.encoding = Encoding()
        self.newest = self.bound = self.start = self.last_valid = self.lost_until = NEVER
        self.frontier = 0.0
        self.is_absent = self.is_closed = False
        self.capacity = self._max_queue = options.max_queue
        self._lateness = options.lateness[name]
        self._max_age = options.max_age
        self._oldest = options.max_age + SAME_SECONDS
        self._max_jump = options.max_jump
        self._rejects_late = options.late_frames == "error"
        self._changes = 0  # of the queue
        self._provisional: tuple[Hashable, Encoding] | None = None

    @property
    def watermark(self) -> float:
        """No item from before this time is accepted any more."""
        return max(self.newest - self._lateness, self.bound)

    def explain_lateness(self, first: float, *, is_watermark: bool) -> str:
        """Return why items are late: because of the watermark, or else because their utterance has ended.

        Args:
            first: time of the first item in seconds.
            is_watermark: whether the watermark is the reason.
        """
        limit = self.watermark if is_watermark else self.start - SAME_SECONDS
        reason = "late: the watermark is" if is_watermark else "after the end of their utterance at"
        text = f"came {reason} {format_time(limit)} s. "
        if limit - first > self._max_jump:
            return text + "If the clock of an earlier push or call was wrong, call reset()"
        if is_watermark:
            return text + f"Create the stream with a larger lateness to use such {self.unit}"
        return text + f"End utterances later, when all {self.unit} have arrived"

    def _explain_expiry(self, count: int) -> str:
        return (
            f"{count} {self.unit} of {self.name} were forgotten: the next one came more than max_age, "
            f"{self._max_age:g} s, after them"
        )

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to predict from."""
        return not self.held and self.encoding.newest_valid == NEVER

    @property
    @abc.abstractmethod
    def held(self) -> int:
        """Number of frames or words in the queue, masked ones included."""

    @abc.abstractmethod
    def final_limit(self, at: float) -> float:
        """Return the time up to which items can be encoded for good before a prediction at `at`."""

    @abc.abstractmethod
    def take(self, limit: float) -> Sequence[Any]:
        """Remove and return the items up to a time, oldest first."""

    def encode_next(self, at: float, graphs: StepGraphs, lock: threading.RLock) -> Any:
        """Encode the only item of the queue and return it, if that is the most common case; else return None."""
        del at, graphs, lock

    @abc.abstractmethod
    def peek(self, limit: float, after: float = NEVER) -> Sequence[Any]:
        """Return the items up to a time, oldest first, without those up to the time `after`."""

    @abc.abstractmethod
    def time_of(self, index: int) -> float:
        """Return the time of a frame or word in the queue; 0 is the oldest."""

    @abc.abstractmethod
    def restore(self, items: Sequence[Any]) -> None:
        """Put back the items that were taken last."""

    @abc.abstractmethod
    def count_valid(self, items: Sequence[Any]) -> int:
        """Return the number of valid frames or words in items."""

    @abc.abstractmethod
    def count_held(self, items: Sequence[Any]) -> int:
        """Return the number of frames or words in items, masked ones included."""

    @abc.abstractmethod
    def extend(self, encoding: Encoding, items: Sequence[Any], graphs: StepGraphs, note: Note, *, timed: bool) -> int:
        """Add items to an encoding, and return the number of frames that are missing between them.

        Args:
            encoding: if a graph fails, it is unchanged.
            items: the items, oldest first.
            graphs: the graphs.
            note: gets an event for each gap, and if the modality expired before an item.
            timed: whether the event times are those of the caller.
        """

    @abc.abstractmethod
    def drop_queue(self) -> None:
        """Empty the queue, and forget which times were seen."""

    def provisional(self, items: Sequence[Any], graphs: StepGraphs) -> Encoding:
        """Return the encoding with items that may still change. The encoding for good stays as it is."""
        key = (self._changes, self.count_valid(items))
        if self._provisional is None or self._provisional[0] != key:
            encoding = self.encoding.fork()
            self.extend(encoding, items, graphs, _ignore, timed=True)
            self._provisional = (key, encoding)
        return self._provisional[1]

    def advance(self, until: float) -> None:
        """Note that nothing before a time will come."""
        self.bound = max(self.bound, until)
        self.frontier = max(self.frontier, until)

    def forget_state(self) -> None:
        """Forget what was encoded."""
        self.encoding = Encoding()
        self._provisional = None
        self._changes += 1

    def revert(self, encoding: Encoding) -> None:
        """Return to an earlier encoding."""
        self.encoding = encoding
        self._provisional = None
        self._changes += 1

    def clear(self) -> None:
        """Forget the encoding, the queue and all times, except the end of the previous utterance."""
        self.forget_state()
        self.tally.forgotten += self.tally.queued
        self.tally.queued = 0
        self.drop_queue()
        self.newest = self.bound = self.last_valid = self.lost_until = NEVER
        self.capacity = self._max_queue
        self.frontier = max(self.start, 0.0)
        self.is_absent = False

    def give_back(self, items: Sequence[Any]) -> None:
        """Put back items that were taken and counted as encoded, but could not be encoded."""
        count = self.count_valid(items)
        self.tally.encoded -= count
        if self.is_closed:
            self.tally.forgotten += count
        else:
            self.tally.queued += count
            self.restore(items)

    def close(self) -> None:
        """Forget the queue for ever."""
        self.is_closed = True
        self.tally.forgotten += self.tally.queued
        self.tally.queued = 0
        self.drop_queue()

    def cover(self, count: int) -> None:
        """Keep frames or words that a prediction of a window has covered, besides those that wait."""
        self.capacity = self._max_queue + min(count, _MAX_COVERED)

    def end_utterance(self, at: float) -> None:
        """Forget the encoding and the items up to a time. They are counted as used."""
        used = self.count_valid(self.take(at))
        self.capacity = self._max_queue
        if self.lost_until <= at:
            self.lost_until = NEVER
        self.tally.queued -= used
        self.tally.encoded += used
        self.forget_state()
        if not self.tally.queued:
            self.last_valid = NEVER
        self.start = at
        self.frontier = max(self.frontier, at)
        self.is_absent = False

    def inherit(self, other: Channel) -> None:
        """Continue the counters and times of an empty channel."""
        self.tally = other.tally
        self.newest, self.bound, self.start, self.frontier = other.newest, other.bound, other.start, other.frontier


def _ignore(*_: Any) -> None:
    """Report nothing."""
