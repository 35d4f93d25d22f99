"""A clock for code whose result depends on when it runs."""

from __future__ import annotations


class FakeClock:
    """Replaces the module `time` in another module. Only sleeping takes time, and it returns at once."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
