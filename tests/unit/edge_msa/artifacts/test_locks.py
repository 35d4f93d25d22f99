from __future__ import annotations

import threading
from pathlib import Path

import pytest

from edge_msa.artifacts.locks import exclusive, wait_for_turn
from edge_msa.errors import RunError


def test_an_exclusive_lock_refuses_a_second_holder(tmp_path: Path) -> None:
    with (
        exclusive(tmp_path / "run"),
        pytest.raises(RunError, match="Another command is writing"),
        exclusive(tmp_path / "run"),
    ):
        pass
    with exclusive(tmp_path / "run"):
        pass
    assert not list(tmp_path.iterdir())


def test_the_second_writer_waits_for_its_turn(tmp_path: Path) -> None:
    entered = threading.Event()

    def enter() -> None:
        with wait_for_turn(tmp_path / "run", "the run"):
            entered.set()

    with wait_for_turn(tmp_path / "run", "the run"):
        thread = threading.Thread(target=enter)
        thread.start()
        assert not entered.wait(timeout=0.2)
    thread.join()
    assert entered.is_set()


def test_a_turn_allows_an_exclusive_lock_inside(tmp_path: Path) -> None:
    entered = False
    with wait_for_turn(tmp_path / "run", "the run"), exclusive(tmp_path / "run"):
        entered = True
    assert entered
