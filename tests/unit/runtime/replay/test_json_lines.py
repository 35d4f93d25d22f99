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
        ({"type": ["frames"]}, r"type is \['frames'\]"),
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
        ({**FRAMES, "timestamp": "now"}, "timestamp must be a finite number, got 'now'"),
        ({**FRAMES, "timestamp": float("nan")}, "timestamp must be a finite number, got nan"),
        ({**FRAMES, "arrival": float("inf")}, "arrival must be a finite number"),
        ({**FRAMES, "period": 0}, "period must be a positive number of seconds, got 0"),
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
        ({**WORDS, "times": [[2, 1]]}, r"times\[0\] must be \[start, end\] with start <= end, got \[2, 1\]"),
        ({**WORDS, "times": [[0, 1]], "timestamp": 1}, "timestamp is for words without times"),
        ({"type": "bound", "modality": "audio"}, "timestamp is missing"),
        ({"type": "bound", "timestamp": 1}, "modality is missing"),
        ({"type": "reset", "modality": "audio"}, "modality is not a known field"),
        ({"type": "predict", "timestamp": [1]}, "timestamp must be a finite number"),
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
