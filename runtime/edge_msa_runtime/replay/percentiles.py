"""Percentiles of any number of durations in constant memory."""

from __future__ import annotations

import math
from typing import Any

_LOWEST_MS, _STEP = 1e-4, 1.01
_BUCKETS = 2400  # up to 2.3e6 ms


class Percentiles:
    """A histogram of durations with buckets that grow by 1 %, so percentiles are exact to 1 %."""

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self.count = 0
        self.total_ms = 0.0
        self.largest_ms = 0.0

    def add(self, milliseconds: float) -> None:
        """Add a duration."""
        self._counts[_bucket(milliseconds)] += 1
        self.count += 1
        self.total_ms += milliseconds
        self.largest_ms = max(self.largest_ms, milliseconds)

    def percentile(self, share: float) -> float | None:
        """Return the duration in milliseconds that a share of the durations does not exceed; None without any."""
        if not self.count:
            return None
        wanted, seen = share * self.count, 0
        for index, count in enumerate(self._counts):
            seen += count
            if seen >= wanted:
                return float(min(_LOWEST_MS * _STEP ** (index + 0.5), self.largest_ms))
        return self.largest_ms

    def count_up_to(self, milliseconds: float) -> int:
        """Return the number of durations that are at most about so long."""
        return sum(self._counts[: _bucket(milliseconds)])

    def to_json(self) -> dict[str, Any]:
        """Return the percentiles and the largest duration in milliseconds as plain JSON values."""
        largest = self.largest_ms if self.count else None
        named = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
        return {**{name: self.percentile(share) for name, share in named.items()}, "max": largest}


def _bucket(milliseconds: float) -> int:
    position = math.log(max(milliseconds, _LOWEST_MS) / _LOWEST_MS) / math.log(_STEP)
    return min(int(position), _BUCKETS - 1)
