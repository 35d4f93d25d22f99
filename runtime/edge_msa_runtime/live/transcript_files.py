"""Read the words of a recording with their times: SubRip (.srt), WebVTT (.vtt), or JSON lines.

Subtitles have times per line. The words of a line share its time in proportion to their lengths, except for WebVTT
lines that have times between the words. In JSON lines, each object is one word (`word` or `text`, `start`, `end`) or
several (`words` and `times`), as in the timeline that `edge-msa-run watch --output` writes.
"""

from __future__ import annotations

import html
import json
import math
import re
from pathlib import Path
from typing import Any, Iterator, Mapping, NamedTuple

from edge_msa_runtime.errors import DataError, UsageError
from edge_msa_runtime.replay.timeline import MAX_TIME
from edge_msa_runtime.text.words import Word

_LARGEST_BYTES = 64 * 1024 * 1024
_CLOCK = r"(?:(\d+):)?([0-5]?\d):([0-5]?\d)[.,](\d{1,3})"
_CUE = re.compile(rf"^\s*{_CLOCK}\s*-->\s*{_CLOCK}(?:\s.*)?$")
_INNER_TIME = re.compile(rf"<{_CLOCK}>")
_MARKUP = re.compile(r"<[^>]*>|\{\\[^}]*\}")
_FORMATS = "SubRip (.srt), WebVTT (.vtt), or JSON lines with word, start and end"


class _Cue(NamedTuple):
    line: int
    start: float
    end: float
    text: str


def read_transcript(path: Path) -> list[Word]:
    """Return the words of a file in the order of their ends.

    Raises:
        UsageError: the file does not exist.
        DataError: it cannot be read, or is in no format that is known. The message names the line.
    """
    if not path.is_file():
        raise UsageError(f"{path} is not a file. Pass the words as {_FORMATS}.")
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise DataError(f"{path} must have at most {_LARGEST_BYTES} bytes. Pass the words of one recording.")
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"Cannot read {path} ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 (byte {error.start}). Convert it to UTF-8.") from None
    lines = text.splitlines()
    first = next((line.strip() for line in lines if line.strip()), "")
    read = _read_objects if first.startswith("{") else _read_subtitles
    try:
        words = list(read(lines))
    except ValueError as error:
        raise DataError(f"{path}, {error}.") from None
    if not words:
        raise DataError(f"{path} has no words with times. Pass {_FORMATS}.")
    return sorted(words, key=lambda word: (word.end, word.start))


def _read_subtitles(lines: list[str]) -> Iterator[Word]:
    for cue in _cues(lines):
        yield from _words_of(cue)


def _cues(lines: list[str]) -> Iterator[_Cue]:
    number = 0
    while number < len(lines):
        match = _CUE.match(lines[number])
        number += 1
        if match is None:
            if "-->" in lines[number - 1]:
                raise ValueError(f"line {number}: a time must be 00:00:01,500 --> 00:00:03,000")
            continue
        start, end = _seconds(match.groups()[:4]), _seconds(match.groups()[4:])
        if end < start:
            raise ValueError(f"line {number}: the end must not be before the start, got {start:g} and {end:g} s")
        first = number
        while number < len(lines) and lines[number].strip() and "-->" not in lines[number]:
            number += 1
        text = " ".join(lines[first:number])
        if number < len(lines) and "-->" in lines[number] and number > first and lines[number - 1].strip().isdigit():
            text = " ".join(lines[first : number - 1])  # the number of the next cue, without an empty line before it
        yield _Cue(first, start, end, text)


def _words_of(cue: _Cue) -> Iterator[Word]:
    """Yield the words of a cue, or of its parts if there are times between them."""
    start, position = cue.start, 0
    for match in _INNER_TIME.finditer(cue.text):
        moment = min(max(_seconds(match.groups()), start), cue.end)
        yield from _spread(cue.text[position : match.start()], start, moment)
        start, position = moment, match.end()
    yield from _spread(cue.text[position:], start, cue.end)


def _spread(text: str, start: float, end: float) -> Iterator[Word]:
    words = html.unescape(_MARKUP.sub("", text)).split()
    total = sum(len(word) + 1 for word in words)
    done = 0
    for word in words:
        first = start + (end - start) * done / total
        done += len(word) + 1
        yield Word(word, first, start + (end - start) * done / total, start)


def _seconds(groups: Any) -> float:
    hours, minutes, seconds, fraction = groups
    value = int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds) + int(fraction.ljust(3, "0")) / 1000
    if value > MAX_TIME:
        raise ValueError(f"a time must be at most {MAX_TIME:g} s, got {value:g}")
    return value


def _read_objects(lines: list[str]) -> Iterator[Word]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            raise ValueError(f"line {number}: it is not JSON") from None
        if not isinstance(value, Mapping):
            raise ValueError(f"line {number}: it must be a JSON object")  # noqa: TRY004
        if value.get("record", "words") == "words" and value.get("type", "words") == "words":
            try:
                yield from _object_words(value)
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from None


def _object_words(value: Mapping[str, Any]) -> Iterator[Word]:
    if "words" in value:
        words, times = value["words"], value.get("times")
        if not isinstance(words, list) or not isinstance(times, list) or len(words) != len(times):
            raise ValueError("words and times must be lists of the same length")
        for word, span in zip(words, times):
            if not isinstance(span, list) or len(span) != 2:
                raise ValueError(f"times must be pairs of start and end, got {repr(span)[:40]}")
            yield from _timed(word, *span)
        return
    if not ({"word", "text"} & set(value) and {"start", "end"} <= set(value)):
        raise ValueError("a word must have word, start and end")
    yield from _timed(value.get("word", value.get("text")), value["start"], value["end"])


def _timed(text: Any, start: Any, end: Any) -> Iterator[Word]:
    if not isinstance(text, str):
        raise ValueError(f"a word must be text, got {repr(text)[:40]}")  # noqa: TRY004
    for name, time in (("start", start), ("end", end)):
        if type(time) not in {int, float} or not 0 <= time < math.inf or time > MAX_TIME:
            raise ValueError(f"{name} must be a finite number of seconds, at least 0, got {repr(time)[:40]}")
    if end < start:
        raise ValueError(f"the end must not be before the start, got {start:g} and {end:g} s")
    yield from _spread(text, float(start), float(end))
