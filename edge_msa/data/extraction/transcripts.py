"""Read the words of audio and video files from a table: of whole files, or of pieces with times.

Columns: the file as in the table of labels, `text`, and optionally `start` and `end` in seconds. Pieces may be words,
sentences or subtitles. A segment gets the pieces whose middle is inside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from edge_msa.data.extraction.table import (
    END,
    FILE,
    ErrorList,
    FileResolver,
    LabelTable,
    Segment,
    list_media,
    read_times,
)
from edge_msa.errors import DataError
from edge_msa_runtime.inputs.tables import LINE, check_spelling, load_table
from edge_msa_runtime.inputs.transcripts import START, TEXT, VIDEO
from edge_msa_runtime.wording import format_count, format_part


class Piece(NamedTuple):
    """Words of a file, with times if they are known."""

    text: str
    line: int
    start: float | None
    end: float | None

    def is_in(self, segment: Segment) -> bool:
        """Return whether a segment has these words."""
        if self.start is None:
            return True
        middle = self.start if self.end is None else (self.start + self.end) / 2
        return segment.start <= middle and (segment.end is None or middle < segment.end)


def add_transcripts(table: LabelTable, path: Path, folder: Path) -> LabelTable:
    """Return a table of labels with the words of a table of transcripts. Segments without any keep their own words.

    Args:
        table: The table of labels.
        path: The table of transcripts.
        folder: The folder with the files.

    Raises:
        DataError: The table of transcripts has errors, or states no times for a file of which the table of labels has
            parts. The message has all lines.
    """
    pieces, other, total = _read_pieces(path, folder, {segment.file for segment in table.segments})
    errors = ErrorList(path)
    untimed: dict[str, int] = {
        name: items[0].line for name, items in pieces.items() if any(item.start is None for item in items)
    }
    for segment in table.segments:
        is_part = segment.start > 0 or segment.end is not None
        if is_part and segment.file in untimed:
            errors.add(
                untimed.pop(segment.file),
                f"start and end must be stated for {segment.file}, because the table of labels has parts of it",
            )
    errors.check("Add the times.")
    notes = []
    if other:
        are = "is" if other == 1 else "are"
        lines = format_count(total, "line")
        notes = [f"{other} of {lines} of {path.name} {are} for files that the table of labels does not name"]
    segments = tuple(_with_text(item, pieces.get(item.file, ())) for item in table.segments)
    used = [new for old, new in zip(table.segments, segments, strict=True) if old.text and old.text != new.text]
    if used:
        count = format_part(len(used), len(segments), "segment", "has", "have")
        notes.append(f"{count} other words in {path.name} than in the column `text`, which are not used: {_list(used)}")
    return replace(table, segments=segments, notes=(*table.notes, *notes))


def _read_pieces(path: Path, folder: Path, used: set[str]) -> tuple[dict[str, list[Piece]], int, int]:
    """Return the pieces of each file, the number of lines for other files, and that of all lines."""
    table = load_table(path, (*FILE, *VIDEO), "transcript")
    text_column = table.find(TEXT)
    if text_column is None:
        raise DataError(f"{path} must have a column 'text' with the words, got {', '.join(table.columns[:8])}.")
    check_spelling(table.columns, (START, END), path)
    resolver, errors = FileResolver(table, folder, list_media(folder), path), ErrorList(path)
    start_column = table.find(START)
    pieces: dict[str, list[Piece]] = {}
    other = 0
    for row in table.rows:
        line, (file, problem), (start, end, wrong) = int(row[LINE]), resolver.find(row), read_times(row, table)
        if wrong:
            errors.add(line, wrong)
        if problem or file not in used:  # it need not exist
            other += 1
            continue
        is_timed = end is not None or bool(start_column and row[start_column].strip())
        pieces.setdefault(file, []).append(
            Piece(row[text_column].strip(), line, start if is_timed else None, end if is_timed else None)
        )
    errors.check()
    for items in pieces.values():
        items.sort(key=lambda piece: (piece.start or 0.0, piece.line))
    return pieces, other, len(table.rows)


def _with_text(segment: Segment, pieces: Sequence[Piece]) -> Segment:
    words = " ".join(piece.text for piece in pieces if piece.text and piece.is_in(segment))
    return replace(segment, text=words) if words else segment


def _list(segments: Sequence[Segment]) -> str:
    rest = f" and {len(segments) - 1} more" if len(segments) > 1 else ""
    return f"{segments[0].id}{rest}"
