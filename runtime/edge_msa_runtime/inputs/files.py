"""Load frames and masks from `.npz` and `.npy` files for the command line. Pickles are refused."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping

import numpy as np

from edge_msa_runtime.errors import UsageError, first_line
from edge_msa_runtime.modalities import MODALITIES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Arrays = dict[str, NDArray[Any]]

_MASK_PREFIX = "valid."
ARRAY_NAMES = (*MODALITIES, *(_MASK_PREFIX + name for name in MODALITIES))
"""Names of the arrays of one utterance."""
# First bytes of .npy, .npz and an empty .npz.
_SIGNATURES = (b"\x93NUMPY", b"PK\x03\x04", b"PK\x05\x06")


def load_inputs(archive: str | None, files: Mapping[str, str]) -> tuple[Arrays, Arrays]:
    """Load the frames and masks of one utterance.

    Args:
        archive: a `.npz` with arrays `language`, `audio`, `vision` and masks `valid.language`, ..., or None.
        files: a `.npy` by modality. The archive must not have the same modality.

    Returns:
        Frames and masks by modality.

    Raises:
        UsageError: a file is missing or has another type, or an array has another name.
    """
    arrays = _load_archive(archive) if archive is not None else {}
    for name, path in files.items():
        if name in arrays:
            raise UsageError(f"{name} is in {archive} and in {path}. Pass it once.")
        array = _load(path)
        if not isinstance(array, np.ndarray):
            raise UsageError(f"--{name} must be a .npy of one array, got several arrays in {path}.")
        arrays[name] = array
    frames = {name: array for name, array in arrays.items() if not name.startswith(_MASK_PREFIX)}
    masks = {name[len(_MASK_PREFIX) :]: array for name, array in arrays.items() if name.startswith(_MASK_PREFIX)}
    return frames, masks


def _load_archive(path: str) -> Arrays:
    loaded = _load(path)
    if isinstance(loaded, np.ndarray):
        raise UsageError(f"{path} has one array without a name. Pass it as --language, --audio or --vision.")
    for name in loaded:
        if name not in ARRAY_NAMES:
            raise UsageError(
                f"Unknown array {name!r} in {path}. Allowed: {', '.join(ARRAY_NAMES)}. "
                "For a file of many samples, use --data."
            )
    return loaded


def _load(path: str) -> NDArray[Any] | Arrays:
    try:
        # The file is opened here because np.load does not close it if it is not an archive.
        with Path(path).open("rb") as file:
            if not file.read(6).startswith(_SIGNATURES):
                raise UsageError(f"{path} must be a .npy or .npz file. Write one with numpy.save or numpy.savez.")
            file.seek(0)
            loaded = np.load(file, allow_pickle=False)
            return loaded if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        # NumPy's own message recommends allow_pickle, which would execute code from the file.
        reason = "it contains Python objects" if "pickle" in str(error) else first_line(error)
        raise UsageError(
            f"{path} must contain arrays of numbers: {reason}. Write it again with numpy.savez."
        ) from error
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror or first_line(error)}.") from error
