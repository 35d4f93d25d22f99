"""Transcripts: a CSV of what was said, with scores or without; a dataset that has words and no frames.

Columns, by their usual names: the words (`text`, `raw_text`, `transcript`, `sentence`), and where there are any, the
score (`label`, `score`, `sentiment`, `annotation`), the split (`mode`, `split`: train, valid, test), and ids
(`video_id` and `clip_id`, or `id`). Without a split all samples are for training; without a score they have none (NaN)
and can be learned from through a teacher alone. A name that ends in .gz is compressed.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from edge_msa.data.dataset import SPLITS, Dataset, Split, SplitName
from edge_msa.data.labels import settle_labels
from edge_msa.data.tasks import MOSI, Task
from edge_msa.errors import DataError
from edge_msa_runtime.bundle.hashing import file_sha256

_TEXT = ("text", "raw_text", "transcript", "sentence")
_SCORE = ("label", "score", "sentiment", "annotation")
_SPLIT = ("mode", "split")
_VIDEO = ("video_id", "video")
_CLIP = ("clip_id", "clip")
_ID = ("id",)
_SPLIT_WORDS: Mapping[str, SplitName] = {
    "train": "train",
    "training": "train",
    "": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "dev": "valid",
    "test": "test",
}
_LONGEST_CELL = 1 << 24

Row = Mapping[str, str]
LINE = "\0line"
"""Where a row keeps the number of its last line; no column can be called so."""


def read_transcripts(path: Path, task: Task | None) -> Dataset:
    """The dataset of a table of transcripts; scores are -3 to 3 unless a task says otherwise.

    Raises:
        DataError: it is no such table, or a score or a split cannot be used; the message names the line.
    """
    columns, rows = _table(path)
    chosen = task or MOSI
    if not chosen.is_score:
        raise DataError(f"{path} is a table of transcripts: it has scores, not {chosen.kind}; leave --task out")
    by_split: dict[SplitName, list[int]] = {name: [] for name in SPLITS}
    split_column = _named(columns, _SPLIT)
    for index, row in enumerate(rows):
        by_split[_split_of(row[split_column] if split_column else "", path, row)].append(index)
    text = _named(columns, _TEXT) or ""
    score = _named(columns, _SCORE)
    splits: dict[SplitName, Split] = {}
    for name, members in by_split.items():
        if members:
            splits[name] = _split(
                name, [(index, rows[index]) for index in members], columns, (text, score), chosen, path
            )
    return Dataset(path.name.split(".")[0], chosen, splits, file_sha256(path))


def _table(path: Path) -> tuple[tuple[str, ...], list[Row]]:
    csv.field_size_limit(_LONGEST_CELL)
    opened = gzip.open if path.name.lower().endswith(".gz") else open
    try:
        with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            columns = tuple((name or "").strip().lower() for name in reader.fieldnames or ())
            reader.fieldnames = list(columns)
            rows: list[Row] = [
                {LINE: str(reader.line_num)} | {str(key): str(cell) for key, cell in row.items()}
                for row in reader
                if any(row.values())
            ]
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error) as error:
        raise DataError(f"{path} cannot be read as a table of transcripts ({error}): give a CSV in UTF-8") from None
    if _named(columns, _TEXT) is None:
        have = ", ".join(columns[:8]) or "nothing"
        raise DataError(f"{path} has the columns {have}: a table of transcripts has its words under 'text'")
    if not rows:
        raise DataError(f"{path} holds no transcript: its first line is followed by nothing")
    return columns, rows


def _named(columns: Sequence[str], names: Sequence[str]) -> str | None:
    return next((name for name in names if name in columns), None)


def _split_of(word: str, path: Path, row: Row) -> SplitName:
    found = _SPLIT_WORDS.get(word.strip().lower())
    if found is None:
        raise DataError(f"{path}, line {row[LINE]}: the split is {word!r}; it is one of train, valid, test")
    return found


def _split(
    name: SplitName,
    members: Sequence[tuple[int, Row]],
    columns: Sequence[str],
    named: tuple[str, str | None],
    task: Task,
    path: Path,
) -> Split:
    text, score = named
    video, clip, own = _named(columns, _VIDEO), _named(columns, _CLIP), _named(columns, _ID)
    groups = [row[video] if video else f"{name}-{index}" for index, row in members]
    if own:
        ids = [row[own] for _, row in members]
    elif video and clip:
        ids = [f"{row[video]}[{row[clip]}]" for _, row in members]
    else:
        ids = [f"{name}-{index}" for index, _ in members]
    values = None if score is None else np.array([_score(row[score], path, row) for _, row in members])
    labels = settle_labels(values, task, name, ids)
    return Split(tuple(ids), tuple(groups), labels, {}, tuple(row[text].strip() for _, row in members))


def _score(cell: str, path: Path, row: Row) -> float:
    try:
        return float(cell)
    except ValueError:
        raise DataError(
            f"{path}, line {row[LINE]}: the score is {cell!r}; it must be a number, or leave the whole column out"
        ) from None
