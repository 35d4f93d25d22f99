"""Summarize what a dataset contains, as text (`format_inspection`) and as JSON (`Inspection.to_json`)."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from edge_msa.console import is_printed
from edge_msa.data.dataset import Dataset, FloatArray, Frames, Split, SplitName, missing_split
from edge_msa.data.labels import one_hot
from edge_msa.data.tasks import EMOTIONS, Task
from edge_msa.result_tables import Row, Table
from edge_msa.text_tables import ABSENT, text_table
from edge_msa_runtime.features import UNKNOWN, FeatureSource
from edge_msa_runtime.modalities import MODALITIES
from edge_msa_runtime.wording import format_count, merge_split_notes

# The note of `assemble` about replaced values.
_REPLACED = re.compile(
    r"(?P<modality>\w+): (?P<count>\d+) values? in (?P<split>\w+) (?:was|were) (?P<kind>\S+), set to 0"
)
_BINS = 7
_UNLABELED = "unlabeled"
_TRAINING_SPLITS: tuple[SplitName, ...] = ("train", "valid")


@dataclass(frozen=True)
class ModalityInspection:
    """Statistics of one modality of one split."""

    shape: tuple[int, int, int]
    """(samples, frames, features)."""
    lengths: tuple[int, float, int]
    """Smallest, median and largest number of valid frames of the samples that have the modality."""
    missing: float
    """Share of samples that lack the modality."""
    padding: float
    """Share of frames that are not valid."""
    table: int | None
    """Rows of the embedding table; None if frames are stored as vectors."""


@dataclass(frozen=True)
class SplitInspection:
    """Statistics of one split."""

    samples: int
    """Number of samples."""
    groups: int
    """Number of videos."""
    texts: int
    """Number of samples with a text that is not empty."""
    labels: dict[str, int]
    """Number of samples, by range of the score, by emotion or by class."""
    modalities: dict[str, ModalityInspection]
    """Statistics by modality."""

    @property
    def labeled(self) -> int:
        """Number of samples with a label."""
        return self.samples - self.labels.get(_UNLABELED, 0)


@dataclass(frozen=True, repr=False)
class Inspection(Table):
    """Statistics of a dataset. `print` shows them for people."""

    name: str
    """Name of the corpus."""
    digest: str
    """SHA-256 of the file."""
    task: str
    """Name of the task, for classes with their names."""
    dims: dict[str, int]
    """Features per frame, by modality."""
    features: dict[str, FeatureSource]
    """What computed the features, for each modality of the dataset."""
    absent: tuple[str, ...]
    """Modalities that no split has."""
    non_finite: dict[str, int]
    """Number of replaced values, by `split/modality/kind`."""
    splits: dict[SplitName, SplitInspection]
    """Statistics by split."""
    notes: tuple[str, ...]
    """The dataset's notes."""

    def __repr__(self) -> str:
        """Return the corpus, and the numbers of samples and features."""
        splits = ", ".join(f"{name} {split.samples}" for name, split in self.splits.items())
        dims = ", ".join(f"{name} {dim}" for name, dim in self.dims.items())
        return f"<Inspection of {self.name} ({self.task}): samples {splits}; features {dims or 'none'}>"

    def __str__(self) -> str:
        """Return the statistics for people."""
        return format_inspection(self)

    @property
    def rows(self) -> tuple[Row, ...]:
        """One row per split and modality."""
        return tuple(
            {
                "split": name,
                "samples": split.samples,
                "groups": split.groups,
                "modality": modality,
                "frames": item.shape[1],
                "features": item.shape[2],
                "shortest": item.lengths[0],
                "median": item.lengths[1],
                "longest": item.lengths[2],
                "missing": item.missing,
                "padding": item.padding,
            }
            for name, split in self.splits.items()
            for modality, item in split.modalities.items()
        )

    @property
    def is_labeled(self) -> bool:
        """Whether any sample has a label."""
        return any(split.labeled for split in self.splits.values())

    @property
    def training_problem(self) -> str | None:
        """Why no model can be trained on the data, and what to do about it; None if one can."""
        kind, advice = ("teacher", "distill with --transfer") if self.dims else ("text model", "text distill")
        trainable: set[str] = set(self.dims)
        for name in _TRAINING_SPLITS:
            split = self.splits.get(name)
            if split is None or not split.samples:
                sizes = {other: item.samples for other, item in self.splits.items()}
                return missing_split(self.name, name, sizes, has_frames=bool(self.dims))
            if not split.labeled:
                return (
                    f"The {name} split of {self.name} has no labels, which a {kind} cannot learn from. "
                    f"Pass the file to edge-msa {advice}."
                )
            trainable &= {modality for modality, item in split.modalities.items() if item.lengths[-1]}
            if self.dims and not trainable:
                return f"The {name} split of {self.name} has no valid frame of a modality that the train split has."
        if not self.dims and self.task == EMOTIONS.kind:
            return f"{self.name} has only text, and text models predict scores or classes, not emotions."
        return None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def inspect_dataset(dataset: Dataset) -> Inspection:
    """Return the statistics of a dataset."""
    replaced = [match for match in map(_REPLACED.fullmatch, dataset.notes) if match]
    edges = _bin_edges(dataset)
    return Inspection(
        name=dataset.name,
        digest=dataset.digest,
        task=dataset.task.option,
        dims=dataset.dims,
        features={name: dataset.features.get(name, UNKNOWN) for name in dataset.dims},
        absent=tuple(modality for modality in MODALITIES if modality not in dataset.dims),
        non_finite={f"{match['split']}/{match['modality']}/{match['kind']}": int(match["count"]) for match in replaced},
        splits={name: _inspect_split(split, dataset.task, edges) for name, split in dataset.splits.items()},
        notes=dataset.notes,
    )


