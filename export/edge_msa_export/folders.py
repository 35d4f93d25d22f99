"""Writes folders atomically: into a temporary folder next to the destination, synced to disk, then renamed."""

from __future__ import annotations

import contextlib
import errno
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from edge_msa_export.errors import ExportError, OutputError
from edge_msa_runtime.atomic_files import replace_folder, restore_folder

_NOTHING_REMAINS = "No partial output remains."


@contextlib.contextmanager
def atomic_folder(output_dir: Path, may_replace: Callable[[Path], bool]) -> Iterator[Path]:
    """Yield a temporary folder to fill; on exit without an error it becomes `output_dir`.

    Args:
        output_dir: the destination. An empty folder there is replaced, and one that `may_replace` accepts.
        may_replace: returns whether an existing folder is an older one of the same kind.

    Raises:
        OutputError: the existing folder may not be replaced, or the destination cannot be created.
        ExportError: the disk is full, or writing fails in another way.
    """
    destination = output_dir.absolute()
    restore_folder(destination)
    check_destination(output_dir, may_replace)
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{destination.name}.partial-", dir=destination.parent))
    except OSError as error:
        raise OutputError(f"{output_dir} cannot be created ({error.strerror}). Choose another --output-dir.") from error
    try:
        yield temporary
        temporary.chmod(0o755)  # mkdtemp creates private folders (0700)
        replace_folder(temporary, destination)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        remains = (
            f"A part of it remains in {temporary}; delete that folder." if temporary.exists() else _NOTHING_REMAINS
        )
        raise to_export_error(error, output_dir, remains) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def to_export_error(error: OSError, output_dir: Path, remains: str = "") -> ExportError:
    """Return an ExportError that says why a folder cannot be written, and what remains of it."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    problem = ": no space left on the device." if full else f" ({error})."
    advice = "Free some space or choose another folder." if full else "Choose another folder."
    return ExportError(f"{output_dir} cannot be written{problem} {remains or advice}")


def check_destination(output_dir: Path, may_replace: Callable[[Path], bool]) -> None:
    """Check that an export may write `output_dir`: nothing is there, an empty folder, or one that may be replaced.

    Call this before slow work.

    Args:
        output_dir: the destination.
        may_replace: returns whether an existing folder may be replaced.

    Raises:
        OutputError: something else is there.
    """
    destination = output_dir.absolute()
    if destination.is_symlink() or (destination.exists() and not destination.is_dir()):
        raise OutputError(f"{output_dir} must be a folder, got a file or a link. Choose another --output-dir.")
    if destination.is_dir() and any(destination.iterdir()) and not may_replace(destination):
        raise OutputError(
            f"{output_dir} contains files that are not from an earlier export and is not replaced. Choose another "
            "--output-dir."
        )
