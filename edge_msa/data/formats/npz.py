"""Load the arrays of an .npz file without pickles."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.identifiers import has_valid_characters
from edge_msa.errors import DataError

# RuntimeError: a damaged entry can look encrypted, or look compressed with an unknown method.
_DAMAGE = (ValueError, EOFError, OSError, KeyError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error)


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Return all arrays of an .npz file by name.

    Raises:
        DataError: The file is not an .npz archive, is truncated, or contains Python objects.
    """
    try:
        with path.open("rb") as file:  # np.load does not close the file if the archive is damaged
            return _load_all(file, path)
    except OSError as error:
        raise DataError(f"Cannot read {path} ({error.strerror or error}).") from None


def _load_all(file: BinaryIO, path: Path) -> dict[str, NDArray[Any]]:
    try:
        archive = np.load(file, allow_pickle=False)
    except (ValueError, EOFError, RuntimeError, zipfile.BadZipFile):
        raise DataError(f"{path} is not an .npz archive, or is truncated. Create or copy it again.") from None
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise DataError(f"{path} must be an .npz archive of several arrays, got a single array.")
    with archive:
        return {name: _load_array(archive, name, path) for name in archive.files}


def _load_array(archive: np.lib.npyio.NpzFile, name: str, path: Path) -> NDArray[Any]:
    try:
        array: NDArray[Any] = archive[name]
    except _DAMAGE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"Cannot read the array {name!r} of {path} ({reason}).") from None
    if not has_valid_characters(array):
        raise DataError(f"The array {name!r} of {path} is damaged: it contains invalid characters.")
    return array
