"""Parse transcripts: a table of texts in UTF-8, with or without scores.

Columns: the text (`text`, `raw_text`, `transcript` or `sentence`), and optionally the score (`label`, `score`,
`sentiment` or `annotation`), the split (`mode` or `split`), and ids (`video_id` and `clip_id`, or `id`). Without a
split column, all samples are training samples. `start` (in seconds) or else `clip_id` is the order inside a video. A
file whose name ends in .gz is compressed.

Columns are separated by commas, semicolons, tabs or vertical bars: by the one under which the header has a column for
the text. If the header has none of them, the file has one column, whose texts may contain them.
"""

from __future__ import annotations

import csv
import dataclasses
import gzip
import io
import zlib
from typing import TYPE_CHECKING, Mapping, Sequence

from edge_msa_runtime.errors import DataError
from edge_msa_runtime.inputs.split_names import SPLITS, find_split, find_splits, ignored_split_note

if TYPE_CHECKING:
    from pathlib import Path

    from edge_msa_runtime.inputs.split_names import SplitName

_TEXT = ("text", "raw_text", "transcript", "sentence")
_SCORE = ("label", "score", "sentiment", "annotation")
_SPLIT = ("mode", "split")
_VIDEO = ("video_id", "video")
_CLIP = ("clip_id", "clip")
_ID = ("id",)
_START = ("start", "start_time")
_MAX_CELL = 1 << 24
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_NONE = "\x1f"  # a delimiter for files with one column; cannot be in text

Row = Mapping[str, str]
LINE = "\0line"
"""Key under which a row stores the number of its last line. No column can have this name."""


@dataclasses.dataclass(frozen=True)
class Transcripts:
    """The samples of one split.

    Attributes:
        ids: one per sample; may repeat.
        groups: the video of each sample.
        clips: what tells the position in the video: the cells of the start or clip column; empty without one.
        texts: the transcripts, without spaces around them; empty where the cell is empty.
        scores: the cells of the score column; None if the table has no such column.
        lines: the line of each sample in the file.
        decimal_comma: whether a comma in a score is a decimal comma, because it does not separate columns.
    """

    ids: tuple[str, ...]
    groups: tuple[str, ...]
    clips: tuple[str, ...]
    texts: tuple[str, ...]
    scores: tuple[str, ...] | None
    lines: tuple[int, ...]
    decimal_comma: bool


def parse_transcripts(path: Path) -> tuple[dict[SplitName, Transcripts], list[str]]:
    """Return the splits of a table of transcripts, and notes about splits that are ignored.

    Raises:
        DataError: The file is not a table of transcripts. The message names the delimiter, the columns or the line.
    """
    delimiter, columns, rows = _load_table(path)
    split_column = _find_column(columns, _SPLIT)
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
        split: _split(split, [(index, rows[index]) for index in members], columns, decimal_comma=delimiter != ",")
        for split, members in by_split.items()
        if members
    }
    return splits, notes


def _load_table(path: Path) -> tuple[str, tuple[str, ...], list[Row]]:
    """Return the delimiter, the columns and the rows of the table."""
    csv.field_size_limit(_MAX_CELL)
    open_file = gzip.open if path.name.lower().endswith(".gz") else open
    try:
        with open_file(path, "rb") as file:
            content = file.read().decode("utf-8-sig")
        skipped = 1 if content[:4].lower() == "sep=" else 0  # Excel writes `sep=;` in the first line
        lines = io.StringIO(content, newline="")
        for _ in range(skipped):
            lines.readline()
        start = lines.tell()
        delimiter, columns = _read_header(lines.readline(), path)
        repeated = next((name for name in columns if name and columns.count(name) > 1), None)
        if repeated is not None:
            raise DataError(f"{path} must have columns of different names, got {repeated!r} twice.")
        lines.seek(start)
        table = csv.DictReader(lines, restval="", delimiter=delimiter)
        _ = table.fieldnames  # reads the header
        table.fieldnames = list(columns)
        rows: list[Row] = []
        for row in table:
            line = table.line_num + skipped
            extra = row.pop(None, None)
            if extra:
                raise DataError(
                    f"{path}, line {line}: a row must have {len(columns)} columns separated by "
                    f"{_DELIMITERS.get(delimiter, delimiter)}, as the header has, got {len(columns) + len(extra)}. "
                    f"Quote texts that contain the delimiter."
                )
            if any(row.values()):
                rows.append({LINE: str(line), **row})
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error) as error:
        raise DataError(f"Cannot read {path} as transcripts ({error}). Pass a CSV file in UTF-8.") from None
    if not rows:
        raise DataError(f"{path} must have at least one transcript, got only the header.")
    return delimiter, columns, rows


def _read_header(line: str, path: Path) -> tuple[str, tuple[str, ...]]:
    """Return the delimiter and the columns of a header, in lower case."""
    by_delimiter = {delimiter: _parse_header(line, delimiter) for delimiter in (*_DELIMITERS, _NONE)}
    fitting = {delimiter: names for delimiter, names in by_delimiter.items() if _find_column(names, _TEXT)}
    if fitting:
        # A header of one column is the same under every delimiter, so none of them separates columns.
        return max(fitting.items(), key=lambda item: (len(item[1]), item[0] == _NONE))
    delimiter, names = max(by_delimiter.items(), key=lambda item: len(item[1]))
    separated = f" (separated by {_DELIMITERS[delimiter]})" if len(names) > 1 else ""
    raise DataError(f"{path} must have a column 'text', got {', '.join(names[:8]) or 'nothing'}{separated}.")


def _parse_header(line: str, delimiter: str) -> tuple[str, ...]:
    names = next(csv.reader([line], delimiter=delimiter), [])
    return tuple(name.strip().lower() for name in names)


def _find_column(columns: Sequence[str], names: Sequence[str]) -> str | None:
    return next((name for name in names if name in columns), None)


def _split(
    name: SplitName, members: Sequence[tuple[int, Row]], columns: Sequence[str], *, decimal_comma: bool
) -> Transcripts:
    text, score = _find_column(columns, _TEXT) or "", _find_column(columns, _SCORE)
    video, clip, identifier = _find_column(columns, _VIDEO), _find_column(columns, _CLIP), _find_column(columns, _ID)
    order = _find_column(columns, _START) or clip
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
        tuple(row[score].strip() for _, row in members) if score else None,
        tuple(int(row[LINE]) for _, row in members),
        decimal_comma,
    )
