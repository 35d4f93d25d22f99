"""Write files and folders atomically: another process sees the old content or the new content, never a part."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from pathlib import Path
from typing import BinaryIO, Iterator


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file next to `path` for writing; on success, flush it to disk and rename it to `path`.

    Missing parent folders are created. If the body raises, the temporary file is removed and `path` is unchanged.

    Raises:
        OSError: The file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not tempfile.mkstemp, which makes files that only their owner can read.
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        with partial.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


def write_file(path: Path, content: bytes) -> None:
    """Write `content` to `path` through `atomic_file`."""
    with atomic_file(path) as file:
        file.write(content)


def replace_folder(new: Path, destination: Path) -> None:
    """Flush the folder `new` to disk and rename it to `destination`, replacing the folder there.

    The old folder is renamed first and deleted last. If the second rename fails, the old folder is restored; if the
    process is killed between the two renames, `restore_folder` restores it.

    Raises:
        OSError: A rename failed.
    """
    _sync_tree(new)
    old = _old_folder(destination)
    shutil.rmtree(str(old), ignore_errors=True)
    if destination.exists():
        destination.rename(old)
    try:
        new.rename(destination)
    except BaseException:
        if old.exists():
            old.rename(destination)
        raise
    _sync_folder(destination.parent)
    shutil.rmtree(str(old), ignore_errors=True)


def restore_folder(destination: Path) -> None:
    """Bring back the folder that `replace_folder` renamed before it was killed; do nothing if it was not."""
    old = _old_folder(destination)
    if old.exists() and not destination.exists():
        old.rename(destination)


def _old_folder(destination: Path) -> Path:
    return destination.with_name(f".{destination.name}.old")


def _sync_tree(folder: Path) -> None:
    """Flush files, then folders, so that the rename cannot reach the disk before the content does."""
    for current, _, names in os.walk(str(folder), topdown=False):
        for name in names:
            with (Path(current) / name).open("rb+") as file:
                os.fsync(file.fileno())
        _sync_folder(Path(current))


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return  # only POSIX systems can open a folder
    handle = os.open(str(folder), os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
