from __future__ import annotations

import gc
import threading
import time
from typing import Callable

import pytest

from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.program_pool import ProgramPool

WAIT_SECONDS = 10.0


class CountedProgram:
    """A program that counts how often it was closed."""

    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def created() -> list[CountedProgram]:
    return []


@pytest.fixture
def pool(created: list[CountedProgram]) -> ProgramPool[CountedProgram]:
    """A pool of at most two programs, which are appended to `created`."""

    def create() -> CountedProgram:
        created.append(CountedProgram())
        return created[-1]

    return ProgramPool(create, 2)


def start(target: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    return thread


def wait_for_waiters(pool: ProgramPool[CountedProgram], count: int) -> None:
    """Wait until this many threads wait for a program."""
    deadline = time.monotonic() + WAIT_SECONDS
    while len(pool._waiters) < count:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_programs_are_created_when_they_are_needed_at_once(
    pool: ProgramPool[CountedProgram], created: list[CountedProgram]
) -> None:
    for _ in range(3):
        pool.give(pool.take())
    assert len(created) == 1
    first, second = pool.take(), pool.take()
    assert first is not second
    pool.give(first)
    pool.give(second)
    assert pool.take() is second  # the one whose buffers are in the caches


def test_a_full_pool_serves_waiting_threads_in_order(pool: ProgramPool[CountedProgram]) -> None:
    programs, order = [pool.take(), pool.take()], []
    threads = []
    for number in range(3):

        def take(number: int = number) -> None:
            program = pool.take()
            order.append(number)
            pool.give(program)

        threads.append(start(take))
        wait_for_waiters(pool, number + 1)
    pool.give(programs.pop())
    for thread in threads:
        thread.join(WAIT_SECONDS)
    assert order == [0, 1, 2]


def test_a_thread_that_predicts_in_a_loop_lets_others_in() -> None:
    pool = ProgramPool(CountedProgram, 1)
    held, done = pool.take(), threading.Event()

    def loop() -> None:
        while not done.is_set():
            program = pool.take()
            time.sleep(0)
            pool.give(program)

    thread = start(loop)
    for _ in range(50):
        pool.give(held)
        held = pool.take()
    done.set()
    pool.give(held)
    thread.join(WAIT_SECONDS)
    assert not thread.is_alive()


def test_close_closes_programs_once_and_those_in_use_when_given_back(
    pool: ProgramPool[CountedProgram], created: list[CountedProgram]
) -> None:
    used, free = pool.take(), pool.take()
    pool.give(free)
    pool.close()
    pool.close()
    assert (free.closed, used.closed) == (1, 0)
    pool.give(used)
    assert [program.closed for program in created] == [1, 1]
    for call in (pool.take, pool.fill):
        with pytest.raises(UsageError, match="This session is closed"):
            call()


def test_close_ends_the_wait_of_other_threads(pool: ProgramPool[CountedProgram]) -> None:
    used, errors = [pool.take(), pool.take()], []

    def take() -> None:
        try:
            pool.take()
        except UsageError as error:
            errors.append(error)

    threads = [start(take) for _ in range(2)]
    wait_for_waiters(pool, 2)
    pool.close()
    for thread in threads:
        thread.join(WAIT_SECONDS)
    assert len(errors) == len(used) == 2


def test_a_program_lost_by_an_interrupt_is_replaced(
    pool: ProgramPool[CountedProgram], created: list[CountedProgram]
) -> None:
    kept = pool.take()
    pool.take()  # never given back, as when Ctrl-C comes before `try`
    created.pop()
    gc.collect()
    assert pool.take() is not kept


def test_an_error_while_creating_leaves_the_pool_usable() -> None:
    errors = [UsageError("no memory")]

    def create() -> CountedProgram:
        if errors:
            raise errors.pop()
        return CountedProgram()

    pool = ProgramPool(create, 1)
    with pytest.raises(UsageError, match="no memory"):
        pool.take()
    pool.give(pool.take())


def test_fill_creates_every_program(pool: ProgramPool[CountedProgram], created: list[CountedProgram]) -> None:
    pool.give(pool.take())
    pool.fill()
    pool.fill()
    assert len(created) == 2
