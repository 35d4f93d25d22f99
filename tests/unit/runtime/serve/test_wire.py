from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest

from edge_msa_runtime.serve.wire import (
    Command,
    RawPicture,
    RawSound,
    Start,
    TypedWords,
    parse_control,
    parse_media,
)


def media(kind: int, time: float, content: bytes) -> bytes:
    return struct.pack("<B7xd", kind, time) + content


def test_sound_is_float32_of_one_channel() -> None:
    sound = parse_media(media(1, 2.5, np.array([0.5, -2.0], "<f4").tobytes()))
    assert isinstance(sound, RawSound)
    assert sound.time == 2.5
    assert sound.samples.tolist() == [0.5, -1.0]


def test_a_picture_is_not_decoded() -> None:
    assert parse_media(media(2, 0.0, b"jpeg")) == RawPicture(0.0, b"jpeg")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "a binary message must have more than 16 bytes, got 0"),
        (media(1, 0.0, b""), "a binary message must have more than 16 bytes, got 16"),
        (media(3, 0.0, b"1234"), "the kind of a binary message must be 1 or 2, got 3"),
        (media(1, 0.0, b"123"), "sound must have 4 bytes per sample, got 3 bytes"),
        (media(1, 0.0, np.array([np.nan], "<f4").tobytes()), "sound must have finite samples"),
        (media(1, -1.0, b"1234"), "time must be seconds of at least 0, got -1.0"),
        (media(2, float("nan"), b"1234"), "time must be seconds of at least 0, got nan"),
        (media(2, 1e300, b"1234"), "time must be seconds of at least 0, got 1e+300"),
    ],
)
def test_wrong_media_are_refused_in_one_line(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match="^" + message.replace("+", r"\+") + "$"):
        parse_media(data)


def start(**changes: Any) -> str:
    return json.dumps({"type": "start", "sound_rate": 48000, "pictures": True, "words": None, **changes})


def test_messages_are_parsed() -> None:
    assert parse_control(start()) == Start(48000, True, None)
    assert parse_control(start(sound_rate=None, pictures=False, words="typed")) == Start(None, False, "typed")
    assert parse_control('{"type":"words","text":"i love it","time":1}') == TypedWords(1.0, "i love it")
    assert parse_control('{"type":"reset","time":1.5}') == Command(1.5, "reset")
    assert parse_control('{"type":"end_utterance","time":0}') == Command(0.0, "end_utterance")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "a text message must be JSON"),
        ("[" * 100_000, "a text message must be JSON"),
        ("[]", r"a text message must be a JSON object, got \[\]"),
        ("{}", "type must be start, words, end_utterance or reset, got None"),
        ('{"type":["start"]}', "type must be start, words, end_utterance or reset, got"),
        ('{"type":"start"}', "sound_rate is missing"),
        (start(more=1), "more is not a known field"),
        (start(sound_rate=1), "sound_rate must be a whole number from 8000 to 384000, got 1"),
        (start(sound_rate=44100.5), "sound_rate must be a whole number"),
        (start(sound_rate="48000"), "sound_rate must be a finite number, got '48000'"),
        (start(pictures=1), "pictures must be true or false, got 1"),
        (start(words="guessed"), "words must be typed, recognized or null, got 'guessed'"),
        (start(words=["typed"]), "words must be typed, recognized or null, got"),
        ('{"type":"words","text":1,"time":0}', "text must be a string, got 1"),
        (json.dumps({"type": "words", "text": "a" * 2001, "time": 0}), "text must have at most 2000 characters"),
        ('{"type":"reset","time":-1}', "time must be seconds of at least 0, got -1"),
        ('{"type":"reset","time":NaN}', "time must be a finite number, got nan"),
    ],
)
def test_wrong_messages_are_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(ValueError, match="^" + message) as error:
        parse_control(text)
    assert "\n" not in str(error.value)
