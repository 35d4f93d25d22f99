"""Load transcripts: a CSV file of texts, with or without scores. The dataset has texts and no frames.

Columns: the text (`text`, `raw_text`, `transcript` or `sentence`), and optionally the score (`label`, `score`,
`sentiment` or `annotation`), the split (`mode` or `split`: train, valid, test), and ids (`video_id` and `clip_id`, or
`id`). Without a split column, all samples are training samples. Without a score column, labels are NaN, and a text
model can learn from the samples only through a teacher. A file whose name ends in .gz is compressed.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from edge_msa.data.dataset import SPLITS, Dataset, Split, SplitName
from edge_msa.data.labels import convert_labels
from edge_msa.data.tasks import MOSI, Task
from edge_msa.errors import DataError
from edge_msa_runtime.bundle.hashing import file_sha256

_TEXT = ("text", "raw_text", "transcript", "sentence")
_SCORE = ("label", "score", "sentiment", "annotation")
_SPLIT = ("mode", "split")
_VIDEO = ("video_id", "video")
_CLIP = ("clip_id", "clip")
_ID = ("id",)
_SPLIT_NAMES: Mapping[str, SplitName] = {
    "train": "train",
    "training": "train",
    "": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "dev": "valid",
    "test": "test",
}
_MAX_CELL = 1 << 24

Row = Mapping[str, str]
LINE = "\0line"
"""Key under which a row stores the number of its last line. No column can have this name."""


def load_transcripts(path: Path, task: Task | None) -> Dataset:
    """Return the dataset in a CSV file of transcripts. If `task` is None, scores are -3 to 3.

    Raises:
        DataError: The file is not a table of transcripts, or a score or a split is invalid. The message names the line.
    """
    columns, rows = _load_table(path)
    task = task or MOSI
    if not task.is_score:
        raise DataError(f"Transcripts in {path} must have scores, got the task {task.kind}. Omit --task.")
    by_split: dict[SplitName, list[int]] = {name: [] for name in SPLITS}
    split_column = _find_column(columns, _SPLIT)
    for index, row in enumerate(rows):
        by_split[_parse_split(row[split_column] if split_column else "", path, row)].append(index)
    text = _find_column(columns, _TEXT) or ""
    score = _find_column(columns, _SCORE)
    splits: dict[SplitName, Split] = {}
    for name, members in by_split.items():
        if members:
            splits[name] = _split(name, [(index, rows[index]) for index in members], columns, (text, score), task, path)
    return Dataset(path.name.split(".")[0], task, splits, file_sha256(path))


def _load_table(path: Path) -> tuple[tuple[str, ...], list[Row]]:
    csv.field_size_limit(_MAX_CELL)
    open_file = gzip.open if path.name.lower().endswith(".gz") else open
    try:
        with open_file(path, "rt", encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file, restval="")
            columns = tuple((name or "").strip().lower() for name in table.fieldnames or ())
            table.fieldnames = list(columns)
            rows: list[Row] = [
                {LINE: str(table.line_num)} | {str(key): str(cell) for key, cell in row.items()}
                for row in table
                if any(row.values())
            ]
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error) as error:
        raise DataError(f"Cannot read {path} as transcripts ({error}). Pass a CSV file in UTF-8.") from None
    if _find_column(columns, _TEXT) is None:
        names = ", ".join(columns[:8]) or "nothing"
        raise DataError(f"{path} must have a column 'text', got {names}.")
    if not rows:
        raise DataError(f"{path} must have at least one transcript, got only the header.")
    return columns, rows


def _find_column(columns: Sequence[str], names: Sequence[str]) -> str | None:
    return next((name for name in names if name in columns), None)


def _parse_split(name: str, path: Path, row: Row) -> SplitName:
    split = _SPLIT_NAMES.get(name.strip().lower())
    if split is None:
        raise DataError(f"{path}, line {row[LINE]}: the split must be train, valid or test, got {name!r}.")
    return split


def _split(
    name: SplitName,
    members: Sequence[tuple[int, Row]],
    columns: Sequence[str],
    text_and_score: tuple[str, str | None],
    task: Task,
    path: Path,
) -> Split:
    text, score = text_and_score
    video, clip, identifier = _find_column(columns, _VIDEO), _find_column(columns, _CLIP), _find_column(columns, _ID)
    groups = [row[video] if video else f"{name}-{index}" for index, row in members]
    if identifier:
        ids = [row[identifier] for _, row in members]
    elif video and clip:
        ids = [f"{row[video]}[{row[clip]}]" for _, row in members]
    else:
        ids = [f"{name}-{index}" for index, _ in members]
    values = None if score is None else np.array([_parse_score(row[score], path, row) for _, row in members])
    labels = convert_labels(values, task, name, ids)
    return Split(tuple(ids), tuple(groups), labels, {}, tuple(row[text].strip() for _, row in members))


def _parse_score(cell: str, path: Path, row: Row) -> float:
    try:
        return float(cell)
    except ValueError:
        raise DataError(
            f"{path}, line {row[LINE]}: the score must be a number, got {cell!r}. Without scores, omit the column."
        ) from None
