"""Load aligned CMU-MultimodalSDK files: a folder of `.csd` files (HDF5), one computational sequence per file.

The folder must contain `labels.csd`, at least one of `language.csd`, `audio.csd` and `vision.csd`, and `splits.json`:
an object `{"train": [video, ...], "valid": [...], "test": [...]}`. A file stores `<root>/data/<video[k]>/features`
(m, n). The samples are the ids in `labels.csd`; a sample has m valid frames.

Without `labels.csd`, the samples are all ids of the other files, and `splits.json` is optional.

`<root>/metadata` states what computed the features: `root name`, such as COVAREP, `computational sequence version` and
`dimension names`. `intervals` (m, 2) of the sequences, in seconds, tell the frame rate if frames are evenly spaced.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.assemble import assemble
from edge_msa.data.dataset import SPLITS, Dataset, SplitName
from edge_msa.data.formats.hdf5 import open_hdf5
from edge_msa.data.labels import resolve_task
from edge_msa.data.options import LoadOptions
from edge_msa.data.tasks import Task
from edge_msa.errors import DataError, UsageError
from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.features import FeatureSource
from edge_msa_runtime.inputs.frames import RawFrames, RawSplit
from edge_msa_runtime.inputs.sample_ids import video_from_id
from edge_msa_runtime.inputs.split_names import find_splits, ignored_split_note
from edge_msa_runtime.modalities import MODALITIES
from edge_msa_runtime.wording import format_count

_LAYOUT = (
    "labels.csd, at least one of language.csd, audio.csd and vision.csd, and splits.json "
    '{"train": [video, ...], "valid": [...], "test": [...]}'
)
_ROOT_NAME, _VERSION, _NAMES = "root name", "computational sequence version", "dimension names"
_UNSPECIFIC_NAMES = {"", "root", "data", "features", "text", "words", "acoustic", "video", "visual", *MODALITIES}
# A frame rate needs some steps, and nearly all of them equal: the first and last frame of a segment may be cut.
_MIN_STEPS, _STEP_TOLERANCE, _EVEN_SHARE = 20, 0.02, 0.9
_MOSEI_COLUMNS = 7  # sentiment, then happy, sad, anger, surprise, disgust, fear

Sequences = dict[str, NDArray[Any]]


def load_csd(folder: Path, options: LoadOptions) -> Dataset:
    """Return the dataset in a folder of aligned .csd files.

    Raises:
        UsageError: The folder has other contents, or no task was passed: the format does not state what labels mean.
        DataError: A file is damaged, refers to other files, or is not aligned, or the splits are invalid.
    """
    available = [modality for modality in MODALITIES if (folder / f"{modality}.csd").is_file()]
    labeled = options.labels and (folder / "labels.csd").is_file()
    splits_path = folder / "splits.json"
    if not available or (labeled and not splits_path.is_file()):
        names = ", ".join(sorted(entry.name for entry in folder.iterdir())[:8]) or "nothing"
        raise UsageError(f"{folder} must contain {_LAYOUT}, got {names}.")
    notes: list[str] = []
    files = {modality: _load_file(folder / f"{modality}.csd", notes) for modality in available}
    features = {modality: file.sequences for modality, file in files.items()}
    labels = _load_file(folder / "labels.csd", []).sequences if labeled else {}
    task = resolve_task(options, None, str(folder), {"labels": RawSplit((), _values(labels), {})})
    labels = _label_rows(labels, task, folder, notes)
    samples = list(labels) if labeled else list(dict.fromkeys(name for part in features.values() for name in part))
    if splits_path.is_file():
        members = _members(samples, _load_splits(splits_path), notes)
    else:
        members = {"test": _sorted(samples)}
        notes.append("the folder has no splits.json: its samples are used as the test split")
    if labeled:
        notes += _mismatch_notes(labels, features)
    raw = {split: _raw_split(split, ids, labels if labeled else None, features) for split, ids in members.items()}
    used = [*(f"{modality}.csd" for modality in available), *(["labels.csd"] if labeled else [])]
    digest = _folder_digest(folder, [*used, *(["splits.json"] if splits_path.is_file() else [])])
    return assemble(
        folder.resolve().name,
        task,
        raw,
        options=options,
        digest=digest,
        features={modality: file.source for modality, file in files.items()},
        notes=notes,
    )


@dataclass(frozen=True)
class _File:
    """The content of one file."""

    sequences: Sequences
    """The features (m, n) by id."""
    source: FeatureSource
    """What the file states about its features."""


def _load_file(path: Path, notes: list[str]) -> _File:
    """Return the content of a file. Notes say which metadata cannot be used."""
    with open_hdf5(path) as file:
        roots = list(file)
        if len(roots) != 1 or "data" not in file[roots[0]]:
            raise DataError(f"{path} must have one root group with a group 'data'; it is not a computational sequence.")
        root = file[roots[0]]
        sequences = {str(name): np.asarray(entry["features"]) for name, entry in root["data"].items()}
        intervals = [np.asarray(entry["intervals"]) for entry in root["data"].values() if "intervals" in entry]
        metadata = _load_metadata(root["metadata"]) if "metadata" in root else {}
    _check_sequences(sequences, path)
    dims = {features.shape[1] for features in sequences.values()}
    return _File(sequences, _feature_source(metadata, dims, _frame_rate(intervals), path, notes))


def _load_metadata(group: Any) -> dict[str, Any]:
    """Return the values of the metadata that can be used. Each is one JSON string, alone or in an array (1,)."""
    metadata = {}
    for key in (_ROOT_NAME, _VERSION, _NAMES):
        if key not in group or group[key].size != 1:
            continue
        stored = np.asarray(group[key]).reshape(-1)[0]
        text = stored.decode("utf-8", "replace") if isinstance(stored, bytes) else str(stored)
        try:
            metadata[key] = json.loads(text)
        except (ValueError, RecursionError):
            metadata[key] = text
    return metadata


def _feature_source(
    metadata: Mapping[str, Any], dims: Collection[int], rate: float | None, path: Path, notes: list[str]
) -> FeatureSource:
    name, version, names = (metadata.get(key) for key in (_ROOT_NAME, _VERSION, _NAMES))
    stated: dict[str, Any] = {"rate_hz": rate}
    if isinstance(name, str) and name.strip().lower() not in _UNSPECIFIC_NAMES:
        stated["extractor"] = name.replace("_", " ")
        stated["version"] = str(version) if isinstance(version, (str, int, float)) else ""
    if isinstance(names, list) and names:
        if {len(names)} == set(dims):
            stated["names"] = names
        else:
            width = ", ".join(map(str, sorted(dims)))
            notes.append(f"{path.name} names {len(names)} dimensions for {width} features: the names are ignored")
    try:
        return FeatureSource.from_json(stated, "metadata")
    except ValueError as error:
        notes.append(f"the metadata of {path.name} is ignored ({error})")
        return FeatureSource(rate_hz=rate)


def _frame_rate(intervals: Sequence[NDArray[Any]]) -> float | None:
    """Return the frames per second if nearly all steps are equal; None otherwise, e.g. with one frame per word."""
    starts = [item[:, 0] for item in intervals if item.ndim == 2 and item.dtype.kind in "fiu"]
    steps = np.concatenate([np.zeros(0), *(np.diff(item.astype(np.float64)) for item in starts)])
    if len(steps) < _MIN_STEPS or not np.isfinite(steps).all():
        return None
    step = float(np.median(steps))
    even = np.abs(steps - step) <= _STEP_TOLERANCE * step
    return float(f"{1 / step:.4g}") if step > 0 and even.mean() >= _EVEN_SHARE else None


def _check_sequences(sequences: Sequences, path: Path) -> None:
    for name, features in sequences.items():
        if not name.endswith("]") or "[" not in name:
            raise DataError(
                f"The ids in {path} must be video[k], got {name!r}. Align the sequences with CMU-MultimodalSDK first."
            )
        if features.ndim != 2 or not np.issubdtype(features.dtype, np.number):
            raise DataError(
                f"The features of {name!r} in {path} must be numbers (m, n), got {features.dtype} {features.shape}."
            )


def _values(sequences: Sequences) -> NDArray[Any]:
    """Return all values of the sequences in one array."""
    return np.concatenate([np.zeros(0), *(values.ravel() for values in sequences.values())])


def _label_rows(sequences: Sequences, task: Task, folder: Path, notes: list[str]) -> Sequences:
    """Return one row of labels per sample."""
    if not sequences:
        return sequences
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


def _load_splits(path: Path) -> dict[str, list[str]]:
    """Return the videos by the keys of splits.json."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"Cannot read {path} ({str(error).splitlines()[0]}).") from None
    if not isinstance(content, dict):
        raise DataError(f"{path} must be an object of lists of videos, got {json.dumps(content):.60}.")
    for name, videos in content.items():
        if not isinstance(videos, list) or not all(isinstance(video, (str, int)) for video in videos):
            raise DataError(f"{name!r} in {path} must be a list of videos, got {json.dumps(videos):.60}.")
    return {name: [str(video) for video in videos] for name, videos in content.items()}


