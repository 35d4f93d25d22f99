"""Line numbers of keys in TOML files, which `tomllib` does not return."""

from __future__ import annotations

import re
from collections.abc import Sequence

_KEY = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_PATH = rf"{_KEY}(?:\s*\.\s*{_KEY})*"
_HEADER = re.compile(rf"\s*\[\[?\s*({_PATH})\s*\]")
_ASSIGNMENT = re.compile(rf"\s*({_PATH})\s*=")


def find_line(text: str, key: Sequence[str]) -> int | None:
    """Return the line of a key, counted from 1; or of the innermost table or value around it; or None.

    Args:
        text: Content of a valid TOML file.
        key: Names of the tables and of the key, from the outermost.
    """
    table: tuple[str, ...] = ()
    best: tuple[int, int] | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            table = path = _split(header[1])
        elif assignment := _ASSIGNMENT.match(line):
            path = (*table, *_split(assignment[1]))
        else:
            continue
        if tuple(key[: len(path)]) == path and (best is None or len(path) > best[0]):
            best = (len(path), number)
    return best[1] if best else None


def _split(path: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in re.findall(_KEY, path))
