"""Frames from files, for the command line: `.npz` and `.npy` without pickles; and words as they are."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping

import numpy as np

from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.modalities import MODALITIES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Arrays = dict[str, NDArray[Any]]

_MASK = "valid."
# How .npy and .npz begin; the third is an archive of nothing.
_STARTS = (b"\x93NUMPY", b"PK\x03\x04", b"PK\x05\x06")


def read_inputs(archive: str | None, files: Mapping[str, str]) -> tuple[dict[str, Any], Arrays]:
    """The frames, or words, and the masks of one utterance.

    Args:
        archive: a `.npz` with arrays `language`, `audio`, `vision` and masks `valid.language`, ..., or None.
        files: a `.npy` by modality, for language also what was said: anything that does not end in `.npy` or `.npz`.
            One that the archive has as well is refused.

    Returns:
        Frames, or a text for language, and masks by modality.

    Raises:
        UsageError: a file is missing, of another type, or has an array of another name.
    """
    arrays: dict[str, Any] = _read_archive(archive) if archive is not None else {}
    for name, path in files.items():
        if name in arrays:
            raise UsageError(f"{name} is in {archive} and given as {path}; give it once")
        if name == "language" and not path.endswith((".npy", ".npz")):
            arrays[name] = path
            continue
        array = _load(path)
        if not isinstance(array, np.ndarray):
            raise UsageError(f"{path} holds several arrays, --{name} takes a .npy of one")
        arrays[name] = array
    if not arrays:
        raise UsageError(
            "no input was given; give INPUT.npz, --language with words or a .npy, --audio, --vision with a .npy"
        )
    frames = {name: array for name, array in arrays.items() if not name.startswith(_MASK)}
    masks = {name[len(_MASK) :]: array for name, array in arrays.items() if name.startswith(_MASK)}
    return frames, masks


def _read_archive(path: str) -> Arrays:
    loaded = _load(path)
    if isinstance(loaded, np.ndarray):
        raise UsageError(f"{path} holds one array without a name; give it as --language, --audio or --vision")
    allowed = [*MODALITIES, *(_MASK + name for name in MODALITIES)]
    for name in loaded:
        if name not in allowed:
            raise UsageError(f"{path} has an array {name!r}; it may have: {', '.join(allowed)}")
    return loaded


def _load(path: str) -> NDArray[Any] | Arrays:
    try:
        # Opened here: NumPy leaves a file open when it is no archive.
        with Path(path).open("rb") as file:
            if not file.read(6).startswith(_STARTS):
                raise UsageError(
                    f"{path} is not a NumPy file (.npy, .npz of arrays named {', '.join(MODALITIES)}); "
                    "write one with numpy.savez"
                )
            file.seek(0)
            loaded = np.load(file, allow_pickle=False)
            return loaded if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        # NumPy would advise to unpickle it, which nobody should.
        why = "it holds objects" if "pickle" in str(error) else _one_line(error)
        raise UsageError(f"{path} is no .npz or .npy of numbers: {why}; write one with numpy.savez") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or _one_line(error)}; check the path") from error


def _one_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
