"""Check that the times of items can be those of one stream."""

from __future__ import annotations

import math
from typing import Iterator

from edge_msa_runtime.replay.items import RESET, Control, FrameChunk, Item

MAX_JUMP = 3600.0
"""Seconds between times that belong together: the `max_jump` of replayed streams."""
MAX_TIME = 1e11
"""Later times are no seconds: those since 1970 in milliseconds are above it. Floats resolve 0.02 ms up to here."""


class Timeline:
    """The times of the items so far."""

    def __init__(self) -> None:
        self._newest = -math.inf

    def check(self, item: Item) -> None:
        """Check the times of the next item, and remember them unless one is wrong. After a `reset`, they start again.

        Raises:
            ValueError: a time is more than `MAX_JUMP` from the newest one before, or from others of the item. The
                message names the field.
        """
        newest = self._newest
        times = list(_times(item))
        for field, seconds in times:
            if newest > -math.inf and abs(seconds - newest) > MAX_JUMP:
                side = "after" if seconds > newest else "before"
                raise ValueError(
                    f"{field} must be at most {MAX_JUMP:g} s {side} the newest time of the stream, {newest:.10g} s, "
                    f"got {seconds:.10g}"
                )
        for field, seconds in times[1:]:
            if abs(seconds - times[0][1]) > MAX_JUMP:
                raise ValueError(
                    f"{field} must be at most {MAX_JUMP:g} s from {times[0][0]}, {times[0][1]:.10g} s, "
                    f"got {seconds:.10g}"
                )
        if isinstance(item, Control) and item.kind == RESET:
            self._newest = -math.inf
        else:
            self._newest = max([newest, *(seconds for _, seconds in times)])


def _times(item: Item) -> Iterator[tuple[str, float]]:
    """Yield the times of an item with their fields."""
    if item.timestamp is not None:
        yield "timestamp", item.timestamp
    if isinstance(item, FrameChunk):
        if item.end is not None and len(item.frames) > 1:
            yield "the time of the last frame", item.end
    elif not isinstance(item, Control):
        for index, (start, end) in enumerate(item.times or ()):
            yield f"times[{index}][0]", start
            yield f"times[{index}][1]", end
    if item.arrival is not None:
        yield "arrival", item.arrival
