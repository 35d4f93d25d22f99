"""The backend cache: a folder outside the bundle for graphs that a backend compiled on this device."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Mapping

from edge_msa_runtime.atomic_files import write_file
from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.bundle.manifest import WEIGHTS_NAME
from edge_msa_runtime.errors import CacheError

CACHE_VARIABLE = "EDGE_MSA_CACHE"


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder in `EDGE_MSA_CACHE`, or `~/.cache/edge-msa` when the variable is not set."""
    selected = environment.get(CACHE_VARIABLE)
    return Path(selected) if selected else Path("~/.cache/edge-msa").expanduser()


def graph_digest(path: Path) -> str:
    """Return the SHA-256 of a graph and of its external weights, if it has any."""
    weights = path.with_suffix(".bin") if path.suffix == ".xml" else path.with_name(WEIGHTS_NAME)
    return file_sha256(path) + (f"-{file_sha256(weights)}" if weights.is_file() else "")


def ensure_writable(folder: Path) -> Path:
    """Create a folder if necessary, check that files can be written into it, and return it.

    Raises:
        CacheError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=str(folder)):
            return folder
    except OSError as error:
        raise cache_write_error(folder, error) from error


def create_work_folder(folder: Path) -> Path:
    """Create an empty folder for one build inside the cache. Its name never matches a cached file.

    Raises:
        CacheError: the cache cannot be written. This is detected before a build that takes minutes.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=".build-", dir=str(folder)))
    except OSError as error:
        raise cache_write_error(folder, error) from error


def write_cache_file(path: Path, content: bytes) -> None:
    """Write a file of the cache atomically: other processes see either all of it or nothing.

    Raises:
        CacheError: the file cannot be written.
    """
    try:
        write_file(path, content)
    except OSError as error:
        raise cache_write_error(path.parent, error) from error


def cache_write_error(folder: Path, error: OSError) -> CacheError:
    """Return the error for a cache that is read-only, full or not a folder."""
    return CacheError(
        f"Cannot write to the backend cache {str(folder)!r} ({error.strerror}). "
        f"Free some space or set {CACHE_VARIABLE} to a writable folder."
    )
