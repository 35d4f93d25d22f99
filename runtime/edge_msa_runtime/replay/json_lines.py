"""Items as JSON lines, one object per line.

| type | fields | meaning |
|---|---|---|
| `frames` | `modality`, `frames` (lists of numbers; null for NaN), `timestamp`, `period`, `valid` | a chunk of frames |
| `words` | `words`, `times` ([start, end] of each word) or `timestamp` | words of the language modality |
| `bound` | `modality`, `timestamp` | nothing of the modality from before this time will come |
| `end_utterance` | `timestamp` | the utterance ends |
| `reset` | `timestamp` | forget everything |
| `predict` | `timestamp` | predict now |

Times are finite seconds of at least 0, on one clock. Every line may have an `arrival`. All fields but `type`,
`modality`, `frames` and `words`, and the `timestamp` of a bound, are optional.
"""

from __future__ import annotations

import json
import math
from typing import Any, BinaryIO, Callable, Iterator, Mapping

import numpy as np

from edge_msa_runtime.json_fields import JsonFields
from edge_msa_runtime.modalities import MODALITIES
from edge_msa_runtime.replay.items import BOUND, CONTROLS, Control, FrameChunk, Item, WordChunk
from edge_msa_runtime.replay.timeline import MAX_JUMP, MAX_TIME, Timeline

MAX_LINE_BYTES = 16 * 1024 * 1024
"""Longer lines are refused, so that a stream without line ends cannot fill the memory."""
_TYPES = ("frames", "words", *CONTROLS)


def read_items(
    file: BinaryIO, periods: Mapping[str, float | None], on_error: Callable[[str, str], object]
) -> Iterator[Item]:
    """Yield the items of JSON lines as soon as each line is there. Empty lines are skipped.

    All times of an item are close to those before it, so that no line can stop the clock of a replay.

    Args:
        file: the lines, in UTF-8.
        periods: seconds between frames by modality, for chunks that do not have a `period`.
        on_error: called with the origin (`line 3`) and the message for each line that is not an item. The next line is
            read then.
    """
    number, timeline = 0, Timeline()
    while True:
        line = file.readline(MAX_LINE_BYTES + 1)
        if not line:
            return
        number += 1
        origin = f"line {number}"
        try:
            _check_length(file, line)
            if line.strip():
                item = parse_item(line, periods, origin)
                timeline.check(item)
                yield item
        except ValueError as error:
            on_error(origin, f"{error}. Correct the line.")


def parse_item(line: bytes | str, periods: Mapping[str, float | None], origin: str = "") -> Item:
    """Return the item that a JSON line describes.

    Raises:
        ValueError: the line is not an item. The message names the field.
    """
    value = _load(line)
    if not isinstance(value, Mapping):
        raise ValueError(f"the line must be a JSON object, got {_show(value)}")  # noqa: TRY004
    kind = value.get("type")
    if kind not in _TYPES:
        problem = "type is missing" if "type" not in value else f"type is {_show(kind)}"
        raise ValueError(f"{problem}. It must be one of {', '.join(_TYPES)}")
    if kind == "frames":
        return _parse_frames(value, periods, origin)
    if kind == "words":
        return _parse_words(value, origin)
    fields = _fields(value, ("modality", "timestamp") if kind == BOUND else (), () if kind == BOUND else ("timestamp",))
    modality = _modality(fields) if kind == BOUND else None
    if kind == BOUND and fields.raw("timestamp") is None:
        raise ValueError("timestamp must be a finite number of seconds, at least 0, got null")
    return Control(str(kind), _time(fields, "timestamp"), modality, _time(fields, "arrival"), origin)


class _RepeatedFieldError(Exception):
    """An object has a field twice. The message is its name."""


def _unique_fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        raise _RepeatedFieldError(next(name for name in names if names.count(name) > 1)[:40])
    return fields


def _load(line: bytes | str) -> Any:
    try:
        text = line.decode("utf-8-sig") if isinstance(line, bytes) else line
        return json.loads(text, object_pairs_hook=_unique_fields)
    except _RepeatedFieldError as error:
        raise ValueError(f"{error} is there twice. Remove one of them") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"the line is not UTF-8 (byte {error.start})") from None
    except RecursionError:
        raise ValueError("the line has too many nested brackets") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"the line is not JSON ({error.msg} at column {error.colno})") from None
    except ValueError:  # of Python itself, which limits the digits of an integer
        raise ValueError("the line has an integer of too many digits") from None


def _check_length(file: BinaryIO, line: bytes) -> None:
    """Skip the rest of a line that is too long, and raise an error."""
    if len(line) > MAX_LINE_BYTES:
        while line and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE_BYTES)
        raise ValueError(f"the line must have at most {MAX_LINE_BYTES} bytes. Split its frames into chunks")


