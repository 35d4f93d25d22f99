"""Load frames and masks from `.npz` and `.npy` files for the command line. Pickles are refused."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping

import numpy as np

from edge_msa_runtime.errors import DataError, UsageError, first_line
from edge_msa_runtime.inputs.media import media_hint
from edge_msa_runtime.inputs.npz_files import DAMAGE, damage_reason, load_arrays
from edge_msa_runtime.modalities import MODALITIES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_msa_runtime.inputs.npz_files import Arrays

_MASK_PREFIX = "valid."
ARRAY_NAMES = (*MODALITIES, *(_MASK_PREFIX + name for name in MODALITIES))
"""Names of the arrays of one utterance."""
_ZIP = b"PK"
# First bytes of .npy, .npz and an empty .npz.
_SIGNATURES = (b"\x93NUMPY", _ZIP + b"\x03\x04", _ZIP + b"\x05\x06")


def load_inputs(archive: str | None, files: Mapping[str, str]) -> tuple[Arrays, Arrays]:
    """Load the frames and masks of one utterance.

    Args:
        archive: a `.npz` with arrays `language`, `audio`, `vision` and masks `valid.language`, ..., or None.
        files: a `.npy` by modality. The archive must not have the same modality.

    Returns:
        Frames and masks by modality.

    Raises:
        UsageError: a file is missing or damaged or has another type, or an array has another name.
    """
    arrays = _load_archive(archive) if archive is not None else {}
    for name, path in files.items():
        if name in arrays:
            raise UsageError(f"{name} is in {archive} and in {path}. Pass it once.")
        array = _load(path)
        if not isinstance(array, np.ndarray):
            raise UsageError(f"--{name} must be a .npy of one array, got several arrays in {path}.")
        arrays[name] = array
    return separate_masks(arrays)


def separate_masks(arrays: Mapping[str, NDArray[Any]]) -> tuple[Arrays, Arrays]:
    """Return the frames and the masks among arrays with `ARRAY_NAMES`, by modality."""
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
                advice = media_hint([path]) or "Write one with numpy.save or numpy.savez."
                raise UsageError(f"{path} must be a .npy or .npz file. {advice.strip()}")
            file.seek(0)
            if file.read(2) == _ZIP:
                return load_arrays(Path(path))
            file.seek(0)
            array: NDArray[Any] = np.load(file, allow_pickle=False)
            return array
    except DataError as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror or first_line(error)}.") from error
    except DAMAGE as error:
        raise UsageError(f"Cannot read {path} ({damage_reason(error)}). Create or copy it again.") from error
