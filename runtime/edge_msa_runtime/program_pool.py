"""The programs of one graph, which threads share: each takes one, runs it, and gives it back."""

from __future__ import annotations

import collections
import contextlib
import threading
import weakref
from typing import Callable, Generic, NoReturn, Protocol, TypeVar

from edge_msa_runtime.errors import UsageError


class _Closable(Protocol):
    def close(self) -> None: ...


_Program = TypeVar("_Program", bound=_Closable)
_CHECK_SECONDS = 1.0


class _Waiter(Generic[_Program]):
    """A thread that waits for a program, which is put into `program` before `ready` is released."""

    def __init__(self) -> None:
        self.ready = threading.Lock()
        self.ready.acquire()
        self.program: _Program | None = None


class ProgramPool(Generic[_Program]):
    """At most `limit` programs of one graph. They are created when more of them are needed at the same time.

    Without contention, taking and giving back are one call each on a deque, which needs no lock. The program that was
    given back last is taken first, because its buffers are in the CPU's caches. Threads that have to wait get programs
    in the order in which they came: otherwise a thread that predicts in a loop could keep all others waiting.

    Use it like this:

        program = pool.take()
        try:
            ...
        finally:
            pool.give(program)

    Args:
        create: creates a program. It is never called by two threads at once.
        limit: largest number of programs that run at the same time.
    """

    def __init__(self, create: Callable[[], _Program], limit: int) -> None:
        self._create = create
        self._limit = limit
        self._lock = threading.RLock()
        self._free: collections.deque[_Program] = collections.deque()
        self._waiters: collections.deque[_Waiter[_Program]] = collections.deque()
        self._is_closed = False
        # Weak references: if an interrupt (Ctrl-C) comes between `take` and `try`, the program is lost and replaced.
        self._existing: weakref.WeakSet[_Program] = weakref.WeakSet()

    def take(self) -> _Program:
        """Return a program that nobody else uses, and wait for one if `limit` programs are in use.

        Raises:
            UsageError: the pool is closed.
            EdgeMsaError: a program cannot be created.
        """
        try:
            return self._free.pop()
        except IndexError:
            return self._create_or_wait()

    def give(self, program: _Program) -> None:
        """Give back a program from `take`."""
        if self._waiters:
            with self._lock:
                if self._waiters:
                    self._hand_over(program)
                    return
        self._free.append(program)
        # A thread may have begun to wait, or have closed the pool, just before `append`. Either it finds the program,
        # or this thread sees it here.
        if self._waiters or self._is_closed:
            self._settle()

    def fill(self) -> None:
        """Create all `limit` programs now, so that no later `take` has to.

        Raises:
            UsageError: the pool is closed.
            EdgeMsaError: a program cannot be created.
        """
        with self._lock:
            while len(self._existing) < self._limit:
                self.give(self._new())

    def apply(self, action: Callable[[_Program], object]) -> None:
        """Call a function with each program that is not in use."""
        programs = []
        try:
            with contextlib.suppress(IndexError):
                while True:
                    programs.append(self._free.pop())
            for program in programs:
                action(program)
        finally:
            for program in programs:
                self.give(program)

    def close(self) -> None:
        """Close the programs: the free ones now, and the others when they are given back. `take` then raises."""
        with self._lock:
            self._is_closed = True
            self._create = _refuse  # releases the compiled graph
            while self._waiters:
                self._waiters.popleft().ready.release()
        self._settle()

    def _create_or_wait(self) -> _Program:
        waiter: _Waiter[_Program] = _Waiter()
        try:
            while True:
                with self._lock:
                    if waiter.program is None:
                        program = self._free_or_new()
                        if program is not None:
                            return program
                        if waiter not in self._waiters:
                            self._waiters.append(waiter)
                            continue  # look again: a program may have been given back before this thread was counted
                if waiter.ready.acquire(timeout=_CHECK_SECONDS) and waiter.program is not None:
                    program, waiter.program = waiter.program, None
                    return program
        finally:
            with self._lock:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
                if waiter.program is not None:  # an interrupt came
                    self.give(waiter.program)

    def _free_or_new(self) -> _Program | None:
        """Return a program, or None if all are in use. Call it with the lock."""
        try:
            return self._free.pop()
        except IndexError:
            return self._new() if self._is_closed or len(self._existing) < self._limit else None

    def _new(self) -> _Program:
        program = self._create()
        self._existing.add(program)
        return program

    def _hand_over(self, program: _Program) -> None:
        waiter = self._waiters.popleft()
        waiter.program = program
        waiter.ready.release()

    def _settle(self) -> None:
        """Hand over free programs to the threads that wait, and close them if the pool is closed."""
        with self._lock:
            while self._free and self._waiters:
                try:
                    program = self._free.pop()
                except IndexError:
                    return  # taken by a thread that did not need the lock
                self._hand_over(program)
            while self._is_closed:
                try:
                    program = self._free.pop()
                except IndexError:
                    return
                self._existing.discard(program)
                program.close()


def _refuse() -> NoReturn:
    raise closed_error()


def closed_error() -> UsageError:
    """Return the error for the use of a closed session or of its streams."""
    return UsageError("This session is closed. Open the bundle again with edge_msa_runtime.load().")
