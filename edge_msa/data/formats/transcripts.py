"""Load transcripts: a table of texts, with or without labels. The dataset has texts and no frames.

`edge_msa_runtime.inputs.transcripts` describes the columns. A sample without a label has the label NaN, and a text
model can learn from it only through a teacher.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.assemble import assemble
from edge_msa.data.dataset import Dataset, SplitName
from edge_msa.data.label_columns import choose_label_column, is_text_column
from edge_msa.data.labels import implied_task, resolve_task
from edge_msa.data.options import LoadOptions
from edge_msa.errors import DataError, UnstatedTaskError, UsageError
from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.inputs.frames import RawSplit
from edge_msa_runtime.inputs.sample_ids import parse_position
from edge_msa_runtime.inputs.tables import parse_number
from edge_msa_runtime.inputs.transcripts import Transcripts, parse_transcripts

MELD_FILES: dict[SplitName, str] = {
    "train": "train_sent_emo.csv",
    "valid": "dev_sent_emo.csv",
    "test": "test_sent_emo.csv",
}
"""The tables of MELD by split. They number their dialogues from 0 each."""


def load_transcripts(path: Path, options: LoadOptions) -> Dataset:
    """Return the dataset in a table of transcripts.

    Raises:
        DataError: The file is not a table of transcripts, or a label is invalid. The message names the line.
        UnstatedTaskError: No task was passed, and the labels do not imply one; see `implied_task`.
        UsageError: Several columns may have the classes, or their names are not known.
    """
    tables, notes = parse_transcripts(path)
    hint = ""
    if path.name in MELD_FILES.values():
        others = " and ".join(name for name in MELD_FILES.values() if name != path.name)
        hint = f"{path.name} is one of the three tables of MELD. For its splits, pass the folder with it, {others}"
        notes.append(hint[0].lower() + hint[1:])
    try:
        return _build(path.name.split(".")[0], tables, notes, path, file_sha256(path), options)
    except UsageError as error:
        if not hint or isinstance(error, UnstatedTaskError):
            raise
        raise UsageError(f"{error} {hint}.") from None


def load_meld(folder: Path, options: LoadOptions) -> Dataset:
    """Return the dataset in the tables of MELD: dialogues as videos, in the order of their utterances.

    Raises:
        DataError: A file is missing or is not a table of transcripts, or a label is invalid.
        UsageError: As in `load_transcripts`. Both the emotion and the sentiment are classes.
    """
    missing = [name for name in MELD_FILES.values() if not (folder / name).is_file()]
    if missing:
        raise DataError(f"{folder} must have the tables {', '.join(MELD_FILES.values())}, lacks {', '.join(missing)}.")
    tables: dict[SplitName, Transcripts] = {}
    for split, name in MELD_FILES.items():
        parsed, _ = parse_transcripts(folder / name)
        (table,) = parsed.values()
        groups = tuple(f"{split}-{group}" for group in table.groups)
        ids = tuple(f"{split}-{sample}" for sample in table.ids)
        tables[split] = dataclasses.replace(table, ids=ids, groups=groups)
    digests = "".join(file_sha256(folder / name) for name in MELD_FILES.values())
    return _build(folder.name, tables, [], folder, hashlib.sha256(digests.encode()).hexdigest(), options)


def _build(
    name: str,
    tables: Mapping[SplitName, Transcripts],
    notes: list[str],
    path: Path,
    digest: str,
    options: LoadOptions,
) -> Dataset:
    if options.task is not None and options.task.kind == "emotions" and options.labels:
        raise DataError(f"Transcripts in {path} must have scores or classes, got the task emotions. Omit --task.")
    columns = [table.labels for table in tables.values()]
    cells = {column: [cell for part in columns for cell in part[column]] for column in columns[0]}
    column = choose_label_column(cells, options, path) if options.labels else None
    if column is not None and len(cells) > 1:
        notes.append(f"labels are in the column {column!r}")
    is_classes = column is not None and _has_classes(cells[column], options)
    splits: dict[SplitName, RawSplit] = {
        split: RawSplit(
            table.ids,
            None if column is None else _labels(table, column, path, is_classes=is_classes),
            {},
            groups=table.groups,
            texts=table.texts,
            positions=[parse_position(clip) for clip in table.clips] or None,
        )
        for split, table in tables.items()
    }
    stated = None if is_classes else implied_task(options, path, splits, notes)
    task = resolve_task(options, stated, path, splits)
    return assemble(name, task, splits, options=options, digest=digest, notes=notes)


def _has_classes(cells: Sequence[str], options: LoadOptions) -> bool:
    """Return whether the cells of the column of labels are classes, not scores."""
    return is_text_column(cells) if options.task is None else options.task.kind == "classes"


def _labels(table: Transcripts, column: str, path: Path, *, is_classes: bool) -> NDArray[Any]:
    """Return the cells of classes (N,), or scores (N,) with NaN for empty cells."""
    cells = table.labels[column]
    if is_classes:
        return np.array(cells, object)
    return np.array(
        [
            _parse_score(cell, line, path, decimal_comma=table.decimal_comma)
            for cell, line in zip(cells, table.lines, strict=True)
        ]
    )


def _parse_score(cell: str, line: int, path: Path, *, decimal_comma: bool) -> float:
    if not cell:
        return float("nan")
    try:
        return parse_number(cell, decimal_comma=decimal_comma)
    except ValueError:
        raise DataError(
            f"{path}, line {line}: the score must be a number, got {cell!r}. Without scores, omit the column. For a "
            "classification, pass --task classes."
        ) from None
