"""`edge-msa features extract`: compute the frames and words of audio and video files."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_msa.arguments import AnyPath, check_choice, check_count, check_seed, describe_value, path_of
from edge_msa.artifacts.dry_run import is_dry_run, report_lookup
from edge_msa.artifacts.durations import record_seconds
from edge_msa.artifacts.locks import exclusive
from edge_msa.artifacts.requests import Request, check_may_replace, check_may_replace_file
from edge_msa.artifacts.segment_store import ResultStore, StoredRequest
from edge_msa.console import (
    activity,
    format_size,
    keep_progress,
    print_detail,
    print_notes,
    print_output,
    print_progress,
    print_result,
    print_up_to_date,
    report_progress,
    total_size,
)
from edge_msa.data.dataset import Dataset
from edge_msa.data.extraction.drawing import draw_segment_splits
from edge_msa.data.extraction.scheduling import Workers, open_workers
from edge_msa.data.extraction.segment_dataset import Sample, build_segment_dataset
from edge_msa.data.extraction.segment_job import (
    FACTS,
    TRUNCATED,
    FileState,
    Job,
    Outcome,
    SegmentResult,
    compute_segment,
    hash_file,
    open_tools,
)
from edge_msa.data.extraction.settings import MODALITIES, Recipe, Settings, digest_file, find_versions
from edge_msa.data.extraction.table import LabelTable, Segment, describe_unnamed, read_labels
from edge_msa.data.extraction.transcripts import add_transcripts
from edge_msa.data.formats.archive import check_archive_path, write_archive
from edge_msa.data.inspect import inspect_dataset
from edge_msa.data.options import LoadOptions
from edge_msa.data.tasks import parse_task
from edge_msa.errors import BackendUnavailableError, DataError, UsageError
from edge_msa.result_tables import Cell, Row, Table
from edge_msa.workflows.api import OnProgress, api, next_step
from edge_msa.workflows.data import next_command
from edge_msa.workflows.outputs import output_file
from edge_msa_runtime.errors import PackageImportError
from edge_msa_runtime.vision.front_end import check_face
from edge_msa_runtime.wording import format_count, format_part

_SHOWN = 5
_EMPTY = "without a valid frame"
_WITHOUT = {"kaldi-native-fbank": "vision", "kaldi_native_fbank": "vision", "ai_edge_litert": "audio"}
"""What can still be computed without a package."""
_MAX_WORKERS = 1024


@dataclass(frozen=True)
class FailedSegment:
    """A segment that is not in the archive."""

    id: str
    """The file, and `[start:end]` for a part of it."""
    line: int
    """Its line in the table of labels."""
    reason: str
    """Why it cannot be used."""


@dataclass(frozen=True, repr=False)
class Extraction(Table):
    """What `extract_features` has written: the path of an archive, and what became of each segment.

    It is a path-like object, so you can pass it wherever the path of a feature file is expected.
    """

    path: Path
    """The archive."""
    segments: tuple[Row, ...]
    """One row per segment of the archive, as in `rows`."""
    failed: tuple[FailedSegment, ...]
    """The segments that are not in the archive."""
    unnamed: tuple[str, ...]
    """Audio and video files in the folder that the table does not name."""
    reused: int
    """Number of results that were kept from an earlier run."""

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        """Return the numbers of samples."""
        return f"<Extraction of {len(self.segments)} samples, {len(self.failed)} failed, {self.path}>"

    def __str__(self) -> str:
        """Return what became of the segments, and those that failed with their reasons."""
        lines = [self._summary(), *self._facts()]
        if self.failed:
            lines.append(f"{format_part(len(self.failed), self.total, 'segment', 'is', 'are')} not in the archive:")
            lines += [f"  line {item.line}, {item.id}: {item.reason}" for item in self.failed]
        return "\n".join(lines)

    @property
    def rows(self) -> tuple[Row, ...]:
        """One row per segment of the archive.

        It has the id, line, split, length in seconds, number of frames and of valid frames of each modality, number of
        words, whether they were recognized, and what is special about the segment.
        """
        return self.segments

    @property
    def total(self) -> int:
        """Number of segments in the table."""
        return len(self.segments) + len(self.failed)

    @property
    def facts(self) -> dict[str, int]:
        """Number of segments by what is special about them, such as `no face`."""
        return {name: len(ids) for name, ids in self._ids_by_fact().items()}

    @property
    def counts(self) -> dict[str, int]:
        """Number of samples that have each modality."""
        return {
            "language": sum(bool(row["words"]) for row in self.segments),
            **{name: sum(bool(row.get(f"{name}_valid")) for row in self.segments) for name in MODALITIES},
        }

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "output": str(self.path),
            "segments": self.total,
            "samples": len(self.segments),
            "splits": self._splits(),
            "modalities": self.counts,
            "facts": self.facts,
            "failed": [dataclasses.asdict(item) for item in self.failed],
            "unnamed_files": list(self.unnamed),
            "reused": self.reused,
        }

    def _summary(self) -> str:
        splits = ", ".join(f"{name} {count}" for name, count in self._splits().items())
        frames = ", ".join(f"{name} {count}" for name, count in self.counts.items() if name != "language")
        with_frames = f"; with texts {self.counts['language']}; with frames of {frames}"
        return f"{format_count(len(self.segments), 'sample')}: {splits}{with_frames}"

    def _splits(self) -> dict[str, int]:
        names = [str(row["split"]) for row in self.segments]
        return {name: names.count(name) for name in ("train", "valid", "test") if name in names}

    def _facts(self) -> list[str]:
        lines = []
        empty = [str(row["id"]) for row in self.segments if not any(row.get(f"{name}_valid") for name in MODALITIES)]
        for name, ids in [*self._ids_by_fact().items(), *([("", empty)] if empty else [])]:
            rest = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
            lines.append(
                f"{format_count(len(ids), 'sample')} {FACTS.get(name, _EMPTY)}: {', '.join(ids[:_SHOWN])}{rest}"
            )
        return lines

    def _ids_by_fact(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for row in self.segments:
            for name in str(row["facts"]).split(", "):
                if name:
                    found.setdefault(name, []).append(str(row["id"]))
        return {name: found[name] for name in FACTS if name in found}


@api
def extract_features(
    folder: AnyPath,
    *,
    labels: AnyPath,
    output: AnyPath,
    transcripts: AnyPath | None = None,
    asr: str | None = None,
    language: str = "en",
    modalities: Sequence[str] = MODALITIES,
    face_model: AnyPath | None = None,
    face: str | tuple[float, float] = "largest",
    picture_rate: float = 15.0,
    max_seconds: float = 60.0,
    draw_splits: bool = False,
    seed: int = 0,
    task: str | None = None,
    clip_labels: bool | None = None,
    workers: int = 1,
    scheduler: str | None = None,
    overwrite: bool = False,
    verbose: bool = False,
    on_progress: OnProgress | None = None,
) -> Extraction:
    """Compute the features of audio and video files, and write them to this project's archive.

    Results are kept in a hidden folder beside the output. An interrupted call resumes there, and a later call computes
    only what has changed. The archive is the same byte for byte in every case. Files that cannot be decoded do not stop
    the call: they are in `failed`.

    Args:
        folder: Folder with the files.
        labels: Table with a line per segment. Columns: `file`, or `video_id` and `clip_id`; and optionally `start` and
            `end` in seconds, `label`, `text`, `video`, `speaker`, `split`, `position`.
        output: Archive to write; its name ends in `.npz`.
        transcripts: Table with the words: `file`, `text`, and optionally `start` and `end` (default: those in
            `labels`).
        asr: What recognizes the words of segments without words: `"whisper:FOLDER"`, or `"whisper:NAME"` for a model
            that is in the cache of the Hugging Face Hub already (default: they have none).
        language: The language that `asr` hears.
        modalities: Modalities to compute: `"audio"`, `"vision"` or both.
        face_model: MediaPipe's Face Landmarker (default: `face_landmarker.task` in the cache folder).
        face: Which face of a picture: the `"largest"` one, or the one nearest to a point (x, y), in shares of the width
            and the height of the picture.
        picture_rate: Pictures per second that are used.
        max_seconds: Longer segments end there.
        draw_splits: Whether to draw the splits valid and test, where missing, from the training lines: 15 % of the
            videos for each. Neither a video nor a speaker is in two of them.
        seed: Seed of the draw.
        task: What the labels mean (default: `"mosi"` if the scores fit nothing else).
        clip_labels: As in `inspect_data`. The archive keeps the choice.
        workers: Number of processes.
        scheduler: Address of a dask scheduler, whose workers are used instead. They must see the same files.
        overwrite: Whether to replace an archive of another request.
        verbose: Whether to print progress and notes.
        on_progress: Called after each file that was read, and after each segment.

    Returns:
        The archive and what became of each segment.

    Raises:
        UsageError: An argument is invalid, or the output exists and was requested with something else.
        DataError: The table has errors, or no segment can be used. All errors of the table are found before the first
            file is decoded.
        BackendUnavailableError: A package or a model is not installed.

    Examples:
        >>> extraction = em.extract_features("videos", labels="labels.csv", output="clips.npz", draw_splits=True)
        >>> extraction.failed
        ()
    """
    source, table_path = path_of(folder, "folder"), path_of(labels, "labels")
    words = None if transcripts is None else path_of(transcripts, "transcripts")
    archive = output_file(output, "output", [source, table_path, words, face_model], replaceable="*.npz")
    check_archive_path(archive)
    check_seed(seed)
    settings = _settings(modalities, face_model, face, picture_rate, max_seconds, asr, language)
    check_count(workers, "workers", most=_MAX_WORKERS)
    if scheduler is not None and workers > 1:
        raise UsageError("--workers and --scheduler exclude each other. Pass one of them.")
    options = LoadOptions(parse_task(task), clip_labels)
    table = _read_table(source, table_path, words, options, seed if draw_splits else None)
    recipe = _recipe(settings)
    request = Request(
        "features extract",
        {"folder": str(source.resolve()), **_requested(recipe, options, table), "draw_splits": draw_splits},
        seed if draw_splits else 0,
        {"labels": digest_file(table_path), **({"transcripts": digest_file(words)} if words else {})},
    )
    started = time.monotonic()
    with contextlib.nullcontext() if is_dry_run() else exclusive(archive):
        store = ResultStore(archive)
        existing = store.request()
        if archive.exists():
            _check_existing(archive, existing, request)
        run = _Run(source, table, recipe, store, recognize=asr is not None)
        print_notes(table.notes)
        if table.unnamed:
            print_notes([describe_unnamed(table.unnamed, table_path)])
        with activity("Starting"), open_workers(workers, scheduler) as processes:
            run.hash_files(processes)
            state = run.state()
            is_current = archive.exists() and existing is not None and existing.is_current(request, state, archive)
            report_lookup(archive, request, is_current=is_current, resumes=is_dry_run() and run.has_results())
            if is_current:
                print_up_to_date(archive)
                return run.result(archive)
            run.compute(processes)
        extraction = _write(run, table, archive, options, request)
    record_seconds(archive, request.command, request.recipe, time.monotonic() - started)
    return extraction


def _settings(
    modalities: Sequence[str],
    face_model: AnyPath | None,
    face: str | tuple[float, float],
    picture_rate: float,
    max_seconds: float,
    asr: str | None,
    language: str,
) -> Settings:
    """Return the settings after checking the arguments."""
    names = [modalities] if isinstance(modalities, str) else list(modalities)
    for name in names:
        check_choice(name, "modalities", MODALITIES)
    if not names:
        raise UsageError("modalities must be audio, vision or both, got nothing.")
    for name, value in (("picture-rate", picture_rate), ("max-seconds", max_seconds)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise UsageError(f"--{name} must be a number above 0, got {describe_value(value)}.")
    chosen = tuple(name for name in MODALITIES if name in names)
    point = check_face(face)
    model = None if face_model is None else path_of(face_model, "face_model").absolute()
    return Settings(
        chosen,
        None if model is None or "vision" not in chosen else str(model),
        float(picture_rate),
        point if "vision" in chosen else None,
        asr,
        language,
        float(max_seconds),
        find_versions(chosen, asr),
    )


def _recipe(settings: Settings) -> Recipe:
    """Open the front ends once, to find errors early and to learn what they compute."""
    with activity("Opening the front ends"):
        try:
            tools = open_tools(settings)
        except PackageImportError as error:
            other = _WITHOUT.get(error.culprit)
            hint = f", or pass --modalities {other}" if other in settings.modalities else ""
            raise BackendUnavailableError(f"{error}{hint}") from None
    features = {name: front_end.source for name, front_end in tools.front_ends.items()}
    return Recipe(settings, features, "" if tools.recognizer is None else tools.recognizer.version)


def _requested(recipe: Recipe, options: LoadOptions, table: LabelTable) -> dict[str, Any]:
    """Return what the archive is requested with. Versions of code and packages are no part of it."""
    stated = recipe.to_json()
    for name in ("versions", "features", "face_model"):
        del stated[name]
    models = {name: getattr(source, "model_sha256", "") for name, source in recipe.features.items()}
    return {**stated, "models": models, "task": table.task.option, "clip_labels": options.clip_labels}


def _read_table(
    folder: Path, path: Path, transcripts: Path | None, options: LoadOptions, seed: int | None
) -> LabelTable:
    """Return the segments with their words and splits.

    Args:
        folder: The folder.
        path: The table of labels.
        transcripts: The table of words.
        options: What the labels mean.
        seed: Seed of the draw of the splits; None to draw nothing.
    """
    if not path.is_file():
        raise UsageError(f"--labels must be a table (CSV), got {path}, which does not exist.")
    if transcripts is not None and not transcripts.is_file():
        raise UsageError(f"--transcripts must be a table (CSV), got {transcripts}, which does not exist.")
    table = read_labels(path, folder, options, ignored=[] if transcripts is None else [transcripts])
    if transcripts is not None:
        table = add_transcripts(table, transcripts, folder)
    if seed is not None:
        return draw_segment_splits(table, path, seed)
    if table.is_labeled and not table.has_splits:
        raise UsageError(
            f"{path} has labels, but no column `split`. Pass --draw-splits to draw 15 % of the videos for validation "
            "and 15 % for test, or add the column, with train, valid or test in every line."
        )
    return table


def _check_existing(archive: Path, existing: StoredRequest | None, request: Request) -> None:
    """Check that the archive may be replaced, before slow work."""
    if existing is None or digest_file(archive) != existing.archive:
        check_may_replace_file(archive)
    elif existing.request.list_differences(request):
        check_may_replace(archive, existing.request, request)


class _Run:
    """The segments of one call, with their results."""

    def __init__(self, folder: Path, table: LabelTable, recipe: Recipe, store: ResultStore, *, recognize: bool) -> None:
        self._folder, self._table, self.recipe, self.store = folder, table, recipe, store
        self._recognize = recognize
        self._states: dict[str, FileState] = {}
        self._reasons: dict[str, str] = {}
        """Why a file cannot be read, or the result of a key cannot be computed."""
        self.reused = 0

    def hash_files(self, workers: Workers) -> None:
        """Read all files once, to know their content."""
        names = list(dict.fromkeys(segment.file for segment in self._table.segments))
        calls = [(str((self._folder / name).absolute()), name) for name in names]
        for index, outcome in _with_progress(workers.run(hash_file, calls), len(calls), "file", "read", self._failures):
            if outcome.reason:
                self._reasons[names[index]] = outcome.reason
            else:
                self._states[names[index]] = outcome.value

    def key(self, segment: Segment) -> str | None:
        """Return the key of a segment's result; None if its file cannot be read."""
        state = self._states.get(segment.file)
        if state is None:
            return None
        return self.recipe.key(state.content, segment.start, segment.end, recognize=self._recognizes(segment))

    def state(self) -> str:
        """Return the SHA-256 of the keys of all segments, in order."""
        keys = [[segment.id, self.key(segment)] for segment in self._table.segments]
        return hashlib.sha256(json.dumps(keys).encode()).hexdigest()

    def has_results(self) -> bool:
        """Return whether a result that is needed is kept already."""
        keys = (self.key(segment) for segment in self._table.segments)
        return any(key is not None and self.store.load(key) is not None for key in keys)

    def compute(self, workers: Workers) -> None:
        """Compute and keep the results that are not kept yet."""
        jobs: dict[str, Job] = {}
        for segment in self._table.segments:
            key = self.key(segment)
            if key is not None and key not in jobs:
                jobs[key] = self._job(segment)
        missing = [key for key in jobs if self.store.load(key) is None]
        self.reused = len(jobs) - len(missing)
        if self.reused:
            print_progress(f"{self.reused} of {format_count(len(jobs), 'result')} kept from an earlier run.")
        keep_progress(self.store.folder)
        calls = [(jobs[key],) for key in missing]
        outcomes = _with_progress(
            workers.run(compute_segment, calls), len(calls), "segment", "computed", self._failures
        )
        for index, outcome in outcomes:
            if outcome.reason:
                self._reasons[missing[index]] = outcome.reason
            else:
                self.store.save(missing[index], outcome.value)

    def failed(self) -> tuple[FailedSegment, ...]:
        """Return the segments without a result."""
        reasons = [(segment, self._reasons.get(self.key(segment) or segment.file)) for segment in self._table.segments]
        return tuple(FailedSegment(segment.id, segment.line, reason) for segment, reason in reasons if reason)

    def samples(self) -> list[Sample]:
        """Return the segments with results, in the order of the table.

        Raises:
            DataError: A result was removed or damaged while the command was running.
        """
        samples = []
        for segment in self._table.segments:
            key = self.key(segment)
            if key is None or key in self._reasons:
                continue
            result = self.store.load(key)
            if result is None:
                raise DataError(f"The result of {segment.id} in {self.store.folder} is gone. Run the command again.")
            text = segment.text or (result.text or "").strip()
            samples.append((dataclasses.replace(segment, text=text), result))
        return samples

    def prune(self) -> None:
        """Remove kept results that no segment has."""
        self.store.prune({key for segment in self._table.segments if (key := self.key(segment))})

    def result(self, archive: Path) -> Extraction:
        """Return what the call returns."""
        rows = tuple(_row(segment, result) for segment, result in self.samples())
        return Extraction(archive, rows, self.failed(), self._table.unnamed, self.reused)

    def notes(self, samples: Sequence[Sample]) -> list[str]:
        """Return the notes of the archive. They do not depend on how often the command was interrupted."""
        notes = list(self._table.notes)
        total = len(self._table.segments)
        if left_out := total - len(samples):
            used = collections.Counter(segment.split for segment, _ in samples)
            drawn = collections.Counter(segment.split for segment in self._table.segments)
            splits = ", ".join(f"{name} {count - used[name]}" for name, count in drawn.items() if count > used[name])
            part = format_part(left_out, total, "segment", "is", "are")
            notes.append(f"{part} left out ({splits}): the files are not usable")
            empty = [name for name in drawn if not used[name]]
            notes += [f"the split {name} is empty: none of its files is usable. Move segments to it" for name in empty]
        if truncated := sum(TRUNCATED in result.facts for _, result in samples):
            limit = f"{self.recipe.settings.max_seconds:g} s"
            notes.append(f"{format_part(truncated, total, 'segment', 'is', 'are')} longer than {limit} and end there")
        recognized = sum(result.text is not None for _, result in samples)
        if recognized:
            kind, _, model = (self.recipe.settings.recognizer or "").partition(":")
            name = f"{kind}:{Path(model).name}"  # not where it is
            notes.append(f"the words of {format_count(recognized, 'sample')} were recognized by {name}")
        return notes

    def _failures(self) -> int:
        return len(self._reasons)

    def _recognizes(self, segment: Segment) -> bool:
        return self._recognize and not segment.text

    def _job(self, segment: Segment) -> Job:
        return Job(
            str((self._folder / segment.file).absolute()),
            segment.file,
            segment.start,
            segment.end,
            self._recognizes(segment),
            self.recipe.settings,
            self._states[segment.file],
        )


