"""Finds local file paths inside a graph. They expose the machine that wrote it and differ between exports."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

_ROOTS = "home|root|Users|usr|opt|tmp|var|mnt|media|srv|private|build|workspace"
_PATH = re.compile(rf"(?:(?<![\w.])/(?:{_ROOTS})/[^\s\"'<>]+|\b[A-Za-z]:[\\/][\w.][^\s\"'<>]*|file://[^\s\"'<>]+)")


def find_local_paths(text: str) -> str | None:
    """Return the first local path in `text`, or None.

    A local path is one below the current, home, Python or temporary folder of this machine, or any other text that
    looks like an absolute path.
    """
    for folder in (str(Path.cwd()), str(Path.home()), sys.prefix, tempfile.gettempdir()):
        # Match whole folder names only: a container may run in /data, and an OpenVINO IR is full of </data>.
        if len(folder) > 1 and re.search(rf"(?<![\w.<]){re.escape(folder)}(?![\w-])", text):
            return folder
    match = _PATH.search(text)
    return match.group() if match else None


def iterate_messages(message: Any, location: str) -> Iterator[tuple[str, Any]]:
    """Yield the location and value of a protobuf message and of every message in it, at any depth."""
    yield location, message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for item in _list_items(value):
                yield from iterate_messages(item, f"{location}.{field.name}")


def iterate_strings(message: Any, location: str) -> Iterator[tuple[str, str]]:
    """Yield the location and text of every string in a protobuf message, at any depth, except raw weights."""
    for message_location, inner in iterate_messages(message, location):
        for field, value in inner.ListFields():
            for item in _list_items(value):
                if isinstance(item, str):
                    yield f"{message_location}.{field.name}", item
                elif isinstance(item, bytes) and field.name in ("s", "strings", "string_data"):
                    yield f"{message_location}.{field.name}", item.decode("utf-8", "replace")


def _list_items(value: Any) -> Iterable[Any]:
    """Return the items of a repeated field, or the only value of another field."""
    return value if hasattr(value, "append") else [value]
