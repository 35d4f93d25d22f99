"""Arrays that several trainings share: computed by the first, read by the others."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from edge_msa.files import write_bytes


def kept(path: Path | None, make: Callable[[], NDArray[np.float32]]) -> NDArray[np.float32]:
    """What lies at `path`, an .npy file; where there is none, or a damaged one, what `make` gives is written there.

    Without a path nothing is kept. The caller's name for the file must tell apart all that the array depends on. Of
    several processes that need it at once, one makes it.
    """
    if path is None:
        return make()
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        found = _read(path)
        if found is not None:
            return found
        array = make()
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        write_bytes(path, buffer.getvalue())
        return array


def _read(path: Path) -> NDArray[np.float32] | None:
    try:
        return np.asarray(np.load(path, allow_pickle=False), np.float32)
    except (ValueError, EOFError, OSError):
        return None
