"""Read a table of labels: the segments of audio and video files of which a dataset consists.

Each line is a segment: a whole file, or with `start` and `end` (in seconds) a part of one. Other columns, all optional:
the label, the words (`text`), the recording (`video`), the speaker, the split, and the position inside the recording.
The tables of MMSA's corpora work too: `video_id` and `clip_id` name the file `video_id/clip_id.mp4`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from edge_msa.data.classes import find_class, format_names, has_numbers
from edge_msa.data.dataset import SPLITS, SplitName
from edge_msa.data.label_columns import choose_label_column, is_text_column
from edge_msa.data.labels import convert_labels, implied_task, resolve_task
from edge_msa.data.options import LoadOptions
from edge_msa.data.tasks import CLASSES, Task
from edge_msa.errors import DataError, UnstatedTaskError, UsageError
from edge_msa_runtime.inputs.frames import RawSplit
from edge_msa_runtime.inputs.media import is_media
from edge_msa_runtime.inputs.sample_ids import parse_position, position_from_id
from edge_msa_runtime.inputs.split_names import find_split
from edge_msa_runtime.inputs.tables import LINE, Row, Table, check_spelling, load_table, parse_number
from edge_msa_runtime.inputs.transcripts import CLIP, LABELS, SCORE, SPLIT, START, TEXT, VIDEO
from edge_msa_runtime.wording import format_count, format_part

FILE = ("file",)
END = ("end", "end_time")
SPEAKER = ("speaker", "speaker_id")
POSITION = ("position", *CLIP)
_COLUMNS = (FILE, ("video", "video_id"), CLIP, START, END, SCORE, TEXT, SPEAKER, ("split", "mode"), POSITION)
_MOSI_LIMIT = 3.75
"""Scores beyond this do not fit the task mosi."""
_SIMILAR = 0.75
"""Similarity of the names of two files, without their suffixes, from which on one of them is suggested."""
_SHOWN_ERRORS = 8
_SHOWN_FILES = 5
_IGNORED = ("label_t", "label_a", "label_v", "annotation", "id")
"""Columns of the tables of MMSA's corpora that are not used."""


@dataclass(frozen=True)
class Segment:
    """One sample: a whole file, or a part of one."""

    id: str
    """Unique name: the file, and `[start:end]` for a part of it."""
    file: str
    """Path of the file inside the folder, with slashes."""
    line: int
    """Its line in the table."""
    start: float = 0.0
    """Where it starts in the file, in seconds."""
    end: float | None = None
    """Where it ends; None for the end of the file."""
    label: tuple[float, ...] = ()
    """The score, the index of the class, or a value for each emotion. NaN for an unlabeled sample; nothing in a table
    without labels."""
    text: str = ""
    """The words, or nothing if the table does not state them."""
    video: str = ""
    """The recording that it is from."""
    speaker: str = ""
    """Who speaks, or nothing if the table does not say."""
    split: SplitName = "train"
    """Its split."""
    position: float = math.nan
    """Its start or number inside the recording; NaN if that is not known."""


@dataclass(frozen=True)
class LabelTable:
    """A table of labels without errors."""

    segments: tuple[Segment, ...]
    """In the order of the table."""
    task: Task
    """What the labels mean."""
    has_splits: bool
    """Whether the table states splits. If not, all segments are in `train`."""
    unnamed: tuple[str, ...]
    """Audio and video files in the folder that the table does not name."""
    notes: tuple[str, ...] = ()
    """What was assumed."""

    @property
    def is_labeled(self) -> bool:
        """Whether at least one segment has a label."""
        return any(not math.isnan(value) for segment in self.segments for value in segment.label)