def _sorted(samples: list[str]) -> list[str]:
    return sorted(samples, key=lambda name: (video_from_id(name), len(name), name))


def _members(samples: list[str], videos: Mapping[str, list[str]], notes: list[str]) -> dict[SplitName, list[str]]:
    """Return the samples of each split, and add notes about those that are in none."""
    keys = find_splits(videos, "splits.json")
    if not keys.known:
        raise DataError(f"The splits in splits.json must be {', '.join(SPLITS)}, got {', '.join(videos) or 'none'}.")
    where: dict[str, SplitName] = {}
    for split, key in keys.known.items():
        for video in videos[key]:
            if where.setdefault(video, split) != split:
                raise DataError(
                    f"splits.json must list each video in one split, got {video!r} in {where[video]} and {split}."
                )
    members: dict[SplitName, list[str]] = {split: [] for split in keys.known}
    outside = []
    for sample in _sorted(samples):
        video = video_from_id(sample)
        if video in where:
            members[where[video]].append(sample)
        else:
            outside.append(video)
    by_video = Counter(map(video_from_id, samples))
    notes += [ignored_split_note(key, sum(by_video[video] for video in set(videos[key]))) for key in keys.unknown]
    listed = {video for key in keys.unknown for video in videos[key]}
    dropped = sum(video not in listed for video in outside)
    if dropped:
        notes.append(f"{dropped} samples dropped: splits.json does not list their videos")
    return members


def _mismatch_notes(labels: Sequences, features: Mapping[str, Sequences]) -> list[str]:
    notes = []
    for modality, sequences in features.items():
        lacking, extra = len(labels.keys() - sequences.keys()), len(sequences.keys() - labels.keys())
        if lacking:
            samples = "1 sample has a label" if lacking == 1 else f"{lacking} samples have labels"
            notes.append(f"{modality}: {samples} but no frames of this modality")
        if extra:
            notes.append(f"{modality}: {format_count(extra, 'sequence')} without a label dropped")
    return notes


def _raw_split(
    split: SplitName, ids: list[str], labels: Sequences | None, features: Mapping[str, Sequences]
) -> RawSplit:
    rows = None if labels is None else np.stack([labels[sample] for sample in ids]) if ids else np.zeros((0, 1))
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


def _folder_digest(folder: Path, names: list[str]) -> str:
    lines = [f"{name} {file_sha256(folder / name)}\n" for name in sorted(names)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
