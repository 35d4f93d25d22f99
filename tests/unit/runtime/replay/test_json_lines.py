from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest

from edge_msa_runtime.replay import json_lines
from edge_msa_runtime.replay.items import Control, FrameChunk, Item, WordChunk
from edge_msa_runtime.replay.json_lines import parse_item, read_items

PERIODS = {"audio": 0.04}


def parse(**fields: Any) -> Item:
    return parse_item(json.dumps(fields), PERIODS, "line 1")


def read(data: bytes) -> tuple[list[Item], list[tuple[str, str]]]:
    errors: list[tuple[str, str]] = []
    items = list(read_items(io.BytesIO(data), PERIODS, lambda origin, message: errors.append((origin, message))))
    return items, errors


def test_a_line_of_frames_becomes_a_chunk() -> None:
    item = parse(
        type="frames",
        modality="vision",
        timestamp=1,
        period=0.2,
        frames=[[1, None], [2, 3]],
        valid=[True, False],
        arrival=9,
    )
    assert isinstance(item, FrameChunk)
    np.testing.assert_array_equal(item.frames, [[1, np.nan], [2, 3]])
    assert item.valid.tolist() == [True, False]
    assert (item.modality, item.timestamp, item.period, item.arrival, item.origin) == ("vision", 1, 0.2, 9, "line 1")
    assert item.due == 9


def test_the_period_defaults_to_the_rate_of_the_bundle() -> None:
    item = parse(type="frames", modality="audio", timestamp=1.0, frames=[[1], [2], [3]])
    assert isinstance(item, FrameChunk)
    assert item.due == pytest.approx(1.08)


def test_words_have_times_or_a_timestamp_or_none() -> None:
    timed = parse(type="words", words=["i", "love"], times=[[0.1, 0.2], [0.3, 0.6]])
    assert isinstance(timed, WordChunk)
    assert (timed.words, timed.due) == (("i", "love"), 0.6)
    assert parse(type="words", words=["it"], timestamp=2.0).due == 2.0
    assert parse(type="words", words=["it"]).due is None


@pytest.mark.parametrize("kind", ["end_utterance", "reset", "predict"])
def test_control_messages_need_no_time(kind: str) -> None:
    assert parse(type=kind) == Control(kind, origin="line 1")
    assert parse(type=kind, timestamp=2, arrival=3).due == 3


def test_a_bound_has_a_modality_and_a_time() -> None:
    assert parse(type="bound", modality="audio", timestamp=2) == Control("bound", 2, "audio", origin="line 1")


