"""Check the times of a push, and count what was pushed."""

from __future__ import annotations

import math
from typing import Any

from edge_msa_runtime.errors import BadTimeError, UsageError

SAME_SECONDS = 1e-6
"""Times that differ by less are the same: they can be sums of other times."""


def format_time(seconds: float) -> str:
    """Return a time for a message, to a microsecond, also that of a clock that counts from 1970: `1764441000.7`."""
    return f"{round(seconds, 6):.16g}"


def check_time(what: str, value: Any) -> float:
    """Return an event time as a float.

    Raises:
        BadTimeError: it is not a finite number of seconds of at least 0. The message starts with `what`.
    """
    try:
        seconds = math.nan if isinstance(value, (bool, str, bytes)) else float(value)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise BadTimeError(f"{what} must be a finite number of seconds, at least 0, got {value!r:.60}. Pass seconds.")
    return seconds


def check_clock(seconds: Any) -> float:
    """Return a time of the clock of a stream.

    Raises:
        UsageError: it is not a finite number.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not math.isfinite(seconds):
        raise UsageError(f"clock must return a finite number of seconds, got {seconds!r:.60}. Correct the function.")
    return float(seconds)


def check_period(modality: str, period: Any, count: int, longest: float) -> float:
    """Return the seconds between the frames of a push; 0 if it is not known and not needed.

    Raises:
        BadTimeError: it is not a positive number of at most `longest`, or is needed but not known.
    """
    if period is None:
        if count > 1:
            raise BadTimeError(f"{modality} has no frame rate in the bundle. Pass period, in seconds between frames.")
        return 0.0
    try:
        seconds = math.nan if isinstance(period, (bool, str, bytes)) else float(period)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not 0 < seconds <= longest:
        raise BadTimeError(
            f"period must be a positive number of seconds, at most max_jump, {longest:g}, got {period!r:.60}."
        )
    return seconds


def count_frames(frames: Any) -> int:
    """Return the number of frames of a push that was refused; 1 if they cannot be counted."""
    try:
        shape = frames.shape if hasattr(frames, "shape") else None
        if shape is not None:
            return int(shape[0]) if len(shape) == 2 else 1
        if isinstance(frames, (list, tuple)) and all(isinstance(frame, (list, tuple)) for frame in frames):
            return len(frames)
    except Exception:  # noqa: BLE001 - anything can be passed as frames
        return 1
    return 1


def count_words(text: Any) -> int:
    """Return the number of words of a push that was refused; 1 if they cannot be counted."""
    if isinstance(text, str):
        return len(text.split())
    return len(text) if isinstance(text, (list, tuple)) else 1
