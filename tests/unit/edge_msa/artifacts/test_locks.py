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


@pytest.mark.parametrize("error", [FileNotFoundError("body"), BlockingIOError("body")], ids=repr)
def test_errors_of_the_body_pass_an_exclusive_lock(error: OSError, tmp_path: Path) -> None:
    with pytest.raises(type(error), match="body"), exclusive(tmp_path / "run"):
        raise error
    assert not list(tmp_path.iterdir())


def test_a_lock_that_was_removed_is_not_held_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    flock, opened = fcntl.flock, []

    def lock_after_the_holder_has_left(handle: int, flags: int) -> None:
        """Let another process remove the file between the opening and the locking of it."""
        opened.append(handle)
        if len(opened) == 1:
            (tmp_path / ".run.lock").unlink()
        flock(handle, flags)

    monkeypatch.setattr(fcntl, "flock", lock_after_the_holder_has_left)
    with exclusive(tmp_path / "run"):
        assert (tmp_path / ".run.lock").exists()
        with pytest.raises(RunError, match="Another command is writing"), exclusive(tmp_path / "run"):
            pass
    assert len(opened) == 3


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