FRAMES = {"type": "frames", "modality": "audio", "frames": [[1.0]]}
WORDS = {"type": "words", "words": ["a"]}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[1]", r"the line must be a JSON object, got \[1\]"),
        ('{"type": ', "the line is not JSON"),
        ("[" * 100_000, "the line has too many nested brackets|the line is not JSON"),
        ({"modality": "audio"}, "type is missing. It must be one of frames, words"),
        ({"type": "frame"}, "type is 'frame'. It must be one of"),
        ({"type": ["frames"]}, r'type is \["frames"\]'),
        ({"type": "frames", "modality": "audio"}, "frames is missing"),
        ({"type": "frames", "frames": [[1]]}, "modality is missing"),
        ({**FRAMES, "time": 1}, "time is not a known field"),
        ({**FRAMES, "modality": "video"}, "modality must be one of language, audio, vision, got 'video'"),
        ({**FRAMES, "modality": 1}, "modality must be a string"),
        ({**FRAMES, "frames": []}, "frames must be a list with at least one frame"),
        ({**FRAMES, "frames": 3}, "frames must be an array"),
        ({**FRAMES, "frames": [1, 2]}, r"frames\[0\] must be a list of numbers, got 1"),
        ({**FRAMES, "frames": [[]]}, r"frames\[0\] must be a list of numbers"),
        ({**FRAMES, "frames": [[1], [1, 2]]}, r"frames\[1\] must have 1 numbers, as frames\[0\] has, got 2"),
        ({**FRAMES, "frames": [[1], ["x"]]}, r"frames\[1\]\[0\] must be a number or null, got 'x'"),
        ({**FRAMES, "frames": [[True]]}, r"frames\[0\]\[0\] must be a number"),
        ({**FRAMES, "frames": [[10**400]]}, "frames must have numbers below 1e308"),
        ({**FRAMES, "timestamp": "now"}, "timestamp must be a finite number of seconds, at least 0, got 'now'"),
        ({**FRAMES, "timestamp": float("nan")}, "timestamp must be a finite number of seconds, at least 0, got NaN"),
        ({**FRAMES, "arrival": float("inf")}, "arrival must be a finite number"),
        ({**FRAMES, "timestamp": -1}, "timestamp must be a finite number of seconds, at least 0, got -1"),
        ({**FRAMES, "timestamp": True}, "timestamp must be a finite number of seconds, at least 0, got true"),
        ({**FRAMES, "timestamp": 10**400}, "timestamp must be in seconds, at most 1e"),
        ({**FRAMES, "timestamp": 1764434000000}, "timestamp must be in seconds, at most 1e.11, got 1764434000000"),
        ({**FRAMES, "arrival": -3}, "arrival must be a finite number of seconds, at least 0, got -3"),
        ({**FRAMES, "arrival": "3"}, "arrival must be a finite number of seconds, at least 0, got '3'"),
        ({**FRAMES, "timestamp": 9000, "arrival": 1}, "arrival must be at most 3600 s from timestamp, 9000 s, got 1"),
        ({**FRAMES, "period": 0}, "period must be a positive number of seconds, at most 3600, got 0"),
        ({**FRAMES, "period": 10**400}, "period must be a finite number"),
        ({**FRAMES, "period": 4000}, "period must be a positive number of seconds, at most 3600, got 4000"),
        (
            {**FRAMES, "timestamp": 1, "period": 3000, "frames": [[1], [1], [1]]},
            "the time of the last frame must be at most 3600 s from timestamp, 1 s, got 6001",
        ),
        ({**FRAMES, "valid": [1]}, r"valid\[0\] must be true or false, got 1"),
        ({**FRAMES, "valid": [True, True]}, "valid must have 1 values, one per frame, got 2"),
        (
            {"type": "frames", "modality": "vision", "timestamp": 1, "frames": [[1], [2]]},
            "period is missing, and the bundle does not state the rate of vision",
        ),
        ({**WORDS, "words": []}, "words must be a list with at least one word"),
        ({**WORDS, "words": "a b"}, "words must be an array, got 'a b'"),
        ({**WORDS, "words": [1]}, r"words\[0\] must be a string"),
        ({**WORDS, "times": [[0, 1], [1, 2]]}, "times must have 1 pairs, one per word, got 2"),
        ({**WORDS, "times": [[0]]}, r"times\[0\] must be \[start, end\], got \[0\]"),
        ({**WORDS, "times": [[0, None]]}, r"times\[0\]\[1\] must be a finite number"),
        ({**WORDS, "times": [[-1, 1]]}, r"times\[0\]\[0\] must be a finite number of seconds, at least 0, got -1"),
        ({**WORDS, "times": [[0, 10**400]]}, r"times\[0\]\[1\] must be in seconds"),
        (
            {**WORDS, "times": [[0, 5000]]},
            r"times\[0\]\[1\] must be at most 3600 s from times\[0\]\[0\], 0 s, got 5000",
        ),
        ({**WORDS, "times": [[2, 1]]}, r"times\[0\] must be \[start, end\] with start <= end, got \[2, 1\]"),
        ({**WORDS, "times": [[0, 1]], "timestamp": 1}, "timestamp is for words without times"),
        ({"type": "bound", "modality": "audio"}, "timestamp is missing"),
        ({"type": "bound", "timestamp": 1}, "modality is missing"),
        ({"type": "reset", "modality": "audio"}, "modality is not a known field"),
        ({"type": "bound", "modality": "audio", "timestamp": None}, "timestamp must be a finite number of seconds"),
        ({"type": "bound", "modality": "audio", "timestamp": -1}, "timestamp must be .* at least 0, got -1"),
        ({"type": "predict", "timestamp": [1]}, "timestamp must be a finite number"),
        ({"type": "predict", "timestamp": -0.5}, "timestamp must be .* at least 0, got -0.5"),
        ({"type": "end_utterance", "timestamp": float("nan")}, "timestamp must be .* at least 0, got NaN"),
        ("null", "the line must be a JSON object, got null"),
        ({**FRAMES, "frames": None}, "frames must be an array, got null"),
        ({"type": None}, "type is null. It must be one of"),
        ({"type": "bound", "modality": "audio", "timestamp": None}, "timestamp must be .*, at least 0, got null"),
        ('{"type": "reset", "type": "predict"}', "type is there twice. Remove one of them"),
        ({**FRAMES, "timestamp": None, "period": 0.1}, "period needs a timestamp. Add one, or remove the period"),
        ({"type": "reset", "arrival": -1}, "arrival must be .* at least 0, got -1"),
        ('{"type": "predict", "timestamp": ' + "9" * 5000 + "}", "timestamp must be in seconds|too many digits"),
    ],
)
def test_a_malformed_line_is_named_and_the_rest_goes_on(line: Any, message: str) -> None:
    text = line if isinstance(line, str) else json.dumps(line)
    items, errors = read(b'{"type": "reset"}\n' + text.encode() + b'\n\n{"type": "predict"}')
    assert [getattr(item, "kind", "") for item in items] == ["reset", "predict"]
    ((origin, reported),) = errors
    assert origin == "line 2"
    with pytest.raises(ValueError, match=message):
        raise ValueError(reported)
    assert reported.endswith(". Correct the line.")
    assert "\n" not in reported


