"""How long the steps of commands took on this machine. `--dry-run` estimates durations from them.

The file `durations.json` in the cache folder (`EDGE_MSA_CACHE`, or `~/.cache/edge-msa`) has the last `MAX_ENTRIES`
durations, oldest first. It holds estimates only, so a file that cannot be read or written is ignored.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edge_msa.artifacts.files import write_text
from edge_msa.artifacts.requests import Request
from edge_msa_runtime.backends.cache import cache_folder
from edge_msa_runtime.errors import EdgeMsaError

MAX_ENTRIES = 500


def record_seconds(output: Path, command: str, recipe: Mapping[str, Any], seconds: float) -> None:
    """Record how long it took to make a result.

    Args:
        output: The result.
        command: The command that made it.
        recipe: Its settings.
        seconds: The duration.
    """
    name = str(output.absolute())
    value = {"output": name, "command": command, "recipe": recipe, "seconds": round(seconds, 1)}
    entries = [entry for entry in _load() if entry["output"] != name]
    with contextlib.suppress(EdgeMsaError):  # only an estimate is lost
        write_text(_path(), json.dumps([*entries, value][-MAX_ENTRIES:], default=str) + "\n")


def estimate_seconds(output: Path, request: Request) -> float | None:
    """Return how long a step will take: as long as the same command with the same recipe took the last time.

    Only results in the same folder count, because those of other folders may be of other data. If only numbers of
    epochs differ, the duration is scaled.
    """
    new, new_epochs = _split_epochs(request.recipe)
    for entry in _newest_first(output):
        old, old_epochs = _split_epochs(entry["recipe"])
        if entry["command"] != request.command or old != new:
            continue
        if old_epochs and new_epochs:
            return float(entry["seconds"]) * new_epochs / old_epochs
        if old_epochs == new_epochs:
            return float(entry["seconds"])
    return None


def last_seconds(output: Path) -> float | None:
    """Return how long it took to make a result the last time, whatever its recipe was; None if that is unknown."""
    name = str(output.absolute())
    return next((float(entry["seconds"]) for entry in _load() if entry["output"] == name), None)


def _newest_first(output: Path) -> Iterator[dict[str, Any]]:
    """Yield the entries of the results in the same folder: that of the output itself, then from the newest."""
    name, folder = str(output.absolute()), output.absolute().parent
    entries = [entry for entry in _load() if Path(entry["output"]).parent == folder]
    yield from (entry for entry in entries if entry["output"] == name)
    yield from (entry for entry in reversed(entries) if entry["output"] != name)


def _load() -> list[dict[str, Any]]:
    """Return the valid entries, oldest first."""
    try:
        values = json.loads(_path().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [value for value in values if _is_entry(value)] if isinstance(values, list) else []


def _is_entry(value: object) -> bool:
    kinds = {"output": str, "command": str, "recipe": dict, "seconds": int | float}
    return isinstance(value, dict) and all(isinstance(value.get(name), kind) for name, kind in kinds.items())


def _split_epochs(recipe: Mapping[str, Any]) -> tuple[dict[str, Any], float]:
    """Return the settings without numbers of epochs, as JSON has them, and the sum of these numbers."""
    plain = json.loads(json.dumps(recipe, default=str))
    epochs = sum(value for name, value in plain.items() if name.endswith("epochs") and isinstance(value, int))
    return {name: value for name, value in plain.items() if not name.endswith("epochs")}, epochs


def _path() -> Path:
    return cache_folder() / "durations.json"