def _with_progress(
    outcomes: Iterable[tuple[int, Outcome]], total: int, noun: str, verb: str, failures: Callable[[], int]
) -> Iterator[tuple[int, Outcome]]:
    """Pass outcomes on, and report how many there were."""
    for done, item in enumerate(outcomes, 1):
        yield item
        failed = f", {failures()} failed" if failures() else ""
        report_progress(f"{noun}s {verb}", done, total, f"{done} of {format_count(total, noun)} {verb}{failed}")


def _write(run: _Run, table: LabelTable, archive: Path, options: LoadOptions, request: Request) -> Extraction:
    """Put the results together and write the archive."""
    with activity(f"Writing {archive}"):
        samples, failed = run.samples(), run.failed()
        if not samples:
            raise DataError(
                f"None of {format_count(len(table.segments), 'segment')} can be used. The first: {failed[0].reason}"
            )
        dataset = build_segment_dataset(
            archive.stem,
            table.task,
            samples,
            options=options,
            features=run.recipe.features,
            notes=run.notes(samples),
        )
        write_archive(dataset, archive)
    run.store.save_request(StoredRequest(request, digest_file(archive), "" if failed else run.state()))
    run.prune()
    print_notes([*dataset.notes, *_file_notes(samples)])
    extraction = run.result(archive)
    print_result(str(extraction))
    print_output("archive", archive, _next_command(archive, dataset))
    kept = format_size(total_size(run.store.folder))
    print_detail(f"The results of the segments are kept in {run.store.folder} ({kept}) for the next run.")
    return extraction


