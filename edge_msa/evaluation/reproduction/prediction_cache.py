"""The one test predictions of the test split: a trained run's predictions under every condition, kept beside its weights."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from edge_msa.artifacts.files import write_bytes, write_text
from edge_msa.data.dataset import FloatArray
from edge_msa.evaluation.reproduction.conditions import Condition

SCHEMA = 1
INFO_NAME = "test.json"
PREDICTIONS_NAME = "test.npz"

Predictions = dict[str, FloatArray]
"""By a condition's key."""


def read_test_predictions(folder: Path, cache_key: str, conditions: Sequence[Condition]) -> Predictions | None:
    """The predictions that are there of that cache key and hold all conditions; None for anything else."""
    try:
        info = json.loads((folder / INFO_NAME).read_text(encoding="utf-8"))
        content = (folder / PREDICTIONS_NAME).read_bytes()
        known = (info["schema"], info["cache_key"], info["sha256"])
        if known != (SCHEMA, cache_key, hashlib.sha256(content).hexdigest()):
            return None
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            found = {key: np.asarray(arrays[str(index)], np.float32) for index, key in enumerate(info["conditions"])}
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return None
    return found if {condition.key for condition in conditions} <= set(found) else None


def write_test_predictions(
    folder: Path, cache_key: str, predictions: Mapping[str, FloatArray], metrics: Mapping[str, Mapping[str, float]]
) -> None:
    """Keep them; the JSON file comes last and names the other by its digest, so that half of it is none.

    Raises:
        EdgeMsaError: a file cannot be written.
    """
    buffer = io.BytesIO()
    named: dict[str, FloatArray] = {str(index): values for index, values in enumerate(predictions.values())}
    np.savez(buffer, allow_pickle=False, **named)
    content = buffer.getvalue()
    write_bytes(folder / PREDICTIONS_NAME, content)
    info = {
        "schema": SCHEMA,
        "cache_key": cache_key,
        "sha256": hashlib.sha256(content).hexdigest(),
        "conditions": list(predictions),
        "metrics": metrics,
    }
    write_text(folder / INFO_NAME, json.dumps(info, indent=1) + "\n")


def prediction_cache_key(*parts: str) -> str:
    """The SHA-256 over what the predictions depend on: the run, the data, the task, the seed of corruption."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
