"""Paths of a machine inside a graph: they leak, and differ from one export to the next."""

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
    """The first path of a machine inside `text`, this one's folders or any that attention maps like one."""
    for folder in (str(Path.cwd()), str(Path.home()), sys.prefix, tempfile.gettempdir()):
        # Whole folders only: a container may work in /data, and an IR is full of </data>.
        if len(folder) > 1 and re.search(rf"(?<![\w.<]){re.escape(folder)}(?![\w-])", text):
            return folder
    match = _PATH.search(text)
    return match.group() if match else None


def strings_of(message: Any, where: str) -> Iterator[tuple[str, str]]:
    """Every string of a protobuf message, however deep, with its place; raw weights are bytes and left out."""
    for field, value in message.ListFields():
        here = f"{where}.{field.name}"
        for item in value if isinstance(value, (list, tuple)) or hasattr(value, "append") else [value]:
            if isinstance(item, str):
                yield here, item
            elif isinstance(item, bytes) and field.name in ("s", "strings", "string_data"):
                yield here, item.decode("utf-8", "replace")
            elif hasattr(item, "ListFields"):
                yield from strings_of(item, here)
