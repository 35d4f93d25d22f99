"""Load the arrays of an `.npz` file without pickles."""

from __future__ import annotations

import zipfile
import zlib
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from edge_msa_runtime.errors import DataError, first_line

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Arrays = dict[str, NDArray[Any]]

# RuntimeError: a damaged entry can look encrypted, or look compressed with an unknown method.
_DAMAGE = (ValueError, EOFError, OSError, KeyError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error)


def load_arrays(path: Path) -> Arrays:
    """Return all arrays of an .npz file by name.

    Raises:
        DataError: The file is not an .npz archive, is truncated, or contains Python objects.
    """
    try:
        with path.open("rb") as file:  # np.load does not close the file if the archive is damaged
            return _load_all(file, path)
    except OSError as error:
        raise DataError(f"Cannot read {path} ({error.strerror or error}).") from None


def has_valid_characters(array: NDArray[Any]) -> bool:
    """Return whether all code points in an array of text exist.

    NumPy stores any 32 bits as a character and fails only when the text is used.
    """
    if array.dtype.kind != "U" or not array.nbytes:
        return True
    points = np.frombuffer(array.tobytes(), np.dtype("u4").newbyteorder(array.dtype.byteorder))
    return int(points.max()) <= 0x10FFFF


def _load_all(file: BinaryIO, path: Path) -> Arrays:
    try:
        archive = np.load(file, allow_pickle=False)
    except (ValueError, EOFError, RuntimeError, zipfile.BadZipFile):
        raise DataError(f"{path} is not an .npz archive, or is truncated. Create or copy it again.") from None
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise DataError(f"{path} must be an .npz archive of several arrays, got a single array.")
    with archive:
        return {name: _load_array(archive, name, path) for name in archive.files}


def _load_array(archive: Any, name: str, path: Path) -> NDArray[Any]:
    try:
        array: NDArray[Any] = archive[name]
    except _DAMAGE as error:
        raise DataError(f"Cannot read the array {name!r} of {path} ({first_line(error)}).") from None
    if not has_valid_characters(array):
        raise DataError(f"The array {name!r} of {path} is damaged: it contains invalid characters.")
    return array