def test_a_line_that_is_not_utf8_or_too_long_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lines, "MAX_LINE_BYTES", 40)
    items, errors = read(b'{"type": "\xff"}\n' + b"1" * 100 + b'\n{"type": "reset"}\n')
    assert len(items) == 1
    assert [origin for origin, _ in errors] == ["line 1", "line 2"]
    assert "not UTF-8 (byte 10)" in errors[0][1]
    assert "at most 40 bytes" in errors[1][1]


def test_a_byte_order_mark_and_windows_line_ends_are_accepted() -> None:
    items, errors = read(b'\xef\xbb\xbf{"type": "reset"}\r\n{"type": "predict"}\r\n')
    assert (len(items), errors) == (2, [])


TIMED = {**FRAMES, "timestamp": 10}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({**TIMED, "timestamp": 5000}, "timestamp must be at most 3600 s after the newest time of the stream, 10 s"),
        ({**TIMED, "arrival": 5000}, "arrival must be at most 3600 s after the newest time of the stream, 10 s"),
        ({**WORDS, "times": [[1, 5000]]}, r"times\[0\]\[1\] must be at most 3600 s after"),
        ({**WORDS, "timestamp": 1e9}, "timestamp must be at most 3600 s after .* 10 s, got 1000000000"),
        ({"type": "bound", "modality": "audio", "timestamp": 1e9}, "timestamp must be at most 3600 s after"),
        ({"type": "predict", "timestamp": 1e9}, "timestamp must be at most 3600 s after"),
        ({"type": "end_utterance", "timestamp": 1, "arrival": 1e9}, "arrival must be at most 3600 s after"),
        ({"type": "reset", "timestamp": 1e9}, "timestamp must be at most 3600 s after"),
    ],
)
def test_a_time_far_from_the_others_is_named_and_does_not_move_them(fields: Any, message: str) -> None:
    lines = [TIMED, fields, {**TIMED, "timestamp": 3000}, {**TIMED, "timestamp": 6500}]
    items, errors = read("\n".join(map(json.dumps, lines)).encode())
    assert [item.timestamp for item in items] == [10, 3000, 6500]
    ((origin, reported),) = errors
    assert origin == "line 2"
    with pytest.raises(ValueError, match=message):
        raise ValueError(reported)


def test_times_may_start_again_after_a_reset_only() -> None:
    late, early = {**TIMED, "timestamp": 9000}, {**TIMED, "timestamp": 1}
    _, errors = read("\n".join(map(json.dumps, [late, early])).encode())
    assert "timestamp must be at most 3600 s before the newest time of the stream, 9000 s, got 1" in errors[0][1]
    items, errors = read("\n".join(map(json.dumps, [late, {"type": "reset"}, early])).encode())
    assert (len(items), errors) == (3, [])


def test_frames_without_a_timestamp_have_no_period_of_the_bundle() -> None:
    item = parse(type="frames", modality="audio", frames=[[1], [2]])
    assert isinstance(item, FrameChunk)
    assert (item.period, item.due) == (None, None)