def _inspect_split(split: Split, task: Task, edges: FloatArray) -> SplitInspection:
    return SplitInspection(
        samples=len(split),
        groups=len(set(split.groups)),
        texts=sum(bool(text.strip()) for text in split.texts),
        labels=_histogram(split.labels, task, edges),
        modalities={name: _inspect_modality(frames) for name, frames in split.modalities.items()},
    )


def _inspect_modality(frames: Frames) -> ModalityInspection:
    count, length = frames.valid.shape
    lengths = frames.lengths[frames.lengths > 0]
    return ModalityInspection(
        shape=(count, length, frames.dim),
        lengths=(int(lengths.min()), float(np.median(lengths)), int(lengths.max())) if lengths.size else (0, 0.0, 0),
        missing=1 - lengths.size / count if count else 0.0,
        padding=1 - float(frames.valid.mean()) if frames.valid.size else 0.0,
        table=None if frames.table is None else len(frames.table),
    )


def _bin_edges(dataset: Dataset) -> FloatArray:
    """Return the edges of the score histogram for all splits: around whole numbers for MOSI, else of equal widths."""
    if dataset.task.kind == "mosi":
        return np.arange(-3.5, 4, dtype=np.float32)
    if not dataset.task.is_score:
        return np.zeros(0, np.float32)
    scores = np.concatenate([split.labels for split in dataset.splits.values()])
    scores = scores[np.isfinite(scores)]
    low = dataset.task.low if dataset.task.low is not None else scores.min(initial=np.inf)
    high = dataset.task.high if dataset.task.high is not None else scores.max(initial=-np.inf)
    if not low < high:
        low, high = (float(scores[0]) - 0.5, float(scores[0]) + 0.5) if scores.size else (-1.0, 1.0)
    return np.linspace(low, high, _BINS + 1, dtype=np.float32)


def _histogram(labels: FloatArray, task: Task, edges: FloatArray) -> dict[str, int]:
    if not task.is_score:
        if task.kind == "classes":
            labels = one_hot(task, labels)
        counts = np.nansum(labels, axis=0)
        histogram = {name: int(count) for name, count in zip(task.labels, counts, strict=True)}
        missing = int(np.isnan(labels).any(axis=1).sum())
        return histogram | ({_UNLABELED: missing} if missing else {})
    known = labels[np.isfinite(labels)]
    counts, _ = np.histogram(np.clip(known, edges[0], edges[-1]), edges)
    if task.kind == "mosi":
        names = [f"{round(float(low) + 0.5):+d}" for low in edges[:-1]]
    else:
        names = [f"{low:.2f}..{high:.2f}" for low, high in pairwise(edges.tolist())]
    histogram = {name: int(count) for name, count in zip(names, counts, strict=True)}
    if known.size < labels.size:
        histogram[_UNLABELED] = labels.size - known.size
    return histogram


def format_inspection(inspection: Inspection) -> str:
    """Return the statistics as text, with one table per split."""
    total = sum(split.texts for split in inspection.splits.values())
    only_texts = f"language ({format_count(total, 'sample')} with texts)" if total else "language"
    absent = [only_texts if name == "language" else name for name in inspection.absent]
    lines = [
        f"{inspection.name}   task {inspection.task}   sha256 {inspection.digest[:12]}",
        f"modalities without frames: {', '.join(absent) or 'none'}",
        f"NaN and inf: {', '.join(f'{n} in {where}' for where, n in inspection.non_finite.items()) or 'none'}",
    ]
    if inspection.features:
        lines.append("features computed by:")
        lines += [f"  {modality:<10}{source.describe()}" for modality, source in inspection.features.items()]
    for name, split in inspection.splits.items():
        texts = f", {split.texts} with text" if split.texts else ""
        lines += [
            "",
            f"{name}: {format_count(split.samples, 'sample')} from {format_count(split.groups, 'video')}{texts}",
        ]
        lines += ["", _modality_table(split), ""]
        lines.append("labels: " + ", ".join(f"{label}: {count}" for label, count in split.labels.items()))
    notes = [note for note in inspection.notes if not _REPLACED.fullmatch(note) and not is_printed(note)]
    if notes:
        lines += ["", *(f"note: {note}" for note in merge_split_notes(notes))]
    return "\n".join(lines)


def _modality_table(split: SplitInspection) -> str:
    header = ["modality", "shape", "min", "median", "max", "missing", "padding"]
    rows = []
    for modality in MODALITIES:
        info = split.modalities.get(modality)
        if info is None:
            rows.append([modality, *[ABSENT] * 4, "100.0%", ABSENT])
            continue
        shape = " x ".join(map(str, info.shape)) + (f", ids into {info.table} rows" if info.table is not None else "")
        rows.append(
            [modality, shape, *(f"{value:g}" for value in info.lengths), f"{info.missing:.1%}", f"{info.padding:.1%}"]
        )
    return text_table(header, rows, left=2)
