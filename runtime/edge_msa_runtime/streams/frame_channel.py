"""A modality of a stream that gets frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Sequence

import numpy as np

from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.inputs.gaps import fill_gaps
from edge_msa_runtime.streams.channel import NEVER, Channel
from edge_msa_runtime.streams.frame_queue import Chunk, FrameQueue, KnownTimes
from edge_msa_runtime.streams.times import SAME_SECONDS, format_time

if TYPE_CHECKING:
    import threading

    from numpy.typing import NDArray

    from edge_msa_runtime.inputs.validation import Frames
    from edge_msa_runtime.streams.channel import Note
    from edge_msa_runtime.streams.deferred_steps import StepGraphs
    from edge_msa_runtime.streams.encoding import Encoding
    from edge_msa_runtime.streams.frame_queue import Mask
    from edge_msa_runtime.streams.options import StreamOptions

    Counts = NDArray[np.float64]

# Times of the same frame differ a little if they were computed from the first frames of different chunks.
_SAME_PERIODS = 0.01
_new_chunk = tuple.__new__
_MAX_STEP = 1.5  # periods from a frame to the next one, if none is missing


class FrameChannel(Channel):
    """A modality of a stream that gets frames.

    Args:
        name: the modality.
        options: those of the stream.
        gap_frame: the frame (d,) that takes the place of masked or missing ones; None if nothing does.
    """

    def __init__(self, name: str, options: StreamOptions, gap_frame: Frames | None) -> None:
        super().__init__(name, options)
        self._gap_frame = gap_frame
        self._queue = FrameQueue()
        self._known = KnownTimes()

    @property
    def held(self) -> int:
        """Number of frames in the queue, masked ones included."""
        return self._queue.held

    def final_limit(self, at: float) -> float:
        """Return the time up to which frames can be encoded for good before a prediction at `at`."""
        return min(at, self._late_until)

    @property
    def _late_until(self) -> float:
        """A frame up to this time is late. One at the time of a bound is not."""
        return max(self.newest - self._lateness + SAME_SECONDS, self.bound - SAME_SECONDS)

    def append(
        self, first: float, last: float, size: int, rows: Frames, arrived: float, period: float, is_far: bool
    ) -> int:
        """Queue valid frames after the frontier, and return the number of frames in the queue."""
        queue = self._queue
        # The constructor of a named tuple takes twice as long.
        queue.chunks.append(_new_chunk(Chunk, (first, last, size, rows, arrived, period, is_far, None, None)))
        queue.held = held = queue.held + size
        self._changes += 1
        self.tally.queued += size
        self.newest = self.last_valid = last
        self.frontier = last + _SAME_PERIODS * period + SAME_SECONDS
        return held

    def append_untimed(self, chunk: Chunk, note: Note) -> None:
        """Queue frames after all others."""
        valid = len(chunk.rows)
        self._queue.append(chunk)
        self._changes += 1
        self.tally.queued += valid
        self.newest = chunk.last
        if valid:
            self.last_valid = chunk.last
        if valid < chunk.size:
            self._count_masked(chunk, note)

    def _count_masked(self, chunk: Chunk, note: Note) -> None:
        masked = chunk.size - len(chunk.rows)
        self.tally.masked += masked
        if masked:
            note("masked", self.name, masked, chunk.first, f"{masked} frames of {self.name} are masked")

    def insert(self, chunk: Chunk, note: Note) -> None:
        """Queue the frames of a chunk with timestamps that are neither late nor known.

        Raises:
            UsageError: a frame is late or a duplicate, and the stream refuses these. Nothing changes.
        """
        times = chunk.all_times()
        same = _SAME_PERIODS * chunk.period + SAME_SECONDS
        valid = np.ones(chunk.size, np.bool_) if chunk.valid is None else chunk.valid
        kept: Mask = times > max(self._late_until, self.start)
        if times[0] <= self.frontier:
            repeated = self._known.find(times, self._queue, same)
            kept &= ~repeated
            if chunk.valid is not None:
                kept &= valid | ~self._known.find_masked(times, same)
        else:
            repeated = ~kept
        duplicates, late = int((repeated & valid).sum()), int((~kept & ~repeated & valid).sum())
        late_text = duplicate_text = ""
        if late or duplicates:  # each kind from the time of its own first frame
            text = f"{{}} frames of {self.name} from {{}} s "
            lost = ~kept & ~repeated & valid
            if late:
                first_late = float(times[lost][0])
                late_text = text.format(late, format_time(first_late)) + self.explain_lateness(
                    first_late, is_watermark=bool((lost & (times > self.start)).any())
                )
            if duplicates:
                first_again = float(times[repeated & valid][0])
                duplicate_text = text.format(duplicates, format_time(first_again)) + "have the times of earlier frames"
        if self._rejects_late and (duplicates or late):
            raise UsageError(late_text if late else duplicate_text)
        self._count_masked(chunk, note)
        self.tally.duplicate += duplicates
        self.tally.late += late
        if kept.any():
            self._put(chunk if kept.all() else chunk.select(kept), same)
        first = chunk.first
        if late:
            note("late", self.name, late, first, late_text)
        if duplicates:
            note("duplicate", self.name, duplicates, first, duplicate_text)

    def _put(self, chunk: Chunk, same: float) -> None:
        if chunk.first > self.newest + same:
            self._queue.append(chunk)
        else:
            self._queue.insert(chunk, same)
        self._changes += 1
        self.tally.queued += len(chunk.rows)
        self.newest = max(self.newest, chunk.last)
        self.frontier = max(self.frontier, chunk.last + same)
        if len(chunk.rows):
            self.last_valid = max(self.last_valid, float(chunk.valid_times()[-1]))

    def take(self, limit: float) -> Sequence[Chunk]:
        """Remove and return the frames up to a time."""
        chunks = self._queue.take(limit)
        if chunks:
            self._changes += 1
            for chunk in chunks:
                self._known.add(chunk)
        return chunks

    def encode_next(self, at: float, graphs: StepGraphs, lock: threading.RLock) -> Chunk | None:
        """Encode the only chunk of the queue and return it, if it follows the encoding without a gap."""
        with lock:
            queue = self._queue
            chunks = queue.chunks
            if len(chunks) != 1 or self._lateness:
                return None
            chunk = chunks[0]
            encoding = self.encoding
            first, last, size, rows, arrived, period, is_far, times, valid = chunk
            reach = _MAX_STEP * period if period else self._oldest
            if (
                last > at
                or times is not None
                or valid is not None
                or encoding.has_gap
                or first - encoding.newest_valid > reach
                or reach > self._oldest
            ):
                return None
            chunks.clear()
            queue.held = 0
            self._known.chunks.append((first, last, size, period, None))
            self.tally.queued -= size
            self.tally.encoded += size
        try:
            encoding.state = graphs.step_one(self.name, rows, encoding.state)
        except BaseException:
            with lock:
                self.give_back((chunk,))
            raise
        encoding.valid += size
        encoding.newest = encoding.newest_valid = last
        encoding.arrived = arrived
        if is_far:
            encoding.is_far = True
        return chunk

    def peek(self, limit: float, after: float = NEVER) -> Sequence[Chunk]:
        """Return the frames up to a time, without those up to the time `after`."""
        return self._queue.peek(limit, after)

    def time_of(self, index: int) -> float:
        """Return the time of a frame in the queue; 0 is the oldest."""
        return self._queue.time_of(index)

    def restore(self, items: Sequence[Chunk]) -> None:
        """Put back the chunks that were taken last."""
        self._queue.restore(items)

    def count_valid(self, items: Sequence[Chunk]) -> int:
        """Return the number of valid frames in chunks."""
        return sum(len(chunk.rows) for chunk in items)

    def count_held(self, items: Sequence[Chunk]) -> int:
        """Return the number of frames in chunks, masked ones included."""
        return sum(chunk.size for chunk in items)

    def drop_queue(self) -> None:
        """Empty the queue, and forget which times were seen."""
        self._queue, self._known = FrameQueue(), KnownTimes()

    def extend(self, encoding: Encoding, items: Sequence[Chunk], graphs: StepGraphs, note: Note, *, timed: bool) -> int:
        """Add chunks to an encoding, and return the number of frames that are missing between them."""
        rows: list[Frames] = []
        gaps: list[int] = []  # rows before which frames are masked or missing
        newest, newest_valid, max_age = encoding.newest, encoding.newest_valid, self._oldest
        missing, valid, masked = 0, encoding.valid, encoding.masked  # the last two since the modality was forgotten
        expires, arrived, is_far, has_gap = False, encoding.arrived, encoding.is_far, encoding.has_gap
        earlier = valid  # frames before `rows`
        for chunk in items:
            values = chunk.rows
            view = _look_at(chunk, newest if timed else None, newest_valid, max_age, has_gap=has_gap)
            gone, found, has_gap, old, is_old, lost_since, last_valid = view
            missing += gone
            if gone:
                note("gap", self.name, gone, chunk.first, f"{gone} frames of {self.name} are missing")
            if is_old:
                note("expired", self.name, valid + old, chunk.first, self._explain_expiry(valid + old))
                rows.clear()
                gaps.clear()
                values, expires, is_far, valid, masked, earlier = values[old:], True, False, 0, lost_since, 0
            else:
                masked += chunk.size - len(chunk.rows) + gone
            if len(values):
                # Nothing is missing before the first frame of an utterance, or of a modality that was forgotten.
                first = old + 1 if is_old or newest_valid == NEVER else 0
                gaps.extend(valid - earlier + row - old for row in found if row >= first)
                rows.append(values)
                valid += len(values)
                arrived = chunk.arrived
            is_far = is_far or chunk.is_far
            newest, newest_valid = chunk.last, last_valid
        if rows:
            state = None if expires else encoding.state
            joined = rows[0] if len(rows) == 1 else np.concatenate(rows)
            if gaps and self._gap_frame is not None:
                joined = fill_gaps(joined, gaps, self._gap_frame)
            encoding.state = graphs.step_one(self.name, joined, state)
        encoding.valid, encoding.masked = valid, masked
        encoding.newest, encoding.newest_valid, encoding.arrived = newest, newest_valid, arrived
        encoding.is_far, encoding.has_gap = is_far, has_gap
        return missing


class _ChunkView(NamedTuple):
    """What follows from the times and the mask of a chunk, and from the frames before it.

    Attributes:
        missing: number of frames that are missing before and in the chunk.
        gaps: its valid frames before which frames are masked or missing.
        ends_masked: whether frames after the newest valid one are masked.
        old: number of its valid frames that are older than the maximum age when a later one of it comes.
        is_old: whether everything before its valid frame number `old` is too old.
        lost_since: number of frames of the chunk that are masked or missing after that one.
        newest_valid: time of the newest valid frame.
    """

    missing: int
    gaps: Sequence[int]
    ends_masked: bool
    old: int
    is_old: bool
    lost_since: int
    newest_valid: float


def _look_at(chunk: Chunk, newest: float | None, newest_valid: float, max_age: float, *, has_gap: bool) -> _ChunkView:
    """Look at a chunk.

    Args:
        chunk: the chunk.
        newest: time of the frame before it, `NEVER` if there is none; None if times say nothing about missing frames.
        newest_valid: the same of the newest valid frame.
        max_age: seconds after which a modality is forgotten.
        has_gap: whether frames between the newest valid frame and the chunk are masked.
    """
    if chunk.times is None and chunk.valid is None:
        missing = _count_missing(chunk.first - newest, chunk.period) if newest is not None and newest > NEVER else 0
        gaps: Sequence[int] = (0,) if has_gap or missing else ()
        old = chunk.size - 1 if chunk.period > max_age else 0
        is_old = old > 0 or (newest_valid > NEVER and chunk.first - newest_valid > max_age)
        return _ChunkView(missing, gaps, False, old, is_old, 0, chunk.last)
    before = np.zeros(chunk.size) if newest is None else _count_before(chunk, newest)
    used = np.arange(chunk.size) if chunk.valid is None else np.flatnonzero(chunk.valid)
    if not len(used):
        return _ChunkView(int(before.sum()), (), True, 0, False, 0, newest_valid)
    follows_gap = before[used] > 0
    follows_gap[1:] |= np.diff(used) > 1
    follows_gap[0] |= has_gap or used[0] > 0
    times = chunk.valid_times()
    apart = np.flatnonzero(np.diff(times, prepend=newest_valid if newest_valid > NEVER else times[0]) > max_age)
    old = int(apart[-1]) if len(apart) else 0
    after = int(used[old]) + 1
    return _ChunkView(
        missing=int(before.sum()),
        gaps=np.flatnonzero(follows_gap).tolist(),
        ends_masked=bool(used[-1] < chunk.size - 1),
        old=old,
        is_old=len(apart) > 0,
        lost_since=int(before[after:].sum()) + (chunk.size - after) - (len(used) - old - 1),
        newest_valid=float(times[-1]),
    )


def _count_missing(step: float, period: float) -> int:
    """Return the number of frames that are missing between two frames `step` seconds apart."""
    return round(step / period) - 1 if step > _MAX_STEP * period > 0 else 0


def _count_before(chunk: Chunk, newest: float) -> Counts:
    """Return the number of frames that are missing before each frame of a chunk, (size,).

    `newest` is the time of the frame before the chunk.
    """
    if not chunk.period:
        return np.zeros(chunk.size)
    times = chunk.all_times()
    steps = np.diff(times, prepend=newest if newest > NEVER else times[0])
    return np.where(steps > _MAX_STEP * chunk.period, np.rint(steps / chunk.period) - 1, 0.0)
