"""The options of a stream, validated."""

from __future__ import annotations

import dataclasses
import math
import time
from typing import TYPE_CHECKING, Any, Callable, Mapping, Sequence, Union

from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.streams.times import check_clock

if TYPE_CHECKING:
    from edge_msa_runtime.streams.events import StreamEvent

BAD_FRAMES = ("error", "drop", "mask")
LATE_FRAMES = ("drop", "error")

PerModality = Union[float, Mapping[str, float], None]
"""One value for all modalities, or values by modality."""


@dataclasses.dataclass(frozen=True)
class StreamOptions:
    """Options of a stream; `Session.create_stream` describes them. Mappings have every modality of the bundle."""

    lateness: Mapping[str, float]
    max_gap: Mapping[str, float]
    max_age: float
    bad_frames: str = "error"
    late_frames: str = "drop"
    max_queue: int = 4096
    max_jump: float = 3600.0
    window: float | None = None
    pause: float = 0.6
    context: bool = True
    truncate: str = "end"
    on_event: Callable[[StreamEvent], object] | None = None
    clock: Callable[[], float] = time.monotonic


def parse_options(
    names: Sequence[str],
    *,
    lateness: Any,
    max_gap: Any,
    max_age: Any,
    bad_frames: Any,
    late_frames: Any,
    max_queue: Any,
    max_jump: Any,
    window: Any,
    pause: Any,
    context: Any,
    truncate: str,
    on_event: Any,
    clock: Any,
) -> StreamOptions:
    """Return the options of a stream of the modalities `names`.

    Raises:
        UsageError: an option is invalid. The message names it.
    """
    for option, value, choices in (("bad_frames", bad_frames, BAD_FRAMES), ("late_frames", late_frames, LATE_FRAMES)):
        if value not in choices:
            raise UsageError(f"{option} must be one of {', '.join(choices)}, got {value!r}.")
    if not isinstance(context, bool):
        raise UsageError(f"context must be true or false, got {context!r:.60}.")
    if isinstance(max_queue, bool) or not isinstance(max_queue, int) or max_queue < 1:
        raise UsageError(f"max_queue must be a positive number of frames, got {max_queue!r}.")
    for option, function in (("on_event", on_event), ("clock", clock)):
        if not callable(function) and (option == "clock" or function is not None):
            raise UsageError(f"{option} must be a function, got {function!r}.")
    check_clock(clock())
    return StreamOptions(
        lateness=_per_modality("lateness", lateness, names, 0.0),
        max_gap=_per_modality("max_gap", max_gap, names, math.inf),
        max_age=math.inf if max_age is None else _seconds("max_age", max_age, " or None"),
        bad_frames=bad_frames,
        late_frames=late_frames,
        max_queue=max_queue,
        max_jump=_seconds("max_jump", max_jump),
        window=None if window is None else _seconds("window", window, " or None"),
        pause=_seconds("pause", pause),
        context=context,
        truncate=truncate,
        on_event=on_event,
        clock=clock,
    )


def _per_modality(option: str, value: Any, names: Sequence[str], default: float) -> dict[str, float]:
    """Return a number of seconds for each modality; the default stands for a modality without one."""
    if not isinstance(value, Mapping):
        value = dict.fromkeys(names, value)
    for name in value:
        if name not in names:
            raise UsageError(f"{option} must be for {', '.join(names)}, got {name!r}.")
    allowed = " or None" if default else ", 0 for none"
    seconds = dict.fromkeys(names, default)
    for name, item in value.items():
        if item is not None and not (item == default == 0.0 and not isinstance(item, bool)):
            seconds[name] = _seconds(option, item, allowed)
    return seconds


def _seconds(option: str, value: Any, allowed: str = "") -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise UsageError(f"{option} must be a positive number of seconds{allowed}, got {value!r}.")
    return float(value)
