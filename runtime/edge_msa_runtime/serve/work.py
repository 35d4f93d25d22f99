"""Threads of the server. It waits for them at its end, so that none computes while Python ends."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any, Callable, TypeVar

_T = TypeVar("_T")


class Work:
    """Runs functions in threads.

    A thread that is in the code of a backend while Python ends would abort the process. So that nothing has to wait
    for long, what takes time examines `is_ending`.
    """

    def __init__(self) -> None:
        self._threads: set[threading.Thread] = set()
        self._changed = threading.Condition()
        self._ending = threading.Event()

    @property
    def is_ending(self) -> bool:
        """Whether everything should end soon."""
        return self._ending.is_set()

    def end(self) -> None:
        """Let everything end soon."""
        self._ending.set()

    def start(self, function: Callable[[], object], name: str) -> threading.Thread:
        """Run a function in a thread of its own."""

        def run() -> None:
            try:
                function()
            finally:
                with self._changed:
                    self._threads.discard(thread)
                    self._changed.notify_all()

        thread = threading.Thread(target=run, name=f"edge-msa {name}", daemon=True)
        with self._changed:
            self._threads.add(thread)
        thread.start()
        return thread

    def run(self, function: Callable[..., _T], *arguments: Any) -> asyncio.Future[_T]:
        """Run a function in a thread that starts now, and return a future of its result or exception."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_T] = loop.create_future()

        def succeed(result: _T) -> None:
            if not future.done():  # somebody waits
                future.set_result(result)

        def fail(error: BaseException) -> None:
            if not future.done():
                future.set_exception(error)

        def call() -> None:
            try:
                result = function(*arguments)
            except BaseException as error:  # noqa: BLE001 - raised where somebody waits
                post(fail, error)
            else:
                post(succeed, result)

        def post(callback: Callable[[Any], None], value: object) -> None:
            with contextlib.suppress(RuntimeError):  # the server has ended
                loop.call_soon_threadsafe(callback, value)

        self.start(call, "work")
        return future

    def wait(self, seconds: float) -> bool:
        """Wait until all functions have returned; return whether they did in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._threads, max(0.0, seconds))