class ErrorList:
    """The errors of a table. All of them are reported together."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._errors: list[tuple[int, str]] = []

    def add(self, line: int, message: str) -> None:
        """Add an error; the message has no full stop at its end."""
        self._errors.append((line, message))

    def __len__(self) -> int:
        return len(self._errors)

    def check(self, fix: str = "Correct the table.") -> None:
        """Raise all errors as one.

        Raises:
            DataError: There are some. The message has the line of each.
        """
        if not self._errors:
            return
        errors = sorted(self._errors)
        if len(errors) == 1:
            raise DataError(f"{self._path}, line {errors[0][0]}: {errors[0][1]}. {fix}")
        shown = "; ".join(f"line {line}: {message}" for line, message in errors[:_SHOWN_ERRORS])
        rest = ", ".join(str(line) for line, _ in errors[_SHOWN_ERRORS:])
        raise DataError(
            f"{self._path} has {len(errors)} errors. {shown[0].upper()}{shown[1:]}"
            f"{f'; other errors are in the lines {rest}' if rest else ''}. {fix}"
        )


def read_labels(path: Path, folder: Path, options: LoadOptions, *, ignored: Iterable[Path] = ()) -> LabelTable:
    """Return the segments in a table of labels. No file is opened.

    Args:
        path: The table.
        folder: The folder with the files that the table names.
        options: What the labels mean.
        ignored: Files in the folder that are something else, such as transcripts.

    Raises:
        DataError: The table has errors: a file that does not exist, a label that is no number or outside the range of
            the task, an end before the start, an unknown split, or the same segment twice. The message has all lines.
        UnstatedTaskError: No task was passed, and the scores do not imply one.
    """
    table = load_table(path, (*FILE, *VIDEO), "label")
    errors = ErrorList(path)
    emotions = [(name,) for name in _emotions(options)]
    check_spelling(table.columns, (*_COLUMNS, *emotions), path)
    files = list_media(folder)
    resolver = FileResolver(table, folder, files, path)
    names, classes = _label_columns(table, options, path)
    numbered = classes is not None and has_numbers((row[names[0]].strip() for row in table.rows), classes)
    segments: list[Segment] = []
    seen: dict[tuple[str, float, float | None], int] = {}
    has_splits = table.find(SPLIT) is not None
    for row in table.rows:
        segment = _read_segment(row, table, resolver, names, classes, errors, numbered=numbered)
        if segment is None:
            continue
        first = seen.setdefault((segment.file, segment.start, segment.end), segment.line)
        if first != segment.line:
            errors.add(segment.line, f"{segment.id} is in line {first} already")
        segments.append(segment)
    errors.check()
    notes = _describe_columns(table, [*names, *(name for group in _COLUMNS for name in group)], path)
    labels = np.array([segment.label for segment in segments], np.float64) if names else None
    try:
        task = classes or _find_task(options, path, labels, notes)
    except UnstatedTaskError as error:
        raise UnstatedTaskError(f"{error}{_describe_beyond(segments)}", unlabeled=error.unlabeled) from None
    if labels is not None and options.labels:
        for segment in segments if classes is None else ():
            _check_label(segment, task, options, errors)
        errors.check()
        notes += _describe_unlabeled(segments, names, path)
    elif options.labels:
        wanted = _emotions(options) or SCORE[:1]
        notes.append(f"no segment has a label, because {path.name} has no column {', '.join(map(repr, wanted))}")
    named = {segment.file for segment in segments}
    other = {os.path.relpath(item, folder).replace(os.sep, "/") for item in (path, *ignored)}
    unnamed = tuple(name for name in files if name not in named and name not in other)
    return LabelTable(tuple(segments), task, has_splits, unnamed, tuple(notes))


def list_media(folder: Path) -> tuple[str, ...]:
    """Return the audio and video files in a folder and its subfolders: their paths inside it, sorted.

    Raises:
        UsageError: It is no folder, or cannot be read.
    """
    if not folder.is_dir():
        raise UsageError(f"FOLDER must be a folder with audio or video files, got {folder}.")
    try:
        folder.iterdir()
    except OSError as error:
        raise UsageError(f"Cannot read the folder {folder} ({error.strerror or error}).") from None
    found = []
    for current, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        inside = os.path.relpath(current, folder).replace(os.sep, "/")
        found += [f"{inside}/{name}".removeprefix("./") for name in names if is_media(name) and name[0] != "."]
    return tuple(sorted(found))


def describe_unnamed(unnamed: Sequence[str], table: Path) -> str:
    """Return a note about files that the table does not name."""
    shown = ", ".join(unnamed[:_SHOWN_FILES])
    rest = len(unnamed) - _SHOWN_FILES
    are = "is" if len(unnamed) == 1 else "are"
    return f"{format_count(len(unnamed), 'file')} {are} not in {table.name}: {shown}{f' and {rest} more' * (rest > 0)}"


class FileResolver:
    """Finds the file that a line of a table names."""

    def __init__(self, table: Table, folder: Path, files: Sequence[str], path: Path) -> None:
        """Prepare the names.

        Args:
            table: The table.
            folder: The folder with the files.
            files: The audio and video files in it.
            path: The table, for messages.

        Raises:
            DataError: The table has no columns that name files.
        """
        self._folder, self._files = folder, files
        self._file, self._video, self._clip = table.find(FILE), table.find(VIDEO), table.find(CLIP)
        if not self._file and not (self._video and self._clip):
            raise DataError(
                f"{path} must have a column 'file' with the path of each file inside {folder}, or the columns "
                f"'video_id' and 'clip_id', got {', '.join(table.columns[:8])}."
            )
        self._by_stem: dict[str, str] = {}
        for name in files:
            self._by_stem.setdefault(str(PurePosixPath(name).with_suffix("")), name)

    def find(self, row: Row) -> tuple[str, str]:
        """Return the file of a line, and what is wrong with it, or nothing."""
        if self._file:
            name = row[self._file].strip()
            if not name:
                return "", "the file is missing"
        else:
            stem = f"{row[self._video or ''].strip()}/{row[self._clip or ''].strip()}"
            if stem in self._by_stem:
                return self._by_stem[stem], ""
            name = f"{stem}.mp4"
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts or "\0" in name:
            return "", f"the file must be inside {self._folder}, got {name!r}"
        name = str(pure)
        if not (self._folder / name).is_file():
            by_stem = {str(PurePosixPath(item).with_suffix("")).lower(): item for item in self._files}
            close = get_close_matches(str(PurePosixPath(name).with_suffix("")).lower(), by_stem, n=1, cutoff=_SIMILAR)
            hint = f" (did you mean {by_stem[close[0]]}?)" if close else ""
            return "", f"{self._folder / name} does not exist{hint}"
        return name, ""


def read_times(row: Row, table: Table) -> tuple[float, float | None, str]:
    """Return start and end that a line states, and what is wrong with them, or nothing."""
    values: list[float | None] = []
    for names in (START, END):
        column = table.find(names)
        cell = row[column].strip() if column else ""
        if not cell:
            values.append(None)
            continue
        try:
            value = parse_number(cell, decimal_comma=table.decimal_comma)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value >= 0):
            return 0.0, None, f"{names[0]} must be a time in seconds, 0 or later, got {cell!r}"
        values.append(value)
    start, end = values[0] or 0.0, values[1]
    if end is not None and end <= start:
        return 0.0, None, f"end must be after start ({start:g} s), got {end:g} s"
    return start, end, ""


def format_time(seconds: float | None) -> str:
    """Return a time for a name: without zeros at the end, and nothing for None."""
    return "" if seconds is None else f"{seconds:.3f}".rstrip("0").rstrip(".")


def _cell(row: Row, table: Table, names: Sequence[str]) -> str:
    column = table.find(names)
    return row[column].strip() if column else ""


def _emotions(options: LoadOptions) -> tuple[str, ...]:
    """Return the emotions of the requested task; nothing for another one."""
    return options.task.labels if options.task is not None and options.task.kind == "emotions" else ()


def _label_columns(table: Table, options: LoadOptions, path: Path) -> tuple[tuple[str, ...], Task | None]:
    """Return the columns of the label, nothing for a table without labels; and the task if the labels are classes."""
    if emotions := _emotions(options):
        present = [name for name in emotions if name in table.columns]
        if present and len(present) < len(emotions):
            missing = ", ".join(name for name in emotions if name not in present)
            raise DataError(f"{path} must have a column for each emotion with the task emotions, lacks {missing}.")
        return tuple(present), None
    cells = {name: [row[name].strip() for row in table.rows] for name in LABELS if name in table.columns}
    column = choose_label_column(cells, options, path) if options.labels else table.find(SCORE)
    if column is None:
        return (), None
    if options.task is None and is_text_column(cells[column]):
        options = LoadOptions(CLASSES, options.clip_labels)
    if options.task is None or options.task.kind != "classes" or not options.labels:
        return (column,), None
    return (column,), _name_classes(table, column, options, path)


def _name_classes(table: Table, column: str, options: LoadOptions, path: Path) -> Task:
    """Return the task with the names of classes: those that were passed, or those in the lines of the train split."""
    by_split: dict[SplitName, dict[str, str]] = {}
    split_column = table.find(SPLIT)
    for row in table.rows:
        split = find_split(row[split_column]) if split_column else find_split("train")
        if split is not None:
            by_split.setdefault(split, {})[f"line {row[LINE]}"] = row[column].strip()
    splits = {
        name: RawSplit(list(cells), np.array(list(cells.values()), object), {}) for name, cells in by_split.items()
    }
    return resolve_task(options, None, path, splits)


def _read_segment(
    row: Row,
    table: Table,
    resolver: FileResolver,
    names: Sequence[str],
    classes: Task | None,
    errors: ErrorList,
    *,
    numbered: bool,
) -> Segment | None:
    line = int(row[LINE])
    file, problem = resolver.find(row)
    start, end, wrong = read_times(row, table)
    problems = [problem, wrong]
    label = []
    for name in names:
        cell = row[name].strip()
        if classes is not None:
            index = find_class(cell, classes, numbered=numbered)
            if index is None:
                problems.append(f"{name} must be one of {format_names(classes)}, got {cell!r:.60}")
            label.append(math.nan if index is None else index)
            continue
        try:
            label.append(parse_number(cell, decimal_comma=table.decimal_comma) if cell else math.nan)
        except ValueError:
            problems.append(f"{name} must be a number, got {cell!r}")
    split, column = find_split("train"), table.find(SPLIT)
    if column:
        split = find_split(row[column])
        if split is None:
            problems.append(f"{column} must be one of {', '.join(SPLITS)}, got {row[column].strip()!r}")
    for message in filter(None, problems):
        errors.add(line, message)
    if any(problems) or split is None:
        return None
    is_part = start > 0 or end is not None
    stem = str(PurePosixPath(file).with_suffix(""))
    video = _cell(row, table, VIDEO) or stem
    stated = _cell(row, table, POSITION)
    position = parse_position(stated) if stated else start if is_part else position_from_id(stem, video)
    return Segment(
        id=f"{file}[{format_time(start)}:{format_time(end)}]" if is_part else file,
        file=file,
        line=line,
        start=start,
        end=end,
        label=tuple(label),
        text=_cell(row, table, TEXT),
        video=video,
        speaker=_cell(row, table, SPEAKER),
        split=split,
        position=position,
    )


def _describe_columns(table: Table, known: Sequence[str], path: Path) -> list[str]:
    """Return a note about the columns that are not used."""
    other = [name for name in table.columns if name and name not in known and name not in _IGNORED]
    if not other:
        return []
    are = "column is" if len(other) == 1 else "columns are"
    rest = f" and {len(other) - _SHOWN_FILES} more" if len(other) > _SHOWN_FILES else ""
    return [f"{len(other)} {are} not used in {path.name}: {', '.join(other[:_SHOWN_FILES])}{rest}"]


def _describe_beyond(segments: Sequence[Segment]) -> str:
    """Return a sentence about the first score that is far outside the scale of the task mosi, or nothing."""
    for segment in segments:
        if len(segment.label) == 1 and abs(segment.label[0]) > _MOSI_LIMIT:
            return f" The first score beyond -3 to 3 is {segment.label[0]:g} in line {segment.line}."
    return ""


def _describe_unlabeled(segments: Sequence[Segment], names: Sequence[str], path: Path) -> list[str]:
    """Return a note about the segments without a label."""
    found = [segment for segment in segments if any(math.isnan(value) for value in segment.label)]
    if not found:
        return []
    columns = f"the column{'s' * (len(names) > 1)} {', '.join(map(repr, names))} of {path.name}"
    if len(found) == len(segments):
        return [f"no segment has a label: {columns} {'is' if len(names) == 1 else 'are'} empty or nan"]
    first = f"{'it is' if len(found) == 1 else 'the first is'} {found[0].id} in line {found[0].line}"
    return [f"{format_part(len(found), len(segments), 'segment', 'has', 'have')} no label: {first}"]


def _find_task(options: LoadOptions, path: Path, labels: Any, notes: list[str]) -> Task:
    ids = [""] * (0 if labels is None else len(labels))
    splits: Mapping[Any, RawSplit] = {"train": RawSplit(ids, labels, {})}
    if labels is None or np.isnan(labels).all():
        options = LoadOptions(options.task, options.clip_labels, labels=False)
    return resolve_task(options, implied_task(options, path, splits, notes), path, splits)


def _check_label(segment: Segment, task: Task, options: LoadOptions, errors: ErrorList) -> None:
    label = np.array([segment.label])
    try:
        convert_labels(label, task, segment.split, [segment.id], clip=options.clip_labels)
    except DataError as error:
        errors.add(segment.line, str(error).rstrip(".?"))
