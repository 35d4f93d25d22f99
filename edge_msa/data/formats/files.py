"""Load the arrays of an .npz file without pickles."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.identifiers import is_text
from edge_msa.errors import DataError

# RuntimeError: a damaged entry can look encrypted, or compressed in a way that zipfile does not know.
_DAMAGE = (ValueError, EOFError, OSError, KeyError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error)


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Every array of the .npz at `path`, by name; arrays of Python objects are refused.

    Raises:
        DataError: it is not an .npz, is truncated, or holds Python objects.
    """
    try:
        with path.open("rb") as file:  # ours to close: np.load leaves it open when the archive is damaged
            return _load_all(file, path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None


def _load_all(file: BinaryIO, path: Path) -> dict[str, NDArray[Any]]:
    try:
        opened = np.load(file, allow_pickle=False)
    except (ValueError, EOFError, RuntimeError, zipfile.BadZipFile):
        raise DataError(f"{path} is not an .npz archive, or is truncated: make or copy it again") from None
    if not isinstance(opened, np.lib.npyio.NpzFile):
        raise DataError(f"{path} is a single array, not an .npz archive of several")
    with opened:
        return {name: _load_array(opened, name, path) for name in opened.files}


def _load_array(opened: np.lib.npyio.NpzFile, name: str, path: Path) -> NDArray[Any]:
    try:
        array: NDArray[Any] = opened[name]
    except _DAMAGE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"array {name!r} of {path} cannot be read ({reason})") from None
    if not is_text(array):
        raise DataError(f"array {name!r} of {path} is damaged: it holds characters that do not exist")
    return array
