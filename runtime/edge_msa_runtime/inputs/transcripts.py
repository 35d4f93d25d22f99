"""Parse transcripts: a table of texts in UTF-8, with or without labels.

Columns: the text (`text`, `raw_text`, `transcript`, `sentence` or `utterance`), and optionally the label (`label`,
`score`, `sentiment`, `annotation`, `emotion` or `class`), the split (`mode` or `split`), and ids (`video_id` and
`clip_id`, or `id`; in tables of MELD `dialogue_id` and `utterance_id`). Without a split column, all samples are
training samples. `start` (in seconds) or else `clip_id` is the order inside a video.

`edge_msa_runtime.inputs.tables` describes the delimiters.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Mapping, Sequence

from edge_msa_runtime.errors import DataError
from edge_msa_runtime.inputs.split_names import SPLITS, find_split, find_splits, ignored_split_note
from edge_msa_runtime.inputs.tables import LINE, check_spelling, find_column, load_table

if TYPE_CHECKING:
    from pathlib import Path

    from edge_msa_runtime.inputs.split_names import SplitName
    from edge_msa_runtime.inputs.tables import Row

TEXT = ("text", "raw_text", "transcript", "sentence", "utterance")
SCORE = ("label", "score", "sentiment", "annotation")
LABELS = (*SCORE, "emotion", "class")
SPLIT = ("mode", "split")
VIDEO = ("video_id", "video", "dialogue_id")
CLIP = ("clip_id", "clip", "utterance_id")
ID = ("id",)
START = ("start", "start_time")


@dataclasses.dataclass(frozen=True)
class Transcripts:
    """The samples of one split.

    Attributes:
        ids: one per sample; may repeat.
        groups: the video of each sample.
        clips: what tells the position in the video: the cells of the start or clip column; empty without one.
        texts: the transcripts, without spaces around them; empty where the cell is empty.
        labels: the cells of each column of labels, in the order of `LABELS`.
        lines: the line of each sample in the file.
        decimal_comma: whether a comma in a number is a decimal comma, because it does not separate columns.
    """

    ids: tuple[str, ...]
    groups: tuple[str, ...]
    clips: tuple[str, ...]
    texts: tuple[str, ...]
    labels: Mapping[str, tuple[str, ...]]
    lines: tuple[int, ...]
    decimal_comma: bool


def parse_transcripts(path: Path) -> tuple[dict[SplitName, Transcripts], list[str]]:
    """Return the splits of a table of transcripts, and notes about splits that are ignored.

    Raises:
        DataError: The file is not a table of transcripts. The message names the delimiter, the columns or the line.
    """
    table = load_table(path, TEXT, "transcript")
    check_spelling(table.columns, (SCORE, ("split", "mode"), VIDEO, CLIP, START), path)
    rows, split_column = table.rows, table.find(SPLIT)
    keys = [row[split_column].strip() if split_column else "" for row in rows]
    names = find_splits(dict.fromkeys(key.lower() for key in keys if key), path)
    notes = [ignored_split_note(key, sum(key == other.lower() for other in keys)) for key in names.unknown]
    used = set(names.known.values())
    by_split: dict[SplitName, list[int]] = {split: [] for split in SPLITS}
    for index, key in enumerate(keys):
        split = find_split(key or "train")
        if split is not None and (not key or key.lower() in used):
            by_split[split].append(index)
    if not any(by_split.values()):
        raise DataError(
            f"The column {split_column!r} of {path} must name the splits {', '.join(SPLITS)}, "
            f"got {', '.join(map(repr, names.unknown[:8]))}."
        )
    splits = {
        split: _split(
            split, [(index, rows[index]) for index in members], table.columns, decimal_comma=table.decimal_comma
        )
        for split, members in by_split.items()
        if members
    }
    return splits, notes


def _split(
    name: SplitName, members: Sequence[tuple[int, Row]], columns: Sequence[str], *, decimal_comma: bool
) -> Transcripts:
    text = find_column(columns, TEXT) or ""
    video, clip, identifier = find_column(columns, VIDEO), find_column(columns, CLIP), find_column(columns, ID)
    order = find_column(columns, START) or clip
    numbered = [f"{name}-{index}" for index, _ in members]
    if identifier:
        ids = [row[identifier] for _, row in members]
    elif video and clip:
        ids = [f"{row[video]}[{row[clip]}]" for _, row in members]
    else:
        ids = numbered
    return Transcripts(
        tuple(stated or number for stated, number in zip(ids, numbered)),
        tuple(row[video] or number for (_, row), number in zip(members, numbered)) if video else tuple(numbered),
        tuple(row[order].strip() for _, row in members) if order else (),
        tuple(row[text].strip() for _, row in members),
        {column: tuple(row[column].strip() for _, row in members) for column in LABELS if column in columns},
        tuple(int(row[LINE]) for _, row in members),
        decimal_comma,
    )
