"""Messages of a live stream over its WebSocket.

The browser sends JSON in text messages, and media in binary messages. Times are seconds since it sent `start`.

- `start` comes first: `sound_rate` (samples per second; null without sound), `pictures` (true or false) and `words`
  (`typed`, `recognized` or null);
- `words`: `text` and `time` of typed words;
- `end_utterance` and `reset`: `time`.

A binary message begins with 16 bytes, little endian: the kind (1 byte), 7 unused bytes, and the time (float64). Then
come the samples of one channel (kind 1, float32 from -1 to 1), recorded from this time on, or a JPEG picture (kind 2)
that was taken at this time.

The server sends JSON: `ready`, `prediction`, `words`, `status` (every second), `note` and `error` (a line each). A
status has the pictures that came and that were dropped, the seconds of sound that came, that wait for the front ends,
and that wait for the recognizer, the predictions that were left out, and the frames by modality.
"""

from __future__ import annotations

import json
import math
import struct
from typing import Any, Mapping, NamedTuple, Union

import numpy as np
from numpy.typing import NDArray

from edge_msa_runtime.json_fields import JsonFields

SOUND, PICTURE = 1, 2
_HEADER = struct.Struct("<B7xd")
_RATES = (8_000, 384_000)
_MAX_WORDS = 2_000
"""Characters of typed words."""
_MAX_TIME = 1e9
TYPED, RECOGNIZED = "typed", "recognized"


class Start(NamedTuple):
    """What the browser will send.

    Attributes:
        sound_rate: samples per second; None without sound.
        pictures: whether pictures come.
        words: `typed`, `recognized` or None.
    """

    sound_rate: int | None
    pictures: bool
    words: str | None


class RawSound(NamedTuple):
    """Samples (n,) float32 of one channel at the rate of the browser, and the time of the first one."""

    time: float
    samples: NDArray[np.float32]


class RawPicture(NamedTuple):
    """A JPEG picture and its time."""

    time: float
    jpeg: bytes


class TypedWords(NamedTuple):
    """Words that somebody typed, and when they were sent."""

    time: float
    text: str


class Command(NamedTuple):
    """`end_utterance` or `reset`, and when it was sent."""

    time: float
    kind: str


Media = Union[RawSound, RawPicture]
ClientMessage = Union[Start, TypedWords, Command]


def parse_media(data: bytes) -> Media:
    """Return the content of a binary message.

    Raises:
        ValueError: the message is not valid. The text is one line.
    """
    if len(data) <= _HEADER.size:
        raise ValueError(f"a binary message must have more than {_HEADER.size} bytes, got {len(data)}")
    kind, time = _HEADER.unpack_from(data)
    _check_time(time)
    if kind == PICTURE:
        return RawPicture(time, data[_HEADER.size :])
    if kind != SOUND:
        raise ValueError(f"the kind of a binary message must be {SOUND} or {PICTURE}, got {kind}")
    if (len(data) - _HEADER.size) % 4:
        raise ValueError(f"sound must have 4 bytes per sample, got {len(data) - _HEADER.size} bytes")
    samples = np.frombuffer(data, "<f4", offset=_HEADER.size).astype(np.float32)
    if not np.isfinite(samples).all():
        raise ValueError("sound must have finite samples")
    return RawSound(time, np.clip(samples, -1.0, 1.0))


def parse_control(text: str) -> ClientMessage:
    """Return the content of a text message.

    Raises:
        ValueError: the message is not valid. The text is one line.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("a text message must be JSON") from None
    if not isinstance(value, Mapping):
        raise ValueError(f"a text message must be a JSON object, got {repr(value)[:40]}")  # noqa: TRY004
    kind = value.get("type")
    if kind == "start":
        return _parse_start(JsonFields(value, "", ("type", "sound_rate", "pictures", "words")))
    if kind == "words":
        fields = JsonFields(value, "", ("type", "text", "time"))
        content = fields.text("text")
        if len(content) > _MAX_WORDS:
            raise ValueError(f"text must have at most {_MAX_WORDS} characters, got {len(content)}")
        return TypedWords(_check_time(fields.number("time")), content)
    if isinstance(kind, str) and kind in {"end_utterance", "reset"}:
        fields = JsonFields(value, "", ("type", "time"))
        return Command(_check_time(fields.number("time")), kind)
    raise ValueError(f"type must be start, words, end_utterance or reset, got {repr(kind)[:40]}")


def _parse_start(fields: JsonFields) -> Start:
    rate = fields.optional_number("sound_rate")
    if rate is not None and not (_RATES[0] <= rate <= _RATES[1] and rate == int(rate)):
        raise ValueError(f"sound_rate must be a whole number from {_RATES[0]} to {_RATES[1]}, got {rate:g}")
    pictures, words = fields.raw("pictures"), fields.raw("words")
    if not isinstance(pictures, bool):
        raise ValueError(f"pictures must be true or false, got {repr(pictures)[:40]}")  # noqa: TRY004
    if words is not None and not (isinstance(words, str) and words in {TYPED, RECOGNIZED}):
        raise ValueError(f"words must be {TYPED}, {RECOGNIZED} or null, got {repr(words)[:40]}")
    return Start(None if rate is None else int(rate), pictures, words)


def _check_time(value: Any) -> float:
    if not (math.isfinite(value) and 0 <= value <= _MAX_TIME):
        raise ValueError(f"time must be seconds of at least 0, got {value!r:.40}")
    return float(value)
