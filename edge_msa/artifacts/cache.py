"""Decide whether a result that exists is still the one that a command would compute.

Every result depends on a command, its recipe, the seed, its inputs and the code. `compute_cache_key` hashes all of
them. A run stores its key in run.json; other results store it in one of two ways:

- a JSON record: `save_cached` and `load_cached` store the key inside the file;
- a folder, such as a bundle: `mark_current` and `is_current` store the key in a hidden file next to it.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_msa.artifacts.files import write_text

_PACKAGES = ("edge_msa", "edge_msa_export", "edge_msa_calibrate", "edge_msa_runtime")
_KEY = "cache_key"


def compute_cache_key(command: str, recipe: Mapping[str, Any], seed: int, inputs: Mapping[str, str]) -> str:
    """Return the SHA-256 of everything that a result depends on.

    Args:
        command: The command and its variant, e.g. `train hrlf`.
        recipe: Every setting that can change the result, as plain JSON values.
        seed: Seed of all random draws.
        inputs: Digests of the data and of earlier results, by name.
    """
    parts = {"command": command, "recipe": recipe, "seed": seed, "inputs": inputs, "code": code_digest()}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@functools.cache
def code_digest() -> str:
    """Return the SHA-256 over all Python files of the four packages, so that changed code changes every cache key."""
    digest = hashlib.sha256()
    for package in _PACKAGES:
        spec = importlib.util.find_spec(package)
        for folder in spec.submodule_search_locations or () if spec else ():
            for path in sorted(Path(folder).rglob("*.py")):
                digest.update(f"{package}/{path.relative_to(folder).as_posix()}".encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def save_cached(path: Path, cache_key: str, record: Mapping[str, Any]) -> None:
    """Write a JSON record together with its cache key."""
    write_text(path, json.dumps({_KEY: cache_key, **record}, indent=1) + "\n")


def load_cached(path: Path, cache_key: str) -> dict[str, Any] | None:
    """Return the record that `save_cached` wrote, or None if it is missing, damaged or has another cache key."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict) or record.pop(_KEY, None) != cache_key:
        return None
    return record


def mark_current(result: Path, cache_key: str) -> None:
    """Record that the file or folder `result` was made with that cache key."""
    write_text(_marker(result), cache_key)


def is_current(result: Path, cache_key: str) -> bool:
    """Return whether `result` exists and `mark_current` recorded that cache key for it."""
    try:
        return result.exists() and _marker(result).read_text(encoding="utf-8") == cache_key
    except (OSError, UnicodeDecodeError):
        return False


def _marker(result: Path) -> Path:
    return result.with_name(f".{result.name}.{_KEY}")
