"""Times calls that are compared: in turns, in blocks, so that a clock that throttles meets all of them alike.

Within its block each finds its own caches warm, as it does alone.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Callable, Sequence

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Timed calls in one turn, and the untimed ones before them that bring the caches back.
_TURN, _LEAD = 20, 2


def time_interleaved(
    calls: Sequence[Callable[[], object]], repeats: int, warmup: int, rate: float | None = None
) -> list[NDArray[np.float64]]:
    """Milliseconds of each call's timed repeats; a call that is alone needs no lead, its caches stay warm.

    With a `rate` in Hz calls are due at fixed times within a turn, and timed from when they were due.
    """
    for call in calls:
        for _ in range(warmup):
            call()
    spent = np.empty((len(calls), repeats))
    for first in range(0, repeats, _TURN):
        for index, call in enumerate(calls):
            for _ in range(_LEAD if len(calls) > 1 else 0):
                call()
            begun = time.perf_counter()
            for repeat in range(first, min(first + _TURN, repeats)):
                due = _wait_until_due(begun, repeat - first, rate)
                call()
                spent[index, repeat] = time.perf_counter() - due
    return list(spent * 1e3)


def _wait_until_due(begun: float, index: int, rate: float | None) -> float:
    """When a call of a turn is due, after waiting for it; now, in a closed loop."""
    if rate is None:
        return time.perf_counter()
    due = begun + (index + 1) / rate
    time.sleep(max(0.0, due - time.perf_counter()))
    return due
