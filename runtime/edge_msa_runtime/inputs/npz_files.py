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
DAMAGE = (ValueError, EOFError, OSError, KeyError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What NumPy raises for a file that cannot be read."""
_ADVICE = "Create or copy it again."


def load_arrays(path: Path, advice: str = _ADVICE) -> Arrays:
    """Return all arrays of an .npz file by name. `advice` ends the message of an error.

    Raises:
        DataError: The file is not an .npz archive, is truncated, or contains Python objects.
    """
    try:
        with path.open("rb") as file:  # np.load does not close the file if the archive is damaged
            return _load_all(file, path, advice)
    except OSError as error:
        raise DataError(f"Cannot read {path} ({error.strerror or error}). {advice}") from None


def has_valid_characters(array: NDArray[Any]) -> bool:
    """Return whether all code points in an array of text exist.

    NumPy stores any 32 bits as a character and fails only when the text is used.
    """
    if array.dtype.kind != "U" or not array.nbytes:
        return True
    points = np.frombuffer(array.tobytes(), np.dtype("u4").newbyteorder(array.dtype.byteorder))
    return int(points.max()) <= 0x10FFFF


def damage_reason(error: Exception) -> str:
    """Return why an array cannot be read. NumPy's own message recommends allow_pickle, which would execute code."""
    return "it contains Python objects" if "pickle" in str(error) else first_line(error)


def _load_all(file: BinaryIO, path: Path, advice: str) -> Arrays:
    try:
        archive = np.load(file, allow_pickle=False)
    except (ValueError, EOFError, RuntimeError, zipfile.BadZipFile):
        raise DataError(f"{path} is not an .npz archive, or is truncated. {advice}") from None
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise DataError(f"{path} must be an .npz archive of several arrays, got a single array. {advice}")
    with archive:
        return {name: _load_array(archive, name, path, advice) for name in archive.files}


def _load_array(archive: Any, name: str, path: Path, advice: str) -> NDArray[Any]:
    try:
        array: NDArray[Any] = archive[name]
    except DAMAGE as error:
        raise DataError(f"Cannot read the array {name!r} of {path} ({damage_reason(error)}). {advice}") from None
    if not has_valid_characters(array):
        raise DataError(f"The array {name!r} of {path} is damaged: it contains invalid characters. {advice}")
    return array
