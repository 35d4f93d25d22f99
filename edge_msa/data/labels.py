"""Labels as a file has them, made to fit the task or refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import FloatArray
from edge_msa.data.tasks import TASKS, Task
from edge_msa.errors import DataError, UnstatedTaskError, UsageError

_SLACK = 1e-4  # 3.0000001 is 3 after a round through float32


def settle_task(given: Task | None, stated: Task | None, source: str) -> Task:
    """The task that was asked for, otherwise the one that the format states.

    Raises:
        UnstatedTaskError: neither is known.
    """
    task = given or stated
    if task is None:
        raise UnstatedTaskError(f"{source} does not say what its labels mean: give --task, one of: {', '.join(TASKS)}")
    return task


def settle_labels(labels: NDArray[Any] | None, task: Task, split: str, ids: Sequence[str]) -> FloatArray:
    """Labels (N,) of a score task or (N, E) of an emotion task; NaN throughout where the file has none.

    Raises:
        DataError: a label is not a number, or outside the task's range; the message has the sample's id.
        UsageError: there are more or fewer numbers a sample than the task takes.
    """
    if labels is None:
        return np.full((len(ids),) if task.is_score else (len(ids), task.outputs), np.nan, np.float32)
    try:
        with np.errstate(over="ignore"):  # beyond float32 is inf, and inf is refused below
            flat: FloatArray = np.asarray(labels, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"labels of {split} are not numbers ({str(error).splitlines()[0]})") from None
    if not flat.ndim or len(flat) != len(ids):
        raise DataError(f"labels of {split} have shape {flat.shape}, there are {len(ids)} samples")
    flat = flat.reshape(len(ids), -1)
    if flat.shape[1] != task.outputs:
        raise UsageError(
            f"labels of {split} are {flat.shape[1]} numbers a sample, task {task.kind!r} takes {task.outputs}: "
            "give another --task"
        )
    _check_values(flat, task, split, ids)
    return flat[:, 0].copy() if task.is_score else flat


def _check_values(labels: FloatArray, task: Task, split: str, ids: Sequence[str]) -> None:
    _refuse(~np.isfinite(labels), labels, "must be a finite number: remove the sample, or label it", split, ids)
    if not task.is_score:
        _refuse((labels != 0) & (labels != 1), labels, "must be 0 or 1, an emotion absent or present", split, ids)
        return
    remedy = f"must be within {task.low} to {task.high} under task {task.kind!r}: is another --task meant?"
    if task.low is not None:
        _refuse(labels < task.low - _SLACK, labels, remedy, split, ids)
    if task.high is not None:
        _refuse(labels > task.high + _SLACK, labels, remedy, split, ids)


def _refuse(wrong: NDArray[np.bool_], labels: FloatArray, remedy: str, split: str, ids: Sequence[str]) -> None:
    rows = np.flatnonzero(wrong.any(axis=1))
    if rows.size:
        value = labels[rows[0]][wrong[rows[0]]][0]
        raise DataError(f"the label of sample {ids[rows[0]]!r} in {split} is {value:g}; it {remedy}")
