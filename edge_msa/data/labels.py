"""Convert the labels of a file to those of a task, or reject them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import FloatArray
from edge_msa.data.tasks import TASKS, Task
from edge_msa.errors import DataError, UnstatedTaskError, UsageError

_TOLERANCE = 1e-4  # 3.0 can become 3.0000001 when it passes through float32


def resolve_task(requested: Task | None, stated: Task | None, source: str) -> Task:
    """Return the requested task, or else the one that the file format states.

    Raises:
        UnstatedTaskError: Both are None.
    """
    task = requested or stated
    if task is None:
        raise UnstatedTaskError(
            f"{source} does not state what its labels mean. Pass --task, one of: {', '.join(TASKS)}."
        )
    return task


def convert_labels(labels: NDArray[Any] | None, task: Task, split: str, ids: Sequence[str]) -> FloatArray:
    """Return labels (N,) of a score task or (N, E) of an emotion task; all NaN if `labels` is None.

    Raises:
        DataError: A label is not a number, or is outside the task's range. The message names the sample.
        UsageError: The task takes another number of values per sample.
    """
    if labels is None:
        return np.full((len(ids),) if task.is_score else (len(ids), task.outputs), np.nan, np.float32)
    try:
        with np.errstate(over="ignore"):  # values beyond float32 become inf, which is rejected below
            flat: FloatArray = np.asarray(labels, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"The labels of {split} must be numbers ({str(error).splitlines()[0]}).") from None
    if not flat.ndim or len(flat) != len(ids):
        raise DataError(f"The labels of {split} must have {len(ids)} samples, got shape {flat.shape}.")
    flat = flat.reshape(len(ids), -1)
    if flat.shape[1] != task.outputs:
        raise UsageError(
            f"The labels of {split} must have shape (N, {task.outputs}) for the task {task.kind!r}, "
            f"got (N, {flat.shape[1]}). Pass another --task."
        )
    _check_values(flat, task, split, ids)
    return flat[:, 0].copy() if task.is_score else flat


def _check_values(labels: FloatArray, task: Task, split: str, ids: Sequence[str]) -> None:
    _reject(~np.isfinite(labels), labels, "a finite number", "Remove the sample, or label it.", split, ids)
    if not task.is_score:
        expected = "0 (emotion absent) or 1 (present)"
        _reject((labels != 0) & (labels != 1), labels, expected, "Correct the label.", split, ids)
        return
    expected, fix = f"within {task.low} to {task.high} for the task {task.kind!r}", "Does the data need another --task?"
    if task.low is not None:
        _reject(labels < task.low - _TOLERANCE, labels, expected, fix, split, ids)
    if task.high is not None:
        _reject(labels > task.high + _TOLERANCE, labels, expected, fix, split, ids)


def _reject(
    wrong: NDArray[np.bool_], labels: FloatArray, expected: str, fix: str, split: str, ids: Sequence[str]
) -> None:
    """Raise a DataError for the first sample with a wrong label, if there is one."""
    rows = np.flatnonzero(wrong.any(axis=1))
    if rows.size:
        value = labels[rows[0]][wrong[rows[0]]][0]
        raise DataError(f"The label of sample {ids[rows[0]]!r} in {split} must be {expected}, got {value:g}. {fix}")
