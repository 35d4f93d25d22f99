"""Load public feature sets in other `.npz` layouts, recognized by the names of their arrays.

- **MOSI, language and audio**: `word_ids` (N, T), rows of `glove` (V, 300); `lengths`; `audio` (N, d), one vector per
  utterance, i.e. a sequence of one frame; `label`; `split`; `id` (`video_clip`). No vision.
- **MOSI, three modalities, one split**: `text`, `audio` and `vision` (N, T, d); `lengths`; `label`; `id` (`video[k]`).
  The loader splits it by video, about 6/2/2.
- **ICT-MMMO**: `train_audio`, `valid_text`, ... (N, T, d) and `train_label`, ...; a split may lack a modality.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.assemble import RawFrames, RawSplit, assemble
from edge_msa.data.dataset import SPLITS, Dataset, SplitName
from edge_msa.data.identifiers import video_from_id
from edge_msa.data.labels import resolve_task
from edge_msa.data.tasks import MOSI, REGRESSION, Task
from edge_msa.errors import DataError
from edge_msa_runtime.bundle.hashing import file_sha256

Arrays = dict[str, NDArray[Any]]
_NAMES = {"language": "text", "audio": "audio", "vision": "vision"}


def parse_public_npz(arrays: Arrays, path: Path, *, task: Task | None) -> Dataset:
    """Return the dataset in the arrays of a public feature set.

    Raises:
        DataError: No layout has these names, or the arrays have different lengths.
    """
    for names, parse in _LAYOUTS:
        if names <= set(arrays):
            return parse(arrays, path, task)
    available = ", ".join(sorted(arrays)[:8]) or "nothing"
    raise DataError(
        f"{path} must be an archive of this project (with an array 'header') or a known public layout, "
        f"got {available}. "
        "edge_msa.data.formats.archive describes the arrays of an archive."
    )


def _parse_mosi_language_audio(arrays: Arrays, path: Path, task: Task | None) -> Dataset:
    audio, glove, split_names = arrays["audio"], arrays["glove"].astype(np.float32), arrays["split"].astype(str)
    if audio.ndim != 2:
        raise DataError(f"audio of {path} must have one vector per utterance (N, d), got shape {audio.shape}.")
    unknown = sorted(set(split_names) - set(SPLITS))
    if unknown:
        raise DataError(f"Unknown split {unknown[0]!r} in {path}. Available: {', '.join(SPLITS)}.")
    _check_rows(arrays, ("word_ids", "lengths", "audio", "label", "split"), path)
    raw: dict[SplitName, RawSplit] = {}
    for split in SPLITS:
        rows = np.flatnonzero(split_names == split)
        ids = [str(sample) for sample in arrays["id"][rows]]
        language = RawFrames(ids=arrays["word_ids"][rows], table=glove, lengths=arrays["lengths"][rows])
        audio_frames = RawFrames(values=audio[rows][:, None, :], lengths=np.ones(len(rows), np.int64))
        videos = [sample.rsplit("_", maxsplit=1)[0] for sample in ids]
        raw[split] = RawSplit(
            ids, arrays["label"][rows], {"language": language, "audio": audio_frames}, videos, _texts(arrays, rows)
        )
    return assemble(path.stem, resolve_task(task, MOSI, str(path)), raw, digest=file_sha256(path))


def _parse_mosi_trimodal(arrays: Arrays, path: Path, task: Task | None) -> Dataset:
    _check_rows(arrays, ("text", "audio", "vision", "lengths", "label"), path)
    ids = np.array([str(sample) for sample in arrays["id"]])
    videos = np.array([video_from_id(sample) for sample in ids])
    members = split_by_group(videos.tolist())
    raw: dict[SplitName, RawSplit] = {}
    for split, names in members.items():
        rows = np.flatnonzero(np.isin(videos, names))
        modalities = {
            modality: RawFrames(values=arrays[key][rows], lengths=arrays["lengths"][rows])
            for modality, key in _NAMES.items()
        }
        raw[split] = RawSplit(
            ids[rows].tolist(), arrays["label"][rows], modalities, videos[rows].tolist(), _texts(arrays, rows)
        )
    counts = "/".join(str(len(names)) for names in members.values())
    note = f"the file has one split: its videos are split {counts} into {'/'.join(members)}"
    return assemble(path.stem, resolve_task(task, MOSI, str(path)), raw, digest=file_sha256(path), notes=[note])


def _parse_ict_mmmo(arrays: Arrays, path: Path, task: Task | None) -> Dataset:
    raw: dict[SplitName, RawSplit] = {}
    notes = []
    for split in SPLITS:
        if f"{split}_label" not in arrays:
            continue
        labels = arrays[f"{split}_label"]
        modalities = {
            modality: RawFrames(values=arrays[f"{split}_{key}"])
            for modality, key in _NAMES.items()
            if f"{split}_{key}" in arrays
        }
        notes += [f"{split} has no {modality}" for modality in _NAMES if modality not in modalities]
        raw[split] = RawSplit([f"{split}-{row}" for row in range(labels.size)], labels, modalities)
    if task is None:
        every = np.concatenate([np.ravel(part.labels) for part in raw.values() if part.labels is not None])
        if every.size:
            notes.append(f"labels are {every.min():g} to {every.max():g}: the task is plain regression")
    return assemble(path.stem, resolve_task(task, REGRESSION, str(path)), raw, digest=file_sha256(path), notes=notes)


def split_by_group(groups: Sequence[str]) -> dict[SplitName, list[str]]:
    """Split groups about 6/2/2 into train, valid and test, always in the same way.

    The split does not depend on a seed. Otherwise a run trained with one seed could be evaluated on its own training
    samples with another.

    Raises:
        DataError: There are fewer than three groups.
    """
    distinct = sorted(set(groups), key=lambda group: hashlib.sha256(group.encode()).digest())
    if len(distinct) < 3:
        raise DataError(f"A file with one split must have at least 3 videos, got {len(distinct)}.")
    size = max(1, round(0.2 * len(distinct)))
    return {"train": distinct[2 * size :], "valid": distinct[:size], "test": distinct[size : 2 * size]}


def _texts(arrays: Arrays, rows: NDArray[np.int64]) -> list[str]:
    """Return the transcripts if the file has one for every sample, else an empty list."""
    texts = arrays.get("raw_text", np.empty(0))
    return [str(texts[row]) for row in rows] if texts.shape == arrays["id"].shape else []


def _check_rows(arrays: Arrays, names: Sequence[str], path: Path) -> None:
    count = len(arrays["id"])
    for name in names:
        if len(arrays[name]) != count:
            raise DataError(f"{name} of {path} must have {count} samples, as id has, got {len(arrays[name])}.")


_LAYOUTS: tuple[tuple[frozenset[str], Callable[[Arrays, Path, Task | None], Dataset]], ...] = (
    (frozenset({"id", "word_ids", "glove", "lengths", "audio", "label", "split"}), _parse_mosi_language_audio),
    (frozenset({"id", "text", "audio", "vision", "lengths", "label"}), _parse_mosi_trimodal),
    (frozenset({"train_label", "train_audio", "train_vision"}), _parse_ict_mmmo),
)