def _show(value: Any) -> str:
    """Return a value as it is in the line, at most 40 characters. Strings have the quotes of other messages."""
    return (repr(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False))[:40]


def _fields(value: Mapping[str, Any], required: tuple[str, ...], optional: tuple[str, ...]) -> JsonFields:
    """Return the fields of a line; optional ones that are missing are null."""
    optional = (*optional, "arrival")
    return JsonFields({**dict.fromkeys(optional), **value}, "", ("type", *required, *optional))


def _parse_frames(value: Mapping[str, Any], periods: Mapping[str, float | None], origin: str) -> FrameChunk:
    fields = _fields(value, ("modality", "frames"), ("timestamp", "period", "valid"))
    modality = _modality(fields)
    frames = _frames(fields)
    period = fields.optional_number("period")
    if period is not None and not 0 < period <= MAX_JUMP:
        raise ValueError(f"period must be a positive number of seconds, at most {MAX_JUMP:g}, got {period:g}")
    timestamp = _time(fields, "timestamp")
    if fields.raw("period") is not None and timestamp is None:
        raise ValueError("period needs a timestamp. Add one, or remove the period")
    if period is None and timestamp is not None:  # without timestamps, frames have no times
        period = periods.get(modality)
    if period is None and timestamp is not None and len(frames) > 1:
        raise ValueError(f"period is missing, and the bundle does not state the rate of {modality}")
    return FrameChunk(modality, frames, timestamp, period, _mask(fields, len(frames)), _time(fields, "arrival"), origin)


def _frames(fields: JsonFields) -> Any:
    """Return the frames as an array (T, d)."""
    rows = fields.array("frames")
    if not rows:
        raise ValueError("frames must be a list with at least one frame, got an empty list")
    width = len(rows[0][0]) if isinstance(rows[0][0], list) else 0
    for row, path in rows:
        if not isinstance(row, list) or not row:
            raise ValueError(f"{path} must be a list of numbers, got {_show(row)}")
        if len(row) != width:
            raise ValueError(f"{path} must have {width} numbers, as frames[0] has, got {len(row)}")
        for index, number in enumerate(row):
            if number is not None and type(number) not in {float, int}:
                raise ValueError(f"{path}[{index}] must be a number or null, got {_show(number)}")
    try:
        # float64, so that a value beyond float32 is named in the error of the stream
        return np.array([row for row, _ in rows], dtype=np.float64)
    except OverflowError:
        raise ValueError("frames must have numbers below 1e308") from None


def _mask(fields: JsonFields, count: int) -> Any:
    if fields.raw("valid") is None:
        return None
    mask = fields.array("valid")
    for item, path in mask:
        if not isinstance(item, bool):
            raise ValueError(f"{path} must be true or false, got {_show(item)}")  # noqa: TRY004
    if len(mask) != count:
        raise ValueError(f"valid must have {count} values, one per frame, got {len(mask)}")
    return np.array([item for item, _ in mask], dtype=np.bool_)


def _parse_words(value: Mapping[str, Any], origin: str) -> WordChunk:
    fields = _fields(value, ("words",), ("times", "timestamp"))
    words = fields.texts("words")
    if not words:
        raise ValueError("words must be a list with at least one word, got an empty list")
    times = None if fields.raw("times") is None else tuple(_span(item, path) for item, path in fields.array("times"))
    timestamp = _time(fields, "timestamp")
    if times is not None and len(times) != len(words):
        raise ValueError(f"times must have {len(words)} pairs, one per word, got {len(times)}")
    if times is not None and timestamp is not None:
        raise ValueError("timestamp is for words without times. Remove one of them")
    return WordChunk(words, times, timestamp, _time(fields, "arrival"), origin)


def _span(value: Any, path: str) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError(f"{path} must be [start, end], got {_show(value)}")
    start, end = (_check_time(number, f"{path}[{index}]") for index, number in enumerate(value))
    if start > end:
        raise ValueError(f"{path} must be [start, end] with start <= end, got [{start:.10g}, {end:.10g}]")
    return start, end


def _time(fields: JsonFields, name: str) -> float | None:
    """Return a time in seconds that may be null."""
    value = fields.raw(name)
    return None if value is None else _check_time(value, fields.path(name))


def _check_time(value: Any, path: str) -> float:
    if type(value) not in {float, int} or not 0 <= value < math.inf:  # also false for NaN
        raise ValueError(f"{path} must be a finite number of seconds, at least 0, got {_show(value)}")
    if value > MAX_TIME:
        raise ValueError(f"{path} must be in seconds, at most {MAX_TIME:g}, got {_show(value)}")
    return float(value)


def _modality(fields: JsonFields) -> str:
    name = fields.text("modality")
    if name not in MODALITIES:
        raise ValueError(f"modality must be one of {', '.join(MODALITIES)}, got {name[:40]!r}")
    return name
