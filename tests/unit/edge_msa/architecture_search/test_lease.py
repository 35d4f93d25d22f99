from __future__ import annotations

import time
from pathlib import Path
from threading import Event

import pytest

from edge_msa.architecture_search import lease


def test_a_lease_expires_when_its_lock_is_released(tmp_path: Path) -> None:
    worker = lease.WorkerLease(tmp_path)
    description = worker.to_json()
    assert not lease.has_expired(description)
    worker.close()
    assert lease.has_expired(description)


def test_a_lease_on_another_machine_expires_without_heartbeat() -> None:
    elsewhere = {"host": "another", "lock": "/nowhere/1.lock", "heartbeat": time.time()}
    assert not lease.has_expired(elsewhere)
    assert lease.has_expired(elsewhere | {"heartbeat": time.time() - 2 * lease.EXPIRY_SECONDS})


def test_heartbeats_end_with_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "HEARTBEAT_SECONDS", 0.001)
    count, second = 0, Event()

    def send() -> None:
        nonlocal count
        count += 1
        if count == 2:
            second.set()

    with lease.send_heartbeats(send):
        assert second.wait(30)
    after = count
    time.sleep(0.05)
    assert count == after
