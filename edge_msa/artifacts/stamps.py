"""Record in a file which command line wrote it, so that another one does not replace it silently.

The record is inside the file: a comment at the end of a page, the comment of a ZIP archive, or the last item of a JSON
list. Other files, such as CSV, have none.
"""

from __future__ import annotations

import json
import os
import re
import struct
import zipfile
from pathlib import Path

from edge_msa.artifacts.files import write_text

RECORD = "written_by"
"""The kind of the item in a JSON list."""
_HTML = re.compile(r"<!-- edge-msa written_by (.*) -->\s*\Z")
_TAIL = 1 << 16


def write_stamp(path: Path, command: str) -> None:
    """Record the command line in a file that it has just written. Files without a place for it are unchanged."""
    if path.suffix == ".html":
        write_text(
            path, f"{path.read_text(encoding='utf-8').rstrip()}\n<!-- edge-msa written_by {_quote(command)} -->\n"
        )
    elif path.suffix == ".npz":
        _write_zip_comment(path, command.encode())
    elif path.suffix == ".json":
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, list):
            write_text(path, json.dumps([*content, {"record": RECORD, "command": command}], indent=1) + "\n")


def read_stamp(path: Path) -> str | None:
    """Return the command line that wrote a file, or None if the file does not say."""
    try:
        if path.suffix == ".html":
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - _TAIL))
                match = _HTML.search(file.read().decode("utf-8", "replace"))
            return str(json.loads(match[1])) if match else None
        if path.suffix == ".npz":
            with zipfile.ZipFile(path) as archive:
                return archive.comment.decode() or None
        if path.suffix == ".json":
            last = json.loads(path.read_text(encoding="utf-8"))[-1]
            return str(last["command"]) if last["record"] == RECORD else None
    except (OSError, ValueError, KeyError, IndexError, TypeError, zipfile.BadZipFile):
        return None
    return None


def _quote(text: str) -> str:
    """Return a JSON string without "--", which would end the comment."""
    return json.dumps(text).replace("--", "\\u002d\\u002d")


def _write_zip_comment(path: Path, comment: bytes) -> None:
    """Append a comment to an archive that has none. The last field of a ZIP file is the length of its comment."""
    with path.open("r+b") as file:
        file.seek(-2, os.SEEK_END)
        if file.read(2) == b"\0\0":
            comment = comment[: _TAIL - 1]
            file.seek(-2, os.SEEK_END)
            file.write(struct.pack("<H", len(comment)) + comment)
