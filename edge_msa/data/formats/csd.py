"""Aligned CMU-MultimodalSDK files: a folder of `.csd` (HDF5), one computational sequence a file.

The folder names what is what: `labels.csd` and any of `language.csd`, `audio.csd`, `vision.csd`, with `splits.json`, an
object `{"train": [video, ...], "valid": [...], "test": [...]}`. Layout of a file: `<root>/data/<video[k]>/features`
(m, n). A sample is an id of `labels.csd`; padding is whatever is beyond a sample's own m frames.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.assemble import RawFrames, RawSplit, assemble, video_of
from edge_msa.data.dataset import SPLITS, Dataset, SplitName
from edge_msa.data.labels import settle_task
from edge_msa.data.tasks import Task
from edge_msa.errors import DataError, UsageError
from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.modalities import MODALITIES

_LAYOUT = (
    "a folder with labels.csd, any of language.csd, audio.csd, vision.csd, and splits.json "
    '{"train": [video, ...], "valid": [...], "test": [...]}'
)
_MOSEI_WIDTH = 7  # sentiment, then happy, sad, anger, surprise, disgust, fear

Sequences = dict[str, NDArray[Any]]


def read_csd(folder: Path, *, task: Task | None) -> Dataset:
    """The dataset of a folder of aligned .csd files.

    Raises:
        UsageError: the folder has other contents, or no task is given: the format does not say what a label means.
        DataError: a file is damaged or not aligned, or the splits do not fit.
    """
    present = [modality for modality in MODALITIES if (folder / f"{modality}.csd").is_file()]
    if not present or not (folder / "labels.csd").is_file() or not (folder / "splits.json").is_file():
        have = ", ".join(sorted(entry.name for entry in folder.iterdir())[:8]) or "nothing"
        raise UsageError(f"{folder} holds {have}; aligned .csd files are read from {_LAYOUT}")
    task = settle_task(task, None, str(folder))
    notes: list[str] = []
    labels = _scores(_read_sequences(folder / "labels.csd"), task, folder, notes)
    features = {modality: _read_sequences(folder / f"{modality}.csd") for modality in present}
    members = _members(labels, _read_splits(folder / "splits.json"), notes)
    notes += _left_out(labels, features)
    raw = {split: _raw_split(split, ids, labels, features) for split, ids in members.items()}
    return assemble(folder.resolve().name, task, raw, digest=_folder_digest(folder, present), notes=notes)


def _read_sequences(path: Path) -> Sequences:
    """Every sequence of the file, (m, n) by id."""
    import h5py  # heavy, and for this format alone

    try:
        with h5py.File(path, "r") as file:
            roots = list(file)
            if len(roots) != 1 or "data" not in file[roots[0]]:
                raise DataError(f"{path} is not a computational sequence: it needs one root with a group 'data'")
            found = {str(name): np.asarray(entry["features"]) for name, entry in file[roots[0]]["data"].items()}
    except (OSError, KeyError, AttributeError, TypeError) as error:
        raise DataError(f"{path} is not a .csd file, or is truncated ({str(error).splitlines()[0]})") from None
    for name, features in found.items():
        if not name.endswith("]") or "[" not in name:
            raise DataError(
                f"{path} is not aligned: id {name!r} is not video[k]; align it with CMU-MultimodalSDK first"
            )
        if features.ndim != 2 or not np.issubdtype(features.dtype, np.number):
            raise DataError(f"features of {name!r} in {path} are {features.dtype} {features.shape}, not numbers (m, n)")
    return found


def _scores(sequences: Sequences, task: Task, folder: Path, notes: list[str]) -> Sequences:
    """One row of labels a sample."""
    widths = sorted({features.shape[1] for features in sequences.values()})
    rows = {name: np.asarray(features[0]) for name, features in sequences.items() if len(features)}
    if len(widths) != 1 or len(rows) != len(sequences):
        raise DataError(f"labels.csd in {folder} has samples without labels, or labels of widths {widths}")
    if task.is_score and widths == [_MOSEI_WIDTH]:
        notes.append("labels.csd has 7 columns, read as MOSEI's: the first (sentiment) is the score")
        return {name: row[:1] for name, row in rows.items()}
    return rows


def _read_splits(path: Path) -> dict[SplitName, list[str]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        splits: dict[SplitName, list[str]] = {
            name: [str(one) for one in content[name]] for name in SPLITS if name in content
        }
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path} cannot be read ({str(error).splitlines()[0]})") from None
    if not splits or set(content) - set(SPLITS):
        raise DataError(f"{path} names the splits {', '.join(content) or 'none'}; there are {', '.join(SPLITS)}")
    seen: dict[str, SplitName] = {}
    for name, videos in splits.items():
        for video in videos:
            if seen.setdefault(video, name) != name:
                raise DataError(f"{path} has the video {video!r} in both {seen[video]} and {name}")
    return splits


def _members(labels: Sequences, splits: Mapping[SplitName, list[str]], notes: list[str]) -> dict[SplitName, list[str]]:
    where = {video: name for name, videos in splits.items() for video in videos}
    members: dict[SplitName, list[str]] = {name: [] for name in splits}
    for sample in sorted(labels, key=lambda one: (video_of(one), len(one), one)):
        if video_of(sample) in where:
            members[where[video_of(sample)]].append(sample)
    left = len(labels) - sum(map(len, members.values()))
    if left:
        notes.append(f"{left} samples are left out: splits.json does not name their videos")
    return members


def _left_out(labels: Sequences, features: Mapping[str, Sequences]) -> list[str]:
    notes = []
    for modality, sequences in features.items():
        lacking, extra = len(labels.keys() - sequences.keys()), len(sequences.keys() - labels.keys())
        if lacking:
            notes.append(f"{modality}: {lacking} samples have labels but no frames; they lack the modality")
        if extra:
            notes.append(f"{modality}: {extra} sequences have no label and are left out")
    return notes


def _raw_split(split: SplitName, ids: list[str], labels: Sequences, features: Mapping[str, Sequences]) -> RawSplit:
    rows = np.stack([labels[sample] for sample in ids]) if ids else np.zeros((0, 1))
    modalities = {
        modality: _padded(sequences, ids, f"{modality} of {split}") for modality, sequences in features.items()
    }
    return RawSplit(ids, rows, modalities)


def _padded(sequences: Sequences, ids: list[str], where: str) -> RawFrames:
    widths = sorted({features.shape[1] for features in sequences.values()})
    if len(widths) != 1:
        raise DataError(f"{where} has widths {widths}; every sequence of a file has the same")
    lengths = np.array([len(sequences[sample]) if sample in sequences else 0 for sample in ids], dtype=np.int64)
    values = np.zeros((len(ids), max(1, int(lengths.max(initial=0))), widths[0]), np.float32)
    with np.errstate(over="ignore"):  # beyond float32 is inf, and inf is replaced and noted
        for row, sample in enumerate(ids):
            if sample in sequences:
                values[row, : lengths[row]] = sequences[sample]
    return RawFrames(values=values, lengths=lengths)


def _folder_digest(folder: Path, present: list[str]) -> str:
    names = sorted([*(f"{modality}.csd" for modality in present), "labels.csd", "splits.json"])
    lines = [f"{name} {file_sha256(folder / name)}\n" for name in names]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
