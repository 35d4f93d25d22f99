from __future__ import annotations

from typing import Callable

import pytest

from edge_msa_runtime import timing
from edge_msa_runtime.timing import time_interleaved
from tests.unit.runtime.fake_clock import FakeClock


def _record(order: list[str], name: str) -> Callable[[], None]:
    return lambda: order.append(name)


def test_calls_alternate_in_blocks() -> None:
    order: list[str] = []
    times = time_interleaved([_record(order, "a"), _record(order, "b")], repeats=25, warmup=3)
    # Three calls of warm-up each, then blocks of two untimed and at most twenty timed calls.
    assert order == [*"aaabbb", *"a" * 22, *"b" * 22, *"a" * 7, *"b" * 7]
    assert [len(milliseconds) for milliseconds in times] == [25, 25]


def test_a_single_call_is_not_warmed_up_between_blocks() -> None:
    order: list[str] = []
    time_interleaved([_record(order, "a")], repeats=25, warmup=3)
    assert len(order) == 28


def test_with_a_rate_a_late_call_is_timed_from_when_it_was_due(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, delays = FakeClock(), [0.2, 0.0]
    monkeypatch.setattr(timing, "time", clock)
    (milliseconds,) = time_interleaved([lambda: clock.sleep(delays.pop(0))], repeats=2, warmup=0, rate=100.0)
    # The second call is due 10 ms after the first, which takes 200 ms.
    assert milliseconds == pytest.approx([200, 190])
