"""Write single files atomically, with the toolkit's one-line errors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from edge_msa.errors import EdgeMsaError
from edge_msa_runtime import atomic_files


def write_text(path: Path, text: str) -> Path:
    """Write UTF-8 text to a file, atomically, and return the path. Raises the errors of `atomic_file`."""
    return write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> Path:
    """Write bytes to a file, atomically, and return the path. Raises the errors of `atomic_file`."""
    with atomic_file(path) as file:
        file.write(content)
    return path


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file that replaces `path` on success; a killed command leaves the old file or the new one.

    Missing parent folders are created.

    Raises:
        EdgeMsaError: The file cannot be written (disk full, no permission, or the path is a folder).
    """
    try:
        with atomic_files.atomic_file(path) as file:
            yield file
    except OSError as error:
        raise EdgeMsaError(f"Cannot write {path} ({error.strerror or error}). Choose another path.") from None
