from __future__ import annotations

import threading
import time

import pytest

from edge_msa_runtime.media.capture import BoundedQueue, Pacer


def test_a_full_queue_refuses_items_or_replaces_the_oldest() -> None:
    queue: BoundedQueue[int] = BoundedQueue(2)
    assert [queue.put(k) for k in range(3)] == [True, True, False]
    queue.replace(9)
    assert [queue.get(0), queue.get(0), queue.get(0)] == [1, 9, None]
    assert queue.lost == 2


def test_the_end_of_a_queue_comes_after_its_items_and_ends_a_wait() -> None:
    queue: BoundedQueue[int] = BoundedQueue(2)
    queue.put(1)
    threading.Timer(0.05, queue.end, [OSError("gone")]).start()
    assert queue.get(None) == 1
    with pytest.raises(OSError, match="gone"):
        queue.get(None)
    assert queue.get(None) is None
    assert queue.ended


def test_a_pacer_waits_until_the_time_of_an_item_and_can_be_stopped() -> None:
    pacer = Pacer()
    started = time.monotonic()
    assert pacer.wait(5.0)
    assert pacer.wait(5.1)
    assert time.monotonic() - started >= 0.1
    threading.Timer(0.05, pacer.stop).start()
    assert not pacer.wait(100)
