"""Ctrl-C, SIGTERM and SIGHUP end a command in the same way: everything is cleaned up, then it exits with 128 + signal.

Python turns only SIGINT into an exception. `handle_interrupts` does the same for SIGTERM and SIGHUP, so that `with` and
`finally` remove temporary folders and end child processes. It also remembers the signal: a library such as torch may
replace the exception with its own, or swallow it.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from typing import Any, Callable, Iterator

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
_SA_ONSTACK = 0x08000000
_REPEAT_SECONDS = 2.0
"""Signals within this time after a signal are ignored, so that they do not interrupt the cleanup.

`timeout` sends SIGTERM twice, and a closing terminal sends SIGHUP after Ctrl-C.
"""


class Interrupts:
    """The signals that a command has received."""

    def __init__(self) -> None:
        self._signal: int | None = None
        self._time = 0.0
        self.call: Callable[[], object] | None = None
        """What the first signal calls, instead of raising KeyboardInterrupt."""

    @property
    def exit_code(self) -> int | None:
        """128 + the number of the first signal, as shells report it; None if no signal was received."""
        return None if self._signal is None else 128 + self._signal

    def receive(self, number: int, _frame: object) -> None:
        """Handle a signal.

        Raises:
            KeyboardInterrupt: always, unless the signal repeats an earlier one, so that nothing happens, or is the
                first one and something is called instead.
        """
        now = time.monotonic()
        if self._signal is not None and now - self._time < _REPEAT_SECONDS:
            return
        self._time = now
        is_first = self._signal is None
        if is_first:
            self._signal = number
        if is_first and self.call is not None:
            self.call()
        else:
            raise KeyboardInterrupt


_active: list[Interrupts] = []


@contextlib.contextmanager
def handle_interrupts() -> Iterator[Interrupts]:
    """Raise KeyboardInterrupt in the body on SIGINT, SIGTERM and SIGHUP, and record the signal.

    A signal that the process ignores stays ignored, as under `nohup` and in background jobs. In another thread than the
    main one nothing is changed, because only the main thread can handle signals.
    """
    interrupts = Interrupts()
    previous = {}
    if threading.current_thread() is threading.main_thread():
        for number in (getattr(signal, name) for name in _NAMES if hasattr(signal, name)):
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                previous[number] = signal.signal(number, interrupts.receive)
                _run_on_normal_stack(number)
    _active.append(interrupts)
    try:
        yield interrupts
    finally:
        _active.remove(interrupts)
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def call_on_interrupt(function: Callable[[], object]) -> Iterator[None]:
    """Let the first signal call a function, so that the body can end by itself. A later one raises KeyboardInterrupt.

    Args:
        function: it is called between any two instructions of the main thread, so it must not wait for a lock.
    """
    for item in _active:
        item.call = function
    try:
        yield
    finally:
        for item in _active:
            item.call = None


def exit_code() -> int:
    """Return 128 + the number of the signal that ends the command; that of Ctrl-C if there was none."""
    codes = [item.exit_code for item in _active if item.exit_code is not None]
    return codes[0] if codes else 128 + signal.SIGINT


def _run_on_normal_stack(number: int) -> None:
    """Let the handler of a signal run on the normal stack, on Linux.

    Python runs handlers on the alternate stack of the thread if there is one. OpenVINO 2026.4 sets one for each model
    on processors with AMX, and leaves a pointer to freed memory when models are closed in another order than they were
    compiled in. Then every signal would crash the process.
    """
    if sys.platform != "linux":
        return
    import ctypes

    class SigAction(ctypes.Structure):
        """`struct sigaction` of glibc and musl. The mask has 1024 bits."""

        _fields_ = (
            ("handler", ctypes.c_void_p),
            ("mask", ctypes.c_ulong * (128 // ctypes.sizeof(ctypes.c_ulong))),
            ("flags", ctypes.c_int),
            ("restorer", ctypes.c_void_p),
        )

    action = SigAction()
    library = ctypes.CDLL(None)
    if library.sigaction(number, None, ctypes.byref(action)) == 0:
        action.flags &= ~_SA_ONSTACK
        library.sigaction(number, ctypes.byref(action), None)


def raise_if_interrupted(error: BaseException | None = None) -> None:
    """Raise KeyboardInterrupt if a signal was received. Call this after a library that may swallow the exception.

    Args:
        error: the exception that the library raised, if any. If it was caused by a KeyboardInterrupt, that is raised.
    """
    if any(item.exit_code is not None for item in _active) or _has_interrupt(error):
        raise KeyboardInterrupt


def _has_interrupt(error: Any) -> bool:
    seen = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, KeyboardInterrupt):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False
