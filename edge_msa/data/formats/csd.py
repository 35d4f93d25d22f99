"""Load aligned CMU-MultimodalSDK files: a folder of `.csd` files (HDF5), one computational sequence per file.

The folder must contain `labels.csd`, at least one of `language.csd`, `audio.csd` and `vision.csd`, and `splits.json`:
an object `{"train": [video, ...], "valid": [...], "test": [...]}`. A file stores `<root>/data/<video[k]>/features`
(m, n). The samples are the ids in `labels.csd`; a sample has m valid frames.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.assemble import RawFrames, RawSplit, assemble
from edge_msa.data.dataset import SPLITS, Dataset, SplitName
from edge_msa.data.identifiers import video_from_id
from edge_msa.data.labels import resolve_task
from edge_msa.data.tasks import Task
from edge_msa.errors import DataError, UsageError
from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.modalities import MODALITIES

_LAYOUT = (
    "labels.csd, at least one of language.csd, audio.csd and vision.csd, and splits.json "
    '{"train": [video, ...], "valid": [...], "test": [...]}'
)
_MOSEI_COLUMNS = 7  # sentiment, then happy, sad, anger, surprise, disgust, fear

Sequences = dict[str, NDArray[Any]]


def load_csd(folder: Path, *, task: Task | None) -> Dataset:
    """Return the dataset in a folder of aligned .csd files.

    Raises:
        UsageError: The folder has other contents, or `task` is None: the format does not state what labels mean.
        DataError: A file is damaged or not aligned, or the splits are invalid.
    """
    available = [modality for modality in MODALITIES if (folder / f"{modality}.csd").is_file()]
    if not available or not (folder / "labels.csd").is_file() or not (folder / "splits.json").is_file():
        names = ", ".join(sorted(entry.name for entry in folder.iterdir())[:8]) or "nothing"
        raise UsageError(f"{folder} must contain {_LAYOUT}, got {names}.")
    task = resolve_task(task, None, str(folder))
    notes: list[str] = []
    labels = _label_rows(_load_sequences(folder / "labels.csd"), task, folder, notes)
    features = {modality: _load_sequences(folder / f"{modality}.csd") for modality in available}
    members = _members(labels, _load_splits(folder / "splits.json"), notes)
    notes += _mismatch_notes(labels, features)
    raw = {split: _raw_split(split, ids, labels, features) for split, ids in members.items()}
    return assemble(folder.resolve().name, task, raw, digest=_folder_digest(folder, available), notes=notes)


def _load_sequences(path: Path) -> Sequences:
    """Return all sequences of the file, (m, n) by id."""
    import h5py  # slow to import, and needed for this format only

    try:
        with h5py.File(path, "r") as file:
            roots = list(file)
            if len(roots) != 1 or "data" not in file[roots[0]]:
                raise DataError(
                    f"{path} must have one root group with a group 'data'; it is not a computational sequence."
                )
            sequences = {str(name): np.asarray(entry["features"]) for name, entry in file[roots[0]]["data"].items()}
    except (OSError, KeyError, AttributeError, TypeError) as error:
        raise DataError(f"{path} is not a .csd file, or is truncated ({str(error).splitlines()[0]}).") from None
    for name, features in sequences.items():
        if not name.endswith("]") or "[" not in name:
            raise DataError(
                f"The ids in {path} must be video[k], got {name!r}. Align the sequences with CMU-MultimodalSDK first."
            )
        if features.ndim != 2 or not np.issubdtype(features.dtype, np.number):
            raise DataError(
                f"The features of {name!r} in {path} must be numbers (m, n), got {features.dtype} {features.shape}."
            )
    return sequences


def _label_rows(sequences: Sequences, task: Task, folder: Path, notes: list[str]) -> Sequences:
    """Return one row of labels per sample."""
    widths = sorted({features.shape[1] for features in sequences.values()})
    rows = {name: np.asarray(features[0]) for name, features in sequences.items() if len(features)}
    if len(widths) != 1 or len(rows) != len(sequences):
        raise DataError(
            f"labels.csd in {folder} must have one row of labels of one width per sample, got widths {widths}."
        )
    if task.is_score and widths == [_MOSEI_COLUMNS]:
        notes.append("labels.csd has the 7 columns of MOSEI; the first one (sentiment) is used as the score")
        return {name: row[:1] for name, row in rows.items()}
    return rows


def _load_splits(path: Path) -> dict[SplitName, list[str]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        splits: dict[SplitName, list[str]] = {
            name: [str(video) for video in content[name]] for name in SPLITS if name in content
        }
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"Cannot read {path} ({str(error).splitlines()[0]}).") from None
    if not splits or set(content) - set(SPLITS):
        raise DataError(f"The splits in {path} must be {', '.join(SPLITS)}, got {', '.join(content) or 'none'}.")
    seen: dict[str, SplitName] = {}
    for name, videos in splits.items():
        for video in videos:
            if seen.setdefault(video, name) != name:
                raise DataError(f"{path} must list each video in one split, got {video!r} in {seen[video]} and {name}.")
    return splits


def _members(labels: Sequences, splits: Mapping[SplitName, list[str]], notes: list[str]) -> dict[SplitName, list[str]]:
    where = {video: name for name, videos in splits.items() for video in videos}
    members: dict[SplitName, list[str]] = {name: [] for name in splits}
    for sample in sorted(labels, key=lambda name: (video_from_id(name), len(name), name)):
        if video_from_id(sample) in where:
            members[where[video_from_id(sample)]].append(sample)
    dropped = len(labels) - sum(map(len, members.values()))
    if dropped:
        notes.append(f"{dropped} samples dropped: splits.json does not list their videos")
    return members


def _mismatch_notes(labels: Sequences, features: Mapping[str, Sequences]) -> list[str]:
    notes = []
    for modality, sequences in features.items():
        lacking, extra = len(labels.keys() - sequences.keys()), len(sequences.keys() - labels.keys())
        if lacking:
            notes.append(f"{modality}: {lacking} samples have labels but no frames, so they lack the modality")
        if extra:
            notes.append(f"{modality}: {extra} sequences without labels dropped")
    return notes


def _raw_split(split: SplitName, ids: list[str], labels: Sequences, features: Mapping[str, Sequences]) -> RawSplit:
    rows = np.stack([labels[sample] for sample in ids]) if ids else np.zeros((0, 1))
    modalities = {
        modality: _pad_sequences(sequences, ids, f"{modality} of {split}") for modality, sequences in features.items()
    }
    return RawSplit(ids, rows, modalities)


def _pad_sequences(sequences: Sequences, ids: list[str], where: str) -> RawFrames:
    widths = sorted({features.shape[1] for features in sequences.values()})
    if len(widths) != 1:
        raise DataError(f"All sequences of {where} must have the same number of features, got {widths}.")
    lengths = np.array([len(sequences[sample]) if sample in sequences else 0 for sample in ids], dtype=np.int64)
    values = np.zeros((len(ids), max(1, int(lengths.max(initial=0))), widths[0]), np.float32)
    with np.errstate(over="ignore"):  # values beyond float32 become inf, which is replaced and noted
        for row, sample in enumerate(ids):
            if sample in sequences:
                values[row, : lengths[row]] = sequences[sample]
    return RawFrames(values=values, lengths=lengths)


def _folder_digest(folder: Path, modalities: list[str]) -> str:
    names = sorted([*(f"{modality}.csd" for modality in modalities), "labels.csd", "splits.json"])
    lines = [f"{name} {file_sha256(folder / name)}\n" for name in names]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
