"""What a feature file holds, for a person (`describe`) and for a program (`Inspection.to_json`)."""

from __future__ import annotations

import dataclasses
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from edge_msa.data.dataset import Dataset, FloatArray, Frames, Split
from edge_msa.data.opening import open_dataset
from edge_msa.data.tasks import Task
from edge_msa_runtime.modalities import MODALITIES

_REPLACED = re.compile(r"(?P<modality>\w+): (?P<count>\d+) values in (?P<split>\w+) were (?P<kind>\S+), set to 0")
_BINS = 7


@dataclasses.dataclass(frozen=True)
class ModalityInspection:
    """One modality of one split.

    `shape` is (N, T, d); `lengths` min, median, max over the samples that have it; `missing` the share of samples that
    lack it, `padding` the share of all frames that are not valid; `table` its embedding table's rows, None where
    frames are vectors.
    """

    shape: tuple[int, int, int]
    lengths: tuple[int, float, int]
    missing: float
    padding: float
    table: int | None


@dataclasses.dataclass(frozen=True)
class SplitInspection:
    """One split; `labels` counts samples, by bin of the score or by emotion."""

    samples: int
    groups: int
    labels: dict[str, int]
    modalities: dict[str, ModalityInspection]


@dataclasses.dataclass(frozen=True)
class Inspection:
    """A dataset in numbers; `absent` are modalities that no split has, `non_finite` counts by split, modality, kind."""

    name: str
    digest: str
    task: str
    dims: dict[str, int]
    frame_rates: dict[str, float]
    absent: tuple[str, ...]
    non_finite: dict[str, int]
    splits: dict[str, SplitInspection]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain containers and numbers."""
        return dataclasses.asdict(self)


def inspect_dataset(source: str | Path, *, task: Task | None = None, seed: int = 0) -> Inspection:
    """What the file holds; errors are those of `open_dataset`."""
    return inspection_of(open_dataset(source, task=task, seed=seed))


def inspection_of(dataset: Dataset) -> Inspection:
    """As `inspect_dataset`, of a dataset that is open already."""
    replaced = [found for found in map(_REPLACED.fullmatch, dataset.notes) if found]
    edges = _edges(dataset)
    return Inspection(
        name=dataset.name,
        digest=dataset.digest,
        task=dataset.task.kind,
        dims=dataset.dims,
        frame_rates=dict(dataset.frame_rates),
        absent=tuple(modality for modality in MODALITIES if modality not in dataset.dims),
        non_finite={f"{one['split']}/{one['modality']}/{one['kind']}": int(one["count"]) for one in replaced},
        splits={name: _split(split, dataset.task, edges) for name, split in dataset.splits.items()},
        notes=dataset.notes,
    )


def _split(split: Split, task: Task, edges: FloatArray) -> SplitInspection:
    return SplitInspection(
        samples=len(split),
        groups=len(set(split.groups)),
        labels=_histogram(split.labels, task, edges),
        modalities={name: _modality(frames) for name, frames in split.modalities.items()},
    )


def _modality(frames: Frames) -> ModalityInspection:
    count, length = frames.valid.shape
    have = frames.lengths[frames.lengths > 0]
    return ModalityInspection(
        shape=(count, length, frames.dim),
        lengths=(int(have.min()), float(np.median(have)), int(have.max())) if have.size else (0, 0.0, 0),
        missing=1 - have.size / count if count else 0.0,
        padding=1 - float(frames.valid.mean()) if frames.valid.size else 0.0,
        table=None if frames.table is None else len(frames.table),
    )


def _edges(dataset: Dataset) -> FloatArray:
    """Bounds of the score's bins, the same for every split: one a whole number for MOSI, otherwise equal widths."""
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
        counts = np.nansum(labels, axis=0)
        return {name: int(count) for name, count in zip(task.labels, counts, strict=True)}
    known = labels[np.isfinite(labels)]
    counts, _ = np.histogram(known, edges)
    if task.kind == "mosi":
        names = [f"{round(float(low) + 0.5):+d}" for low in edges[:-1]]
    else:
        names = [f"{low:.2f}..{high:.2f}" for low, high in pairwise(edges.tolist())]
    histogram = {name: int(count) for name, count in zip(names, counts, strict=True)}
    if known.size < labels.size:
        histogram["unlabeled"] = labels.size - known.size
    return histogram


def describe(inspection: Inspection) -> str:
    """The inspection as plain text, a table a split."""
    lines = [
        f"{inspection.name}   task {inspection.task}   sha256 {inspection.digest[:12]}",
        f"absent everywhere: {', '.join(inspection.absent) or 'none'}",
        f"NaN and inf: {', '.join(f'{n} in {at}' for at, n in inspection.non_finite.items()) or 'none'}",
    ]
    if inspection.frame_rates:
        lines.append("frame rates: " + ", ".join(f"{m} {rate:g} Hz" for m, rate in inspection.frame_rates.items()))
    for name, split in inspection.splits.items():
        lines += ["", f"{name}: {split.samples} samples of {split.groups} groups"]
        lines += _modality_lines(split)
        lines.append("  labels    " + "  ".join(f"{at}: {count}" for at, count in split.labels.items()))
    if inspection.notes:
        lines += ["", *(f"note: {note}" for note in inspection.notes)]
    return "\n".join(lines)


def _modality_lines(split: SplitInspection) -> list[str]:
    lines = [f"  {'modality':<10}{'shape':<20}{'frames min/median/max':<24}{'missing':>8}{'padding':>9}"]
    for modality in MODALITIES:
        found = split.modalities.get(modality)
        if found is None:
            lines.append(f"  {modality:<10}{'-':<20}{'-':<24}{'100.0%':>8}{'-':>9}")
            continue
        shape = " x ".join(map(str, found.shape))
        least, middle, most = found.lengths
        source = "" if found.table is None else f"   ids into {found.table} rows"
        lengths = f"{least} / {middle:g} / {most}"
        lines.append(f"  {modality:<10}{shape:<20}{lengths:<24}{found.missing:>8.1%}{found.padding:>9.1%}{source}")
    return lines
