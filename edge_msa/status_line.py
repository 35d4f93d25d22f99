"""The last line of a terminal, which shows what a command does and for how long; elsewhere a line every 30 seconds.

`edge_msa.console` uses this module; other modules use `edge_msa.console`. A thread redraws the line. While it is shown
on a terminal, everything that is written to `sys.stdout` and `sys.stderr` first clears it.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TextIO, cast

REDRAW_INTERVAL = 0.1
"""Seconds between two redraws on a terminal."""
PLAIN_INTERVAL = 30.0
"""Seconds without output after which a line is printed elsewhere."""
_MIN_SECONDS = 0.3
"""Seconds after which an activity is shown."""
_BAR_CELLS = 12
_CLEAR = "\r\x1b[2K"
_DEFAULT_COLUMNS = 80


@dataclass(eq=False)
class _Activity:
    """Something that takes time."""

    text: str
    interval: float = REDRAW_INTERVAL
    """Seconds between two redraws."""
    started: float = field(default_factory=time.monotonic)
    detail: str = ""
    """What happens in particular. It replaces the text."""
    fraction: float | None = None
    bar_started: float = 0.0
    """When the present bar was first shown, and how much was done then: for the remaining time."""
    bar_offset: float = 0.0


class _Status:
    """The status line of this process."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.blocks = 0
        self.hidden = 0
        self.activities: list[_Activity] = []
        self.step: _Activity | None = None
        """What is shown without an activity."""
        self.is_loading = False
        self.last_output = time.monotonic()
        self.drawn = False
        self.drawn_at = 0.0
        self.ticks = 0
        self.stop = threading.Event()
        self.thread: threading.Thread | None = None
        self.streams: tuple[TextIO, TextIO] | None = None
        """The replaced sys.stdout and sys.stderr."""

    def start(self) -> None:
        """Count a block in which the line is shown, and start the thread at the first one."""
        with self.lock:
            self.blocks += 1
            if self.blocks > 1:
                return
            self.last_output = time.monotonic()
            self.stop = threading.Event()
            self.step = _Activity("Working")
            if _is_capable(sys.stderr):
                self.streams = (sys.stdout, sys.stderr)
                sys.stdout, sys.stderr = (
                    cast("TextIO", _ClearingStream(stream, self)) if stream.isatty() else stream
                    for stream in self.streams
                )
            self.thread = threading.Thread(target=self.run, args=(self.stop,), name="edge-msa-status", daemon=True)
            self.thread.start()

    def end(self) -> None:
        """End a block."""
        with self.lock:
            self.blocks -= 1
            if self.blocks:
                return
            self.stop.set()
            self.clear()
            thread, self.thread = self.thread, None
            if self.streams is not None:
                sys.stdout, sys.stderr = self.streams
                self.streams = None
            self.activities.clear()
        if thread is not None:
            thread.join()

    def end_loading(self) -> None:
        """Show the name of the command, because it has loaded its libraries."""
        if self.is_loading and self.step is not None:
            self.step.detail = ""
        self.is_loading = False

    def run(self, stop: threading.Event) -> None:
        """Redraw the line until the last block ends."""
        while not stop.wait(REDRAW_INTERVAL if self.streams else min(1.0, PLAIN_INTERVAL / 4)):
            with self.lock:
                if stop.is_set():
                    return
                self.tick()

    def tick(self) -> None:
        """Redraw the line on a terminal; elsewhere print one if nothing was printed for a while."""
        if self.hidden:
            return
        now = time.monotonic()
        # Short activities would flicker.
        candidates = (item for item in [*reversed(self.activities), self.step] if item is not None)
        current = next((item for item in candidates if now - item.started >= _MIN_SECONDS), None)
        if current is None:
            return
        if self.streams is not None and now - self.drawn_at >= current.interval:
            self.draw(current, now, self.streams[1])
        if self.streams is None and now - self.last_output >= PLAIN_INTERVAL:
            self.last_output = now
            _write(sys.stderr, f"{current.detail or current.text} ({_format_seconds(now - current.started)} so far)\n")

    def draw(self, current: _Activity, now: float, stream: TextIO) -> None:
        """Write the line over the last one."""
        self.ticks += 1
        line = _format_line(current, now, self.ticks, terminal_width(stream), is_unicode=_is_unicode(stream))
        _write(stream, _CLEAR + line)
        self.drawn, self.drawn_at = True, now

    def clear(self) -> None:
        """Remove the line, if it is drawn."""
        if self.drawn and self.streams is not None:
            _write(self.streams[1], _CLEAR)
            self.drawn = False