def _next_command(archive: Path, dataset: Dataset) -> str | None:
    """Return the command that uses the archive: if there are words, a text model comes first."""
    inspection = inspect_dataset(dataset)
    if inspection.training_problem or not any(split.texts for split in dataset.splits.values()):
        return next_command(archive, dataset)
    return next_step(f"edge-msa text train --transcripts {archive} --encoder wordpieces --output-dir words")


def _file_notes(samples: Sequence[Sample]) -> list[str]:
    """Return what could not be decoded, with the samples."""
    found: dict[str, list[str]] = {}
    for segment, result in samples:
        for note in result.notes:
            found.setdefault(note, []).append(segment.id)
    return [
        f"{note}: {', '.join(ids[:_SHOWN])}{f' and {len(ids) - _SHOWN} more' if len(ids) > _SHOWN else ''}"
        for note, ids in found.items()
    ]


def _row(segment: Segment, result: SegmentResult) -> Row:
    frames: dict[str, Cell] = {}
    for name in MODALITIES:
        frames[f"{name}_frames"] = len(result.frames.get(name, ()))
        frames[f"{name}_valid"] = int(result.valid[name].sum()) if name in result.valid else 0
    return {
        "id": segment.id,
        "line": segment.line,
        "split": segment.split,
        "seconds": result.seconds,
        **frames,
        "words": len(segment.text.split()),
        "recognized": result.text is not None,
        "facts": ", ".join(result.facts),
    }
