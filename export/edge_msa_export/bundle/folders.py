"""Folders that appear whole or not at all: written beside their place, synced to disk, then renamed."""

from __future__ import annotations

import contextlib
import errno
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from edge_msa_export.errors import ExportError, OutputError
from edge_msa_runtime.atomic_files import replace_folder, restore_folder


@contextlib.contextmanager
def whole_folder(output_dir: Path, may_replace: Callable[[Path], bool]) -> Iterator[Path]:
    """Give a temporary folder to fill; on leaving without an error it becomes `output_dir`.

    Args:
        output_dir: its place. An empty folder there is replaced, and one of which `may_replace` is true.
        may_replace: whether a folder that is there is an older one of the same kind.

    Raises:
        OutputError: what is there may not be replaced, or the place cannot be written.
        ExportError: the disk is full, or cannot be written to in another way.
    """
    place = output_dir.absolute()
    restore_folder(place)
    _check_place(place, output_dir, may_replace)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{place.name}.partial-", dir=place.parent))
    except OSError as error:
        raise OutputError(f"{output_dir}: cannot be made ({error.strerror}); give another --output-dir") from error
    try:
        yield temporary
        temporary.chmod(0o755)  # mkdtemp's 0700 is for secrets
        replace_folder(temporary, place)
    except OSError as error:
        raise explain(error, output_dir) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check_place(place: Path, output_dir: Path, may_replace: Callable[[Path], bool]) -> None:
    if place.is_symlink() or (place.exists() and not place.is_dir()):
        raise OutputError(f"{output_dir}: is a file or a link, not a folder; give another --output-dir")
    if place.is_dir() and any(place.iterdir()) and not may_replace(place):
        raise OutputError(
            f"{output_dir}: holds something that is not a bundle, which is never deleted; give another --output-dir"
        )


def explain(error: OSError, output_dir: Path) -> ExportError:
    """One line on why a folder cannot be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ExportError(f"{output_dir}: no space left on the device; free some, nothing was left behind")
    return ExportError(f"{output_dir}: cannot be written ({error}); nothing was left behind")
