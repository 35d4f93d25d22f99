"""Convert the labels of a file to those of a task, or reject them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_msa.data.classes import has_text_labels, name_classes
from edge_msa.data.dataset import FloatArray
from edge_msa.data.identifiers import is_missing
from edge_msa.data.options import LoadOptions
from edge_msa.data.tasks import CLASSES, MOSI, NO_TASK, SIMS, TASKS, Task
from edge_msa.errors import DataError, UnstatedTaskError, UsageError
from edge_msa_runtime.inputs.frames import RawSplit
from edge_msa_runtime.wording import format_part

_ROUNDING = 1e-6  # 3.0 can become 3.0000002 when it passes through float32
_MARGIN = 0.25
"""Labels may exceed the scale by this part of its half width: MOSEI has a label of 3.667 on a scale from -3 to 3."""


def resolve_task(
    options: LoadOptions,
    stated: Task | None,
    source: object,
    splits: Mapping[Any, RawSplit],
    *,
    layout_notes: list[str] | None = None,
) -> Task:
    """Return the requested task, or else the one that the file states. Text labels and names of classes state classes.

    Args:
        options: What the caller wants.
        stated: What the file states; None if it states nothing.
        source: Name of the file, for the message.
        splits: The splits of the file.
        layout_notes: Passed if only the layout of the file implies the task. Gets a note if the scores are unusual for
            it.

    Raises:
        UnstatedTaskError: Both are None.
        UsageError: The task `classes` was passed without names, and the file does not state them.
    """
    if options.task is not None:
        return name_classes(splits, source) if options.task == CLASSES and options.labels else options.task
    if stated is not None and not stated.is_score:
        return stated
    if options.labels and _states_classes(splits):
        return name_classes(splits, source)
    if stated is not None:
        if layout_notes is not None and stated == MOSI and options.labels:
            layout_notes += _layout_notes(_known_scores(splits, source))
        return stated
    if not options.labels:
        return NO_TASK
    unlabeled = all(raw.labels is None or _missing(np.asarray(raw.labels)).all() for raw in splits.values())
    reason = "has no labels, so its task is unknown" if unlabeled else "does not state what its labels mean"
    raise UnstatedTaskError(f"{source} {reason}. Pass --task, one of: {', '.join(TASKS)}.", unlabeled=unlabeled)


def _states_classes(splits: Mapping[Any, RawSplit]) -> bool:
    return has_text_labels(splits.values()) or any(
        raw.class_names and raw.labels is not None and np.asarray(raw.labels).dtype.kind in "iufb"
        for raw in splits.values()
    )


def _layout_notes(scores: FloatArray) -> list[str]:
    """Return a note if the scores of a file with the layout of MOSI would also fit the task sims."""
    if not scores.size or np.abs(scores).max() > 1:
        return []
    note = (
        f"all scores are {scores.min():g} to {scores.max():g}, which would also fit the task sims, but the file has "
        "the layout of MOSI: pass --task if they mean something else"
    )
    return [note]


def implied_task(options: LoadOptions, source: object, splits: Mapping[Any, RawSplit], notes: list[str]) -> Task | None:
    """Return the task mosi if the scores of a file fit it and no other scale; None without scores.

    Scores from -3 to 3 could also be those of a plain regression, so a note says what is assumed.

    Raises:
        UnstatedTaskError: The scores fit no known scale, or several.
    """
    scores = _known_scores(splits, source) if options.task is None and options.labels else np.zeros(0, np.float32)
    if not scores.size:
        return None
    low, high = float(scores.min()), float(scores.max())
    fits_mosi, fits_sims = (_excess(scores, task).max() <= _limit(task) for task in (MOSI, SIMS))
    if fits_mosi and not fits_sims and low < 0 < high:
        notes.append(f"scores are {low:g} to {high:g}: the task is mosi (pass --task if they mean something else)")
        return MOSI
    fitting = "mosi, sims or regression" if fits_sims else "mosi or regression" if fits_mosi else "regression"
    raise UnstatedTaskError(
        f"{source} does not state what its scores mean, and {low:g} to {high:g} fits the task {fitting}. "
        f"Pass --task, one of: {', '.join(TASKS)}."
    )


def _known_scores(splits: Mapping[Any, RawSplit], source: object) -> FloatArray:
    known = [
        _to_float(raw.labels, f"The labels of {source}").ravel() for raw in splits.values() if raw.labels is not None
    ]
    scores: FloatArray = np.concatenate([np.zeros(0, np.float32), *known])
    return scores[np.isfinite(scores)]


def convert_labels(
    labels: NDArray[Any] | None,
    task: Task,
    split: str,
    ids: Sequence[str],
    *,
    clip: bool | None = None,
) -> tuple[FloatArray, list[str]]:
    """Return labels (N,) of scores or classes, or (N, E) of emotions, and notes; NaN for samples without a label.

    Args:
        labels: The labels of the file, or of `index_classes` for classes; None if it has none. None, NaN and empty text
            stand for a missing label.
        task: What the labels mean.
        split: Name of the split, for messages.
        ids: Names of the samples, for messages.
        clip: Whether labels slightly beyond the scale are set to its nearest end; None: for the tasks mosi and sims.

    Raises:
        DataError: A label is not a number, or is far outside the task's range. The message names the sample.
        UsageError: The task takes another number of values per sample.
    """
    shape = (len(ids), *task.label_shape)
    width = math.prod(task.label_shape)
    if labels is None:
        return np.full(shape, np.nan, np.float32), []
    flat = _to_float(labels, f"The labels of {split}")
    if not flat.ndim or len(flat) != len(ids):
        raise DataError(f"The labels of {split} must have {len(ids)} samples, got shape {flat.shape}.")
    flat = flat.reshape(len(ids), -1) if flat.size else np.full((len(ids), width), np.nan, np.float32)
    missing = np.isnan(flat).any(axis=1)
    if missing.all() and len(ids):
        return convert_labels(None, task, split, ids)
    if flat.shape[1] != width:
        raise UsageError(
            f"The labels of {split} must have shape (N, {width}) for the task {task.kind!r}, "
            f"got (N, {flat.shape[1]}). Pass another --task."
        )
    _check_values(flat, task, split, ids)
    flat, notes = _clip(flat, task, split, ids, clip=task.kind in {"mosi", "sims"} if clip is None else clip)
    if missing.any():
        flat[missing] = np.nan
        notes.append(unlabeled_note(split, int(missing.sum()), len(ids)))
    return flat.reshape(shape), notes


def one_hot(task: Task, classes: FloatArray) -> FloatArray:
    """Return indices of classes (N,) as (N, K) with a 1 at the class of each sample; NaN for samples without one."""
    rows = np.eye(task.outputs, dtype=np.float32)[np.nan_to_num(classes).astype(np.int64)]
    return np.where(np.isnan(classes)[:, None], np.float32(np.nan), rows)


def class_shares(labels: ArrayLike, task: Task) -> FloatArray:
    """Return the share of the samples of each class, (K,). A class that does not occur counts as half a sample.

    Args:
        labels: Indices of classes, (N,), without NaN.
        task: A task of the kind `classes`.
    """
    indices = np.asarray(labels, np.float32).astype(np.int64)
    counts = np.bincount(indices, minlength=task.outputs)
    return (np.maximum(counts, 0.5) / len(indices)).astype(np.float32)


def unlabeled_note(split: str, count: int, total: int) -> str:
    """Return the note about samples without a label."""
    return f"{split}: {format_part(count, total, 'sample', 'has', 'have')} no label"


def _missing(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which values stand for a missing label: None, NaN and empty text."""
    if labels.dtype.kind in "fc":
        missing: NDArray[np.bool_] = np.isnan(labels)
        return missing
    if labels.dtype.kind not in "OUS":
        return np.zeros(labels.shape, np.bool_)
    unknown = [is_missing(value) for value in labels.ravel().tolist()]
    return np.array(unknown, np.bool_).reshape(labels.shape)


