"""Writing single files whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from edge_msa.errors import EdgeMsaError, UsageError


def check_file(path: Path) -> Path:
    """The path, if a file can have it; to be asked before slow work.

    Raises:
        UsageError: it is a folder.
    """
    if path.is_dir() or not path.name:
        raise UsageError(f"{path} is a folder: give a file to write")
    return path


def write_text(path: Path, text: str) -> Path:
    """Write UTF-8 text as `write_bytes` writes.

    Raises:
        EdgeMsaError: the file cannot be written.
    """
    return write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> Path:
    """Write beside the destination, then rename: a killed command leaves the old file or the new one.

    Folders on the way are made.

    Raises:
        EdgeMsaError: the file cannot be written (no space, no permission, a folder stands there).
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise EdgeMsaError(f"{path} cannot be written ({error.strerror or error}): give another place") from None
    finally:
        # After the rename there is nothing left; after a failure or Ctrl-C nothing half-written may stay.
        _remove(partial)
    return path


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        # Its folder is no folder, or not ours to write: then it was never made, and the first error is the one to tell.
        return
