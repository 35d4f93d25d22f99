"""Interleaved timing of calls that are compared with each other.

The calls alternate in blocks, so that a clock that throttles affects all of them equally. Within a block, a call finds
its data in the caches, as it would if it ran alone.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Callable, Sequence

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK_SIZE = 20
"""Timed calls in one block."""
BLOCK_WARMUP = 2
"""Untimed calls before each block, which load the caches again."""


def time_interleaved(
    calls: Sequence[Callable[[], object]], repeats: int, warmup: int, rate: float | None = None
) -> list[NDArray[np.float64]]:
    """Return the wall times of each call in milliseconds, one array (repeats,) per call.

    A single call needs no warm-up between blocks, because its caches stay warm.

    Args:
        calls: functions to time.
        repeats: timed calls of each function.
        warmup: untimed calls of each function before the first block.
        rate: calls per second. All calls of a function are then one block, in which they are due at fixed times. They
            are timed from when they were due, so that a call that waits for the previous one takes longer. None: each
            call starts when the previous one has returned.
    """
    for call in calls:
        for _ in range(warmup):
            call()
    seconds = np.empty((len(calls), repeats))
    size = BLOCK_SIZE if rate is None else repeats
    for first in range(0, repeats, size):
        for index, call in enumerate(calls):
            for _ in range(BLOCK_WARMUP if len(calls) > 1 else 0):
                call()
            block_start = time.perf_counter()
            for repeat in range(first, min(first + size, repeats)):
                due = _wait_until_due(block_start, repeat - first, rate)
                call()
                seconds[index, repeat] = time.perf_counter() - due
    return list(seconds * 1e3)


def _wait_until_due(block_start: float, index: int, rate: float | None) -> float:
    """Wait until a call of a block is due and return that time, or the current time without a rate."""
    if rate is None:
        return time.perf_counter()
    due = block_start + (index + 1) / rate
    time.sleep(max(0.0, due - time.perf_counter()))
    return due