def _to_float(labels: NDArray[Any], where: object) -> FloatArray:
    """Return labels as float32, NaN for missing ones."""
    array = np.asarray(labels)
    if np.iscomplexobj(array):
        raise DataError(f"{where} must be real numbers, got complex numbers.")
    if array.dtype.kind in "OUS":
        array = np.where(_missing(array), np.nan, array.astype(object))
    try:
        with np.errstate(over="ignore"):  # values beyond float32 become inf, which is rejected later
            return np.array(array, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where} must be numbers ({str(error).splitlines()[0]}).") from None


def _limit(task: Task) -> float:
    """Return how far a label may be beyond the scale."""
    low, high = task.low, task.high
    return _ROUNDING if low is None or high is None else _MARGIN * (high - low) / 2 + _ROUNDING


def _excess(labels: FloatArray, task: Task) -> FloatArray:
    """Return how far each label is beyond the task's scale; 0 within it, and for a missing label."""
    low = -np.inf if task.low is None else task.low
    high = np.inf if task.high is None else task.high
    excess: FloatArray = np.nan_to_num(np.maximum(np.maximum(low - labels, labels - high), 0), nan=0.0)
    return excess


def _check_values(labels: FloatArray, task: Task, split: str, ids: Sequence[str]) -> None:
    _reject(np.isinf(labels), labels, "a finite number", "Remove the sample, or label it.", split, ids)
    if task.kind == "classes":
        return  # `index_classes` has checked them
    if not task.is_score:
        expected = "0 (emotion absent) or 1 (present)"
        _reject((labels != 0) & (labels != 1) & ~np.isnan(labels), labels, expected, "Correct the label.", split, ids)
        return
    expected, fix = (
        f"within {_bound(task.low)} to {_bound(task.high)} for the task {task.kind!r}",
        "Does the data need another --task?",
    )
    _reject(_excess(labels, task) > _limit(task), labels, expected, fix, split, ids)


def _bound(value: float | None) -> str:
    return "any number" if value is None else str(value)


def _clip(
    labels: FloatArray, task: Task, split: str, ids: Sequence[str], *, clip: bool
) -> tuple[FloatArray, list[str]]:
    """Return the labels with those beyond the scale set to its nearest end, and a note about them."""
    if task.low is None or task.high is None:
        return labels, []
    excess = _excess(labels, task)
    beyond = excess > _ROUNDING
    if not beyond.any():
        return (np.clip(labels, task.low, task.high) if clip else labels), []
    row = int(excess.max(axis=1).argmax())
    count = int(beyond.any(axis=1).sum())
    what = (
        f"{split}: {format_part(count, len(ids), 'label', 'is', 'are')} beyond {task.low:g} to {task.high:g}, the "
        f"most extreme is {labels[row, 0]:.6g} ({ids[row]})"
    )
    if not clip:
        return labels, [f"{what}; kept as stated"]
    return np.clip(labels, task.low, task.high), [f"{what}; clipped (data convert --no-clip-labels keeps them)"]


def _reject(
    wrong: NDArray[np.bool_], labels: FloatArray, expected: str, fix: str, split: str, ids: Sequence[str]
) -> None:
    """Raise a DataError for the first sample with a wrong label, if there is one."""
    rows = np.flatnonzero(wrong.any(axis=1))
    if rows.size:
        value = labels[rows[0]][wrong[rows[0]]][0]
        raise DataError(f"The label of sample {ids[rows[0]]!r} in {split} must be {expected}, got {value:g}. {fix}")
