"""Labels of the task `classes`: from what a file has to indices of classes.

A file can have text labels, numbers, or one-hot rows (N, K). It can state the names of its classes, or `--task` does.
Names are compared as they are. The order of classes is that of the stated names; classes that only text labels name are
sorted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import FloatArray, SplitName
from edge_msa.data.identifiers import is_missing
from edge_msa.data.tasks import LABELS_HINT, NAMES_HINT, Task, suggest_labels
from edge_msa.errors import DataError, UsageError
from edge_msa_runtime.inputs.frames import RawSplit
from edge_msa_runtime.wording import format_part

_SHOWN = 8


def has_text_labels(splits: Iterable[RawSplit]) -> bool:
    """Return whether most labels are names. Numbers in text are no names, so a wrong cell does not make classes."""
    known = [text for raw in splits for text in _texts(raw.labels) or () if text is not None]
    return 2 * sum(map(is_name, known)) > len(known)


def is_unlabeled(text: str) -> bool:
    """Return whether a text stands for a missing label: it is empty, or `nan` in any case."""
    return not text or text.lower() == "nan"


def is_name(text: str) -> bool:
    """Return whether a label can be the name of a class: it is not missing and not a number."""
    return bool(text) and not _is_number(text)


def format_names(task: Task) -> str:
    """Return the names of the first classes, and how many there are if they are too many for a message."""
    count = f", ... ({task.outputs} classes)" if task.outputs > _SHOWN else ""
    return ", ".join(task.labels[:_SHOWN]) + count


def describe_case(task: Task) -> list[str]:
    """Return a note about names of classes that differ only in case; none if all differ in more."""
    groups: dict[str, list[str]] = {}
    for name in task.labels:
        groups.setdefault(name.casefold(), []).append(name)
    same = [" and ".join(map(repr, names)) for names in groups.values() if len(names) > 1]
    shown = "; ".join(same[:_SHOWN]) + ("; ..." if len(same) > _SHOWN else "")
    return [f"names of classes differ only in case: {shown} (correct the labels if they mean the same)"] if same else []


def describe_absent(task: Task, labels: FloatArray) -> list[str]:
    """Return a note about the classes that no training sample has; none if all occur.

    Args:
        task: The classes.
        labels: Indices of the classes of the training samples, (N,), NaN for unlabeled ones.
    """
    present = set(labels[np.isfinite(labels)].tolist())
    absent = [name for index, name in enumerate(task.labels) if index not in present]
    if not absent or not present:
        return []
    shown = ", ".join(absent[:_SHOWN]) + (", ..." if len(absent) > _SHOWN else "")
    what, pronoun = ("class", "it") if len(absent) == 1 else ("classes", "them")
    return [f"train: no sample has the {what} {shown}, so a model cannot learn {pronoun}"]


def name_classes(splits: Mapping[SplitName, RawSplit], source: object) -> Task:
    """Return the task `classes` with the names that the file states, or else those of its text labels.

    The labels of the training split name the classes; without one, those of all splits.

    Raises:
        UsageError: The file states no names and has no text labels.
        DataError: Some labels are names and others numbers, or the splits state different names.
    """
    stated = dict.fromkeys(tuple(raw.class_names) for raw in splits.values() if raw.class_names)
    if len(stated) > 1:
        first, second, *_ = stated
        raise DataError(
            f"The splits of {source} must name the same classes, got {', '.join(first)} and {', '.join(second)}. "
            f"Pass --task {NAMES_HINT}."
        )
    if stated:
        return Task("classes", next(iter(stated)))
    _refuse_mixed(splits)
    if not has_text_labels(splits.values()):
        raise UsageError(f"{source} {_describe(splits)}.")
    texts = {name: {text for text in _texts(raw.labels) or () if text is not None} for name, raw in splits.items()}
    return Task("classes", tuple(sorted(texts.get("train") or set().union(*texts.values()))))


def index_classes(task: Task, splits: Mapping[SplitName, RawSplit], notes: list[str]) -> dict[SplitName, RawSplit]:
    """Return the splits with indices of classes (N,) as labels, NaN for missing ones. Adds notes on what is assumed.

    Raises:
        DataError: A label is none of the classes. The message names the sample.
        UsageError: The number of classes differs from that of the columns.
    """
    numbered = False
    indexed = {}
    for name, raw in splits.items():
        if raw.labels is None:
            indexed[name] = raw
            continue
        labels, is_numbered = _index(task, raw, name, notes)
        numbered |= is_numbered
        indexed[name] = dataclasses.replace(raw, labels=labels, class_names=())
    if numbered:
        values = task.values or range(task.outputs)
        pairs = ", ".join(f"{value:g} is {label}" for value, label in zip(values, task.labels, strict=True))
        notes.append(f"labels are numbers: {pairs}")
    return indexed


def find_class(text: str, task: Task, *, numbered: bool) -> float | None:
    """Return the index of the class that a cell states, NaN if it is unlabeled; None if it states none.

    Args:
        text: The cell.
        task: The classes.
        numbered: Whether cells state numbers of classes; if not, their names. `has_numbers` tells it from all cells.
    """
    if text in task.text_labels:
        return float(task.text_labels[text])
    if is_unlabeled(text):
        return float("nan")
    values = task.values or tuple(map(float, range(task.outputs)))
    return float(values.index(float(text))) if numbered and _is_number(text) and float(text) in values else None


def has_numbers(texts: Iterable[str], task: Task) -> bool:
    """Return whether all labels are numbers, and some of them are no names of classes."""
    known = {text for text in texts if text in task.text_labels or not is_unlabeled(text)}
    return not known <= task.text_labels.keys() and all(map(_is_number, known))


def _index(task: Task, raw: RawSplit, split: SplitName, notes: list[str]) -> tuple[FloatArray, bool]:
    """Return indices (N,), and whether they are numbers whose names only the task states."""
    texts = _texts(raw.labels, tuple(task.text_labels))
    if texts is not None and not has_numbers(filter(None, texts), task):
        _check_count(len(texts), raw, split)
        return _index_names(texts, task, raw, split), False
    numbers = _numbers(raw.labels, texts, raw, split)
    if numbers.shape[1] > 1:
        return _index_rows(numbers, task, raw, split, notes), False
    if raw.class_names:
        names = [
            None if np.isnan(value) else _stated_name(value, raw, row, split) for row, value in enumerate(numbers[:, 0])
        ]
        return _index_names(names, task, raw, split), False
    values = task.values or tuple(map(float, range(task.outputs)))
    positions = {value: float(index) for index, value in enumerate(values)}
    wrong = [row for row, value in enumerate(numbers[:, 0]) if not np.isnan(value) and value not in positions]
    scores = [row for row in wrong if not float(numbers[row, 0]).is_integer()]
    if scores:
        raise DataError(
            f"The labels of {split} are scores, not classes: the label of sample {raw.ids[scores[0]]!r} is "
            f"{numbers[scores[0], 0]:g}. Pass data with the classes {format_names(task)}."
        )
    if wrong:
        allowed = ", ".join(f"{value:g}" for value in values[:_SHOWN]) + (", ..." if len(values) > _SHOWN else "")
        raise DataError(
            f"The label of sample {raw.ids[wrong[0]]!r} in {split} must be one of the numbers {allowed} "
            f"({format_names(task)}), got {numbers[wrong[0], 0]:g}. State the number of each class: "
            f"--task {LABELS_HINT}"
        )
    return np.array([positions.get(value, np.nan) for value in numbers[:, 0]], np.float32), True


def _index_names(names: Sequence[str | None], task: Task, raw: RawSplit, split: SplitName) -> FloatArray:
    positions = task.text_labels
    for row, name in enumerate(names):
        if name is not None and name not in positions:
            by_lower = {label.lower(): label for label in positions}
            close = get_close_matches(name.lower(), by_lower, n=1)
            hint = f" Did you mean {by_lower[close[0]]!r}?" if close else ""
            option = suggest_labels(task, {other for other in names if other is not None and other not in positions})
            raise DataError(
                f"The label of sample {raw.ids[row]!r} in {split} must be one of {format_names(task)}, got "
                f"{name!r:.60}.{hint} Correct the label, or state the label of each class in the data: --task {option}."
            )
    return np.array([np.nan if name is None else positions[name] for name in names], np.float32)


def _index_rows(rows: NDArray[np.float64], task: Task, raw: RawSplit, split: SplitName, notes: list[str]) -> FloatArray:
    """Return the class of each one-hot row; NaN, with a note, where several classes or none are present."""
    columns = tuple(raw.class_names) or task.labels
    if len(columns) != rows.shape[1]:
        raise UsageError(
            f"The labels of {split} have {rows.shape[1]} columns, but the task has {len(columns)} classes "
            f"({', '.join(columns)}). Pass --task classes: with {rows.shape[1]} names."
        )
    missing = np.isnan(rows).any(axis=1)
    wrong = np.flatnonzero(((rows != 0) & (rows != 1)).any(axis=1) & ~missing)
    if wrong.size:
        value = next(value for value in rows[wrong[0]] if value not in {0, 1})
        raise DataError(
            f"The labels of sample {raw.ids[wrong[0]]!r} in {split} must be 0 or 1 per class, got {value:g}. "
            "Correct the label."
        )
    present = np.where(missing, -1, np.nan_to_num(rows).sum(axis=1))
    for count, what in ((present > 1, "several classes are"), (present == 0, "no class is")):
        if count.any():
            samples = format_part(int(count.sum()), len(rows), "sample", "is", "are")
            notes.append(f"{split}: {samples} unlabeled, because {what} present")
    names = [columns[int(row.argmax())] if count == 1 else None for row, count in zip(rows, present, strict=True)]
    return _index_names(names, task, raw, split)


def _stated_name(value: float, raw: RawSplit, row: int, split: SplitName) -> str:
    if value not in range(len(raw.class_names)):
        raise DataError(
            f"The label of sample {raw.ids[row]!r} in {split} must be 0 to {len(raw.class_names) - 1}, the number of "
            f"one of the classes {', '.join(raw.class_names)}, got {value:g}. Correct the label."
        )
    return raw.class_names[int(value)]


def _numbers(labels: Any, texts: Sequence[str | None] | None, raw: RawSplit, split: SplitName) -> NDArray[np.float64]:
    """Return labels (N, width) as numbers, NaN for missing ones."""
    array = np.asarray(labels)
    if texts is not None:
        array = np.array([np.nan if text is None else float(text) for text in texts]).reshape(array.shape)
    elif array.dtype.kind == "O":
        flat = [np.nan if is_missing(value) else value for value in array.ravel().tolist()]
        array = np.array(flat, object).reshape(array.shape)
    try:
        numbers = np.array(array, np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"The labels of {split} must be text or numbers ({str(error).splitlines()[0]}).") from None
    _check_count(len(np.atleast_1d(numbers)), raw, split)
    return numbers.reshape(len(raw.ids), -1) if numbers.size else np.full((len(raw.ids), 1), np.nan)


def _check_count(count: int, raw: RawSplit, split: SplitName) -> None:
    if count != len(raw.ids):
        raise DataError(f"The labels of {split} must have {len(raw.ids)} samples, got {count}.")


def _texts(labels: Any, names: Sequence[str] = ()) -> list[str | None] | None:
    """Return text labels without blanks around them, None for missing ones; None if labels are no text.

    `nan` is a missing label unless it is one of the stated names.
    """
    if labels is None:
        return None
    array = np.asarray(labels)
    if array.dtype.kind not in "OUS":
        return None
    values = array.ravel().tolist()
    if not any(isinstance(value, (str, bytes)) for value in values):
        return None
    return [None if is_unlabeled(text) and text not in names else text for text in map(_text, values)]


def _text(value: object) -> str:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else "" if is_missing(value) else str(value)
    return text.strip()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _refuse_mixed(splits: Mapping[SplitName, RawSplit]) -> None:
    """Raise a DataError for the first number among names, or the first name among numbers."""
    cells = [
        (split, raw, row, text)
        for split, raw in splits.items()
        for row, text in enumerate(_texts(raw.labels) or ())
        if text is not None
    ]
    names, numbers = ([cell for cell in cells if is_name(cell[3]) is wanted] for wanted in (True, False))
    if not names or not numbers:
        return
    wrong, kind, others = (
        (numbers, "the number ", "names") if len(names) > len(numbers) else (names, "the text ", "numbers")
    )
    split, raw, row, text = wrong[0]
    sample = raw.ids[row] if row < len(raw.ids) else row
    raise DataError(
        f"The label of sample {sample!r} in {split} is {kind}{text!r:.60}, but {'the' if len(wrong) == 1 else 'most'} "
        f"other labels are {others}. Correct the label."
    )


def _describe(splits: Mapping[SplitName, RawSplit]) -> str:
    """Return what labels without names are, and what to pass."""
    hint = f". Pass --task {NAMES_HINT}"
    numbers = [array for raw in splits.values() if (array := _plain_numbers(raw.labels)) is not None]
    known = np.concatenate([np.zeros(0), *(array[np.isfinite(array)] for array in numbers)])
    if not known.size:
        return f"has no labels that name their classes{hint}"
    columns = {array[0].size for array in numbers if array.ndim > 1} - {1}
    if columns:
        return f"has labels for {max(columns)} classes, but does not state their names{hint}"
    if (known != np.round(known)).any():
        return f"has labels from {known.min():g} to {known.max():g}, which are no numbers of classes{hint}"
    distinct = sorted(set(known.tolist()))
    shown = ", ".join(f"{value:g}" for value in distinct[:_SHOWN]) + (", ..." if len(distinct) > _SHOWN else "")
    if distinct != list(range(len(distinct))):
        hint = f". Pass --task {LABELS_HINT}"
    return f"has the labels {shown}, but does not state the names of the classes{hint}"


def _plain_numbers(labels: Any) -> NDArray[np.float64] | None:
    """Return labels as numbers, also those in text, NaN for missing ones; None if there are none."""
    array = np.asarray(labels)
    if labels is None or not array.size or array.dtype.kind not in "fiubOUS":
        return None
    values = _texts(labels) or [None if is_missing(value) else value for value in array.ravel().tolist()]
    try:
        flat = [np.nan if value is None else float(value) for value in values]
    except (TypeError, ValueError):
        return None
    return np.array(flat, np.float64).reshape(array.shape)
