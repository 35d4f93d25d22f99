"""Cache the predictions of a trained run on the test split, so that each run predicts it exactly once."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from edge_msa.artifacts.cache import compute_cache_key, load_cached, save_cached
from edge_msa.artifacts.files import write_bytes
from edge_msa.artifacts.runs import Run
from edge_msa.data.dataset import Dataset, FloatArray
from edge_msa.evaluation.reproduction.conditions import Condition

INFO_NAME = "test.json"
PREDICTIONS_NAME = "test.npz"

Predictions = dict[str, FloatArray]
"""Predictions by the condition's key."""


def prediction_cache_key(run: Run, dataset: Dataset) -> str:
    """Return the cache key of a run's predictions on the test split of a dataset."""
    inputs = {"run": run.digest, "data": dataset.digest, "task": dataset.task.option}
    return compute_cache_key("predict test", {}, run.info.seed, inputs)


def load_test_predictions(folder: Path, cache_key: str, conditions: Sequence[Condition]) -> Predictions | None:
    """Return the cached predictions; None if they are damaged, lack a condition or have another cache key."""
    info = load_cached(folder / INFO_NAME, cache_key)
    if info is None:
        return None
    try:
        content = (folder / PREDICTIONS_NAME).read_bytes()
        if info["sha256"] != hashlib.sha256(content).hexdigest():
            return None
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            predictions = {key: np.asarray(arrays[str(n)], np.float32) for n, key in enumerate(info["conditions"])}
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return None
    return predictions if {condition.key for condition in conditions} <= set(predictions) else None


def write_test_predictions(
    folder: Path, cache_key: str, predictions: Mapping[str, FloatArray], metrics: Mapping[str, Mapping[str, float]]
) -> None:
    """Cache predictions and their metrics.

    The JSON file is written last and contains the digest of the arrays, so that an incomplete write is detected.

    Raises:
        EdgeMsaError: A file cannot be written.
    """
    buffer = io.BytesIO()
    # The keys of conditions are not valid names of files in an archive, so arrays are numbered.
    arrays: dict[str, FloatArray] = {str(n): values for n, values in enumerate(predictions.values())}
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    content = buffer.getvalue()
    write_bytes(folder / PREDICTIONS_NAME, content)
    digest = hashlib.sha256(content).hexdigest()
    record = {"sha256": digest, "conditions": list(predictions), "metrics": metrics}
    save_cached(folder / INFO_NAME, cache_key, record)