class _ClearingStream:
    """A text stream that clears the status line before it writes."""

    def __init__(self, stream: TextIO, status: _Status) -> None:
        self._stream, self._status = stream, status

    def write(self, text: str) -> int:
        with self._status.lock:
            self._status.clear()
            self._status.last_output = time.monotonic()
            return self._stream.write(text)

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


_status = _Status()


@contextmanager
def shown() -> Iterator[None]:
    """Show the line while the body runs."""
    _status.start()
    try:
        yield
    finally:
        _status.end()


@contextmanager
def hidden() -> Iterator[None]:
    """Hide the line while the body runs, for example while another program uses the terminal."""
    with _status.lock:
        _status.hidden += 1
        _status.clear()
    try:
        yield
    finally:
        with _status.lock:
            _status.hidden -= 1


@contextmanager
def activity(text: str, interval: float = REDRAW_INTERVAL) -> Iterator[None]:
    """Show what the body does. An inner activity hides an outer one.

    Args:
        text: What the body does.
        interval: Seconds between two redraws.
    """
    entry = _Activity(text, interval)
    with _status.lock:
        _status.end_loading()
        _status.activities.append(entry)
    try:
        yield
    finally:
        with _status.lock:
            if entry in _status.activities:
                _status.activities.remove(entry)


def start_command(name: str) -> None:
    """Show that a command loads its libraries, until something else is shown or printed; from then on, its name."""
    with _status.lock:
        _status.step = _Activity(name, detail=f"{name}: loading libraries")
        _status.is_loading = True


def start_step(name: str) -> None:
    """Show the name of a step where no activity is shown."""
    with _status.lock:
        _status.end_loading()
        _status.step = _Activity(name)


def update(text: str, fraction: float | None) -> None:
    """Replace what the line says about the innermost activity.

    Args:
        text: What happens.
        fraction: How much is done, 0 to 1; None for no bar.
    """
    with _status.lock:
        _status.end_loading()
        current = _status.activities[-1] if _status.activities else _status.step
        if current is None:
            return
        current.detail = text
        if fraction is not None and (current.fraction is None or fraction < current.fraction):
            current.bar_started, current.bar_offset = time.monotonic(), fraction
        current.fraction = fraction


def print_line(text: str, stream: TextIO) -> None:
    """Print a text and a line break at once, so that lines of several threads do not mix."""
    with _status.lock:
        _status.end_loading()
        _status.last_output = time.monotonic()
        stream.write(text + "\n")
        stream.flush()


def terminal_width(stream: TextIO) -> int:
    """Return the number of columns of the terminal of a stream: those of COLUMNS if it is set, 80 if unknown."""
    if (columns := os.environ.get("COLUMNS", "")).isdigit() and int(columns):
        return int(columns)
    try:
        return os.get_terminal_size(stream.fileno()).columns or _DEFAULT_COLUMNS
    except (OSError, ValueError):
        return _DEFAULT_COLUMNS


def _format_line(current: _Activity, now: float, ticks: int, columns: int, *, is_unicode: bool) -> str:
    """Return the line: spinner, text, bar, elapsed and remaining time, within the terminal."""
    frames = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏" if is_unicode else "-\\|/"
    elapsed = now - current.started
    times = _format_seconds(elapsed)
    bar = ""
    if current.fraction is not None:
        full, empty = ("━", "─") if is_unicode else ("#", "-")
        cells = round(_BAR_CELLS * min(max(current.fraction, 0.0), 1.0))
        bar = f"{full * cells}{empty * (_BAR_CELLS - cells)}  "
        done = current.fraction - current.bar_offset
        if done > 0 and current.fraction < 1 and now - current.bar_started > 1:
            left = (now - current.bar_started) / done * (1 - current.fraction)
            times += f", {_format_seconds(left)} left"
    end = f"  {bar}{times}"
    text = current.detail or current.text
    room = columns - 1 - 2 - len(end)  # in the last column, some terminals break the line
    if room < 1 or (len(text) > room and len(text) - room > len(text) // 2 and bar):
        end = f"  {times}"
        room = columns - 1 - 2 - len(end)
    if len(text) > room:
        text = text[: max(room - 3, 0)] + "..."
    return f"{frames[ticks % len(frames)]} {text}{end}"[: columns - 1]


def _format_seconds(seconds: float) -> str:
    """Return a duration: `8 s`, `2:05`, `1:02:05`."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02}"
    return f"{whole // 3600}:{whole % 3600 // 60:02}:{whole % 60:02}"


def _is_capable(stream: TextIO) -> bool:
    """Return whether a line can be redrawn on a stream."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def _is_unicode(stream: TextIO) -> bool:
    return (stream.encoding or "").lower().replace("-", "").startswith("utf")


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
        stream.flush()
    except (OSError, ValueError):  # the terminal was closed; the command continues
        return
