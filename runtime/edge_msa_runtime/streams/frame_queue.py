"""The frames of one modality that wait for a prediction, in the order of their times."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Iterable, NamedTuple, Sequence

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_msa_runtime.inputs.validation import Frames

    Times = NDArray[np.float64]
    Mask = NDArray[np.bool_]


class Chunk(NamedTuple):
    """At least one frame of one modality, in the order of their times. It never changes.

    Attributes:
        first: time of the first frame in seconds.
        last: time of the last frame.
        size: number of frames, masked ones included.
        rows: the valid frames (n, d).
        arrived: when they were pushed, in seconds of the stream's clock.
        period: seconds between frames; 0 if it is not known.
        is_far: whether the frames are far out of the range seen in training.
        times: time of each frame (size,); None if they are `first + k * period`.
        valid: which frames are valid (size,); None if all are.
    """

    first: float
    last: float
    size: int
    rows: Frames
    arrived: float
    period: float
    is_far: bool
    times: Times | None = None
    valid: Mask | None = None

    def all_times(self) -> Times:
        """Return the time of each frame."""
        return frame_times(self.first, self.period, self.size) if self.times is None else self.times

    def valid_times(self) -> Times:
        """Return the time of each valid frame."""
        times = self.all_times()
        return times if self.valid is None else times[self.valid]

    def select(self, kept: Mask) -> Chunk:
        """Return the chunk with some of its frames, at least one."""
        times = self.all_times()[kept]
        valid = None if self.valid is None else self.valid[kept]
        rows = self.rows[kept if self.valid is None else kept[self.valid]]
        return self._replace(
            first=float(times[0]), last=float(times[-1]), size=len(times), rows=rows, times=times, valid=valid
        )


class FrameQueue:
    """Chunks in the order of their times, which do not overlap.

    Attributes:
        chunks: the chunks, oldest first.
        held: number of their frames, masked ones included.
    """

    __slots__ = ("chunks", "held")

    def __init__(self) -> None:
        self.chunks: deque[Chunk] = deque()
        self.held = 0

    def append(self, chunk: Chunk) -> None:
        """Add a chunk that is newer than all others."""
        self.chunks.append(chunk)
        self.held += chunk.size

    def insert(self, chunk: Chunk, same: float) -> None:
        """Add a chunk where its times belong. Masked frames within `same` seconds of another one are removed."""
        overlapping = [chunk]
        while self.chunks and self.chunks[-1].last >= chunk.first - same:
            overlapping.append(self.chunks.pop())
        merged = chunk if len(overlapping) == 1 else _merge(overlapping[::-1], same)
        self.chunks.append(merged)
        self.held += merged.size - sum(other.size for other in overlapping[1:])

    def take(self, limit: float) -> Sequence[Chunk]:
        """Remove and return the frames up to a time."""
        chunks = self.chunks
        if not chunks or chunks[0].first > limit:
            return ()
        if chunks[-1].last <= limit:
            self.chunks = deque()
            self.held = 0
            return chunks
        taken = []
        while chunks[0].last <= limit:
            taken.append(chunks.popleft())
        if chunks[0].first <= limit:
            early = chunks[0].all_times() <= limit
            taken.append(chunks[0].select(early))
            chunks[0] = chunks[0].select(~early)
        self.held -= sum(chunk.size for chunk in taken)
        return taken

    def peek(self, limit: float, after: float) -> list[Chunk]:
        """Return the frames up to a time, and after another one, without removing them."""
        found = []
        for chunk in self.chunks:
            if chunk.first > limit:
                break
            if chunk.first > after and chunk.last <= limit:
                found.append(chunk)
            elif chunk.last > after:
                times = chunk.all_times()
                kept: Mask = (times > after) & (times <= limit)
                if kept.any():
                    found.append(chunk.select(kept))
        return found

    def restore(self, chunks: Iterable[Chunk]) -> None:
        """Put back the frames that `take` returned last."""
        chunks = tuple(chunks)
        self.chunks.extendleft(reversed(chunks))
        self.held += sum(chunk.size for chunk in chunks)

    def time_of(self, index: int) -> float:
        """Return the time of a frame; 0 is the oldest."""
        for chunk in self.chunks:
            if index < chunk.size:
                return chunk.first + index * chunk.period if chunk.times is None else float(chunk.times[index])
            index -= chunk.size
        raise IndexError(index)


class KnownTimes:
    """Times of the newest frames that were encoded, to tell duplicates from late frames. Its memory is bounded.

    Attributes:
        chunks: first, last, size, period and times of the valid frames of each chunk.
        masked: times of the masked frames of each chunk with any.
    """

    __slots__ = ("chunks", "masked")

    _MAX_CHUNKS = 256

    def __init__(self) -> None:
        self.chunks: deque[tuple[float, float, int, float, Times | None]] = deque(maxlen=self._MAX_CHUNKS)
        self.masked: deque[Times] = deque(maxlen=self._MAX_CHUNKS)

    def add(self, chunk: Chunk) -> None:
        """Remember the frames of a chunk."""
        if chunk.valid is None:
            self.chunks.append((chunk.first, chunk.last, chunk.size, chunk.period, chunk.times))
            return
        if len(chunk.rows) < chunk.size:
            self.masked.append(chunk.all_times()[~chunk.valid])
        if len(chunk.rows):
            times = chunk.valid_times()
            self.chunks.append((float(times[0]), float(times[-1]), len(times), chunk.period, times))

    def find(self, times: Times, queue: FrameQueue, tolerance: float) -> Mask:
        """Return which of some ascending times (n,) are within `tolerance` of a remembered or queued valid frame."""
        found = np.zeros(len(times), np.bool_)
        earliest, latest = float(times[0]) - tolerance, float(times[-1]) + tolerance
        for first, last, count, period, known in self.chunks:
            if first <= latest and last >= earliest:
                found |= _near(times, frame_times(first, period, count) if known is None else known, tolerance)
        for chunk in queue.chunks:
            if chunk.first <= latest and chunk.last >= earliest and len(chunk.rows):
                found |= _near(times, chunk.valid_times(), tolerance)
        return found

    def find_masked(self, times: Times, tolerance: float) -> Mask:
        """Return which of some ascending times (n,) are within `tolerance` of a remembered masked frame."""
        found = np.zeros(len(times), np.bool_)
        for known in self.masked:
            if known[0] <= times[-1] + tolerance and known[-1] >= times[0] - tolerance:
                found |= _near(times, known, tolerance)
        return found


def frame_times(first: float, period: float, count: int) -> Times:
    """Return evenly spaced times."""
    times: Times = first + period * np.arange(count, dtype=np.float64)
    return times


def _near(times: Times, known: Times, tolerance: float) -> Any:
    """Return which times are within `tolerance` of one of the known times, which ascend."""
    after = np.searchsorted(known, times)
    below = np.abs(known[np.maximum(after - 1, 0)] - times) <= tolerance
    return below | (np.abs(known[np.minimum(after, len(known) - 1)] - times) <= tolerance)


def _merge(chunks: Sequence[Chunk], same: float) -> Chunk:
    """Return one chunk with the frames of several, in the order of their times.

    A masked frame within `same` seconds of another one is left out, because it is the same frame, sent again. If one of
    them is valid, that one remains.
    """
    times = np.concatenate([chunk.all_times() for chunk in chunks])
    valid = np.concatenate([np.ones(c.size, np.bool_) if c.valid is None else c.valid for c in chunks])
    order = np.argsort(times, kind="stable")
    rows = np.concatenate([chunk.rows for chunk in chunks])
    row_of_frame = np.cumsum(valid) - 1
    times, in_order = times[order], valid[order]
    rows = rows[row_of_frame[order][in_order]]
    if not in_order.all():
        masked = ~in_order
        if in_order.any():
            masked &= ~_near(times, times[in_order], same)
        masked[masked] = np.diff(times[masked], prepend=-np.inf) > same
        kept = in_order | masked
        times, in_order = times[kept], in_order[kept]
    return Chunk(
        first=float(times[0]),
        last=float(times[-1]),
        size=len(times),
        rows=rows,
        arrived=max(chunk.arrived for chunk in chunks),
        period=chunks[-1].period,
        is_far=any(chunk.is_far for chunk in chunks),
        times=times,
        valid=None if in_order.all() else in_order,
    )
