"""Parse public feature sets in other `.npz` layouts, recognized by the names of their arrays.

- **Language and audio of MOSI**: `word_ids` (N, T), rows of `glove` (V, 300); `lengths`; `audio` (N, d), one vector per
  utterance, i.e. a sequence of one frame; `label`; `split`; `id` (`video_clip`). No vision.
- **Three modalities of MOSI, one split**: `text`, `audio` and `vision` (N, T, d); `lengths`; `label`; `id`
  (`video[k]`). It is split by video, about 6/2/2; without labels, all samples are test samples.
- **ICT-MMMO**: `train_audio`, `valid_text`, ... (N, T, d) and `train_label`, ...; a split may lack a modality.

`label` may be missing or NaN in every layout. With the task `classes` it can be text, indices or one-hot rows (N, K),
and `class_names` (K,) can name the classes. Text in `classes` (N,) is used in its place if it is missing.
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING, Any, Callable, Sequence

import numpy as np

from edge_msa_runtime.errors import DataError
from edge_msa_runtime.features import FeatureSource, fill_features
from edge_msa_runtime.inputs.class_names import find_labels, stated_class_names
from edge_msa_runtime.inputs.frames import RawFrames, RawSplit
from edge_msa_runtime.inputs.published_files import PublishedFile, find_features
from edge_msa_runtime.inputs.split_names import SPLITS, find_splits, ignored_split_note

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_msa_runtime.inputs.npz_files import Arrays
    from edge_msa_runtime.inputs.split_names import SplitName

_NAMES = {"language": "text", "audio": "audio", "vision": "vision"}


@dataclasses.dataclass(frozen=True)
class PublicFeatures:
    """The content of a public feature set.

    Attributes:
        task: name of the task that the layout implies: `mosi`, or `regression` for ICT-MMMO.
        splits: the splits.
        notes: what was split or left out.
        features: what is known about the features, by modality.
    """

    task: str
    splits: dict[SplitName, RawSplit]
    notes: list[str]
    features: dict[str, FeatureSource]


def parse_public_npz(arrays: Arrays, path: Path) -> PublicFeatures:
    """Return the content of the arrays of a public feature set.

    Raises:
        DataError: No layout has these names, or the arrays have different lengths.
    """
    parse = next((parse for names, parse in _LAYOUTS if names <= set(arrays)), None)
    if parse is None and any(_ict_fields(arrays).values()):
        parse = _parse_ict_mmmo
    if parse is not None:
        content, class_names = parse(arrays, path), stated_class_names(arrays)
        splits = {name: dataclasses.replace(split, class_names=class_names) for name, split in content.splits.items()}
        return dataclasses.replace(content, splits=splits)
    available = ", ".join(sorted(arrays)[:8]) or "nothing"
    raise DataError(
        f"{path} must be an archive of this project (with an array 'header') or a known public layout, "
        f"got {available}. Convert other files with `edge-msa data convert`."
    )


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


def _parse_mosi_language_audio(arrays: Arrays, path: Path) -> PublicFeatures:
    audio, glove, split_names = arrays["audio"], arrays["glove"], arrays["split"].astype(str)
    if glove.ndim != 2 or glove.dtype.kind not in "fiu":
        raise DataError(
            f"glove of {path} must be an array of numbers (words, features), got {glove.dtype} {glove.shape}."
        )
    glove = glove.astype(np.float32)
    if audio.ndim != 2:
        raise DataError(f"audio of {path} must have one vector per utterance (N, d), got shape {audio.shape}.")
    _check_rows(arrays, ("word_ids", "lengths", "audio", "label", "split"), path)
    keys = find_splits(dict.fromkeys(split_names.tolist()), path)
    notes = [ignored_split_note(key, int((split_names == key).sum())) for key in keys.unknown]
    splits: dict[SplitName, RawSplit] = {}
    for split, key in keys.known.items():
        rows = np.flatnonzero(split_names == key)
        ids = [str(sample) for sample in arrays["id"][rows]]
        language = RawFrames(ids=arrays["word_ids"][rows], table=glove, lengths=arrays["lengths"][rows])
        audio_frames = RawFrames(values=audio[rows][:, None, :], lengths=np.ones(len(rows), np.int64))
        videos = [sample.rpartition("_")[0] or sample for sample in ids]
        modalities = {"language": language, "audio": audio_frames}
        splits[split] = RawSplit(ids, _labels(arrays, rows), modalities, videos, _texts(arrays, rows))
    if not splits:
        raise DataError(f"{path} must have the splits {', '.join(SPLITS)}, got {', '.join(map(str, keys.unknown))}.")
    # The layout names its table; what computed the audio is known for the published file only.
    features = fill_features({"language": FeatureSource("GloVe")}, find_features(arrays, _PUBLISHED))
    return PublicFeatures("mosi", splits, notes, features)


def _parse_mosi_trimodal(arrays: Arrays, path: Path) -> PublicFeatures:
    _check_rows(arrays, ("text", "audio", "vision", "lengths", "label"), path)
    ids = np.array([str(sample) for sample in arrays["id"]])
    videos = np.array([sample.partition("[")[0] or sample for sample in ids.tolist()])
    if find_labels(arrays, "label") is not None:
        members = split_by_group(videos.tolist())
        counts = "/".join(str(len(names)) for names in members.values())
        note = f"the file has one split: its videos are split {counts} into {'/'.join(members)}"
    else:
        members = {"test": sorted(set(videos.tolist()))}
        note = "the file has one split without labels, which is used as the test split"
    splits: dict[SplitName, RawSplit] = {}
    for split, names in members.items():
        rows = np.flatnonzero(np.isin(videos, names))
        modalities = {
            modality: RawFrames(values=arrays[key][rows], lengths=arrays["lengths"][rows])
            for modality, key in _NAMES.items()
        }
        groups = videos[rows].tolist()
        splits[split] = RawSplit(ids[rows].tolist(), _labels(arrays, rows), modalities, groups, _texts(arrays, rows))
    return PublicFeatures("mosi", splits, [note], find_features(arrays, _PUBLISHED))


def _ict_fields(arrays: Arrays) -> dict[str, list[str]]:
    """Return the fields that the file has (`label`, `text`, ...) by the part of the name before them."""
    fields: dict[str, list[str]] = {}
    for name in arrays:
        split, _, field = name.rpartition("_")
        if split and field in {"label", *_NAMES.values()}:
            fields.setdefault(split, []).append(field)
    return {split: found for split, found in fields.items() if set(found) & set(_NAMES.values())}


def _parse_ict_mmmo(arrays: Arrays, path: Path) -> PublicFeatures:
    keys = find_splits(_ict_fields(arrays), path)
    notes = [ignored_split_note(key, _ict_count(arrays, key)) for key in keys.unknown]
    splits: dict[SplitName, RawSplit] = {}
    for split, prefix in keys.known.items():
        modalities = {
            modality: RawFrames(values=arrays[f"{prefix}_{key}"])
            for modality, key in _NAMES.items()
            if f"{prefix}_{key}" in arrays
        }
        notes += [f"{split} has no {modality}" for modality in _NAMES if modality not in modalities]
        labels, count = find_labels(arrays, "label", f"{prefix}_"), _ict_count(arrays, prefix)
        splits[split] = RawSplit([f"{split}-{row}" for row in range(count)], labels, modalities)
    if not splits:
        raise DataError(f"{path} must have the splits {', '.join(SPLITS)}, got {', '.join(keys.unknown)}.")
    return PublicFeatures("regression", splits, notes, find_features(arrays, _PUBLISHED))


def _ict_count(arrays: Arrays, prefix: str) -> int:
    names = (f"{prefix}_{field}" for field in ("label", *_NAMES.values()))
    return next(len(np.atleast_1d(arrays[name])) for name in names if name in arrays)


def _labels(arrays: Arrays, rows: NDArray[np.int64]) -> NDArray[Any] | None:
    labels = find_labels(arrays, "label")
    return None if labels is None else labels[rows]


def _texts(arrays: Arrays, rows: NDArray[np.int64]) -> list[str]:
    """Return the transcripts if the file has one for every sample, else an empty list."""
    texts = arrays.get("raw_text", np.empty(0))
    return [str(texts[row]) for row in rows] if texts.shape == arrays["id"].shape else []


def _check_rows(arrays: Arrays, names: Sequence[str], path: Path) -> None:
    if arrays["id"].ndim != 1:
        raise DataError(f"id of {path} must be an array of texts (samples,), got shape {arrays['id'].shape}.")
    count = len(arrays["id"])
    for name in names:
        if name in arrays and (not arrays[name].ndim or len(arrays[name]) != count):
            raise DataError(f"{name} of {path} must have {count} samples, as id has, got shape {arrays[name].shape}.")


_LAYOUTS: tuple[tuple[frozenset[str], Callable[[Arrays, Path], PublicFeatures]], ...] = (
    (frozenset({"id", "word_ids", "glove", "lengths", "audio", "split"}), _parse_mosi_language_audio),
    (frozenset({"id", "text", "audio", "vision", "lengths"}), _parse_mosi_trimodal),
)

# What the publishers of the files state. The versions of the extractors, and the frame rates, are not known.
_PUBLISHED = (
    PublishedFile(
        {"word_ids": (2199, 50), "glove": (2729, 300), "audio": (2199, 73)},
        {"language": FeatureSource("GloVe"), "audio": FeatureSource("openSMILE")},
    ),
    PublishedFile(
        {"text": (229, 44, 300), "audio": (229, 44, 74), "vision": (229, 44, 47)},
        {"language": FeatureSource("GloVe"), "audio": FeatureSource("COVAREP"), "vision": FeatureSource("FACET")},
    ),
    PublishedFile(
        {
            **{f"train_{name}": (220, 20, dim) for name, dim in (("audio", 74), ("vision", 36))},
            **{f"valid_{name}": (40, 20, dim) for name, dim in (("audio", 74), ("vision", 36), ("text", 300))},
            **{f"test_{name}": (80, 20, dim) for name, dim in (("audio", 74), ("vision", 36), ("text", 300))},
        },
        {"language": FeatureSource("GloVe")},
    ),
)
