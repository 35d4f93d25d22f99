"""Words of messages that depend on a number."""

from __future__ import annotations

import re
from typing import Iterable

_SPLIT = re.compile(r"\b(train|valid|test)\b")
_NUMBER = re.compile(r"\d+(?: of \d+)?")
_PLURALS = {"are": "is", "were": "was", "have": "has", "repeat": "repeats"}
_WORD = re.compile(r"[a-z]+")


def format_count(count: int, noun: str) -> str:
    """Return a number with its noun: `1 sample`, `2 samples`.

    Args:
        count: the number.
        noun: the noun in the singular. Its plural ends in s.
    """
    return f"{count} {noun if count == 1 else noun + 's'}"


def format_part(count: int, total: int, noun: str, singular: str, plural: str) -> str:
    """Return a part of a number with its verb: `1 of 84 samples has`, `2 of 84 samples have`.

    Args:
        count: the part.
        total: the number.
        noun: the noun in the singular. Its plural ends in s.
        singular: the verb for a part of 1.
        plural: the verb for other parts.
    """
    return f"{count} of {format_count(total, noun)} {singular if count == 1 else plural}"


def merge_split_notes(notes: Iterable[str]) -> list[str]:
    """Return notes with those that differ only in the split and its numbers as one note.

    `2 values in train were nan` and `1 value in test was nan` become `2 values in train (test: 1) were nan`.
    """
    groups: dict[str, list[str]] = {}
    for note in notes:
        groups.setdefault(_template(note), []).append(note)
    return [_merge(list(dict.fromkeys(group))) for group in groups.values()]


def _template(note: str) -> str:
    """Return a note without its split, its numbers and the difference between singular and plural."""
    if len(_SPLIT.findall(note)) != 1:
        return note
    text = _NUMBER.sub("#", _SPLIT.sub("@", note))
    return _WORD.sub(lambda word: _PLURALS.get(word[0], word[0]).rstrip("s"), text)


def _merge(notes: list[str]) -> str:
    first, *others = notes
    if not others:
        return first
    splits = [_SPLIT.findall(note)[0] for note in notes]
    numbers = [_NUMBER.findall(note) for note in notes]
    if all(item == numbers[0] for item in numbers):
        return _SPLIT.sub(f"{', '.join(splits[:-1])} and {splits[-1]}", first)
    parts = [f"{split}: {', '.join(item)}" for split, item in zip(splits[1:], numbers[1:])]
    return _SPLIT.sub(f"{splits[0]} ({'; '.join(parts)})", first)
