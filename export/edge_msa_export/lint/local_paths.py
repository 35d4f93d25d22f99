"""Finds local file paths inside a graph. They expose the machine that wrote it and differ between exports."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator
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


def iterate_strings(message: Any, location: str) -> Iterator[tuple[str, str]]:
    """Yield the location and text of every string in a protobuf message, at any depth, except raw weights."""
    for field, value in message.ListFields():
        field_location = f"{location}.{field.name}"
        for item in value if isinstance(value, (list, tuple)) or hasattr(value, "append") else [value]:
            if isinstance(item, str):
                yield field_location, item
            elif isinstance(item, bytes) and field.name in ("s", "strings", "string_data"):
                yield field_location, item.decode("utf-8", "replace")
            elif hasattr(item, "ListFields"):
                yield from iterate_strings(item, field_location)
