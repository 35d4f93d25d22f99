"""Load MMSA pickles: MOSI, MOSEI and CH-SIMS; aligned, unaligned, or a single sample; with or without labels.

Layout: github.com/thuiar/MMSA, `data_loader.py`. Language is `text` (768 BERT features); its mask is in `text_bert`
(N, 3, T) if that has the same number of frames. Audio and vision use `audio_lengths` and `vision_lengths` of unaligned
files; otherwise zero frames at both ends are padding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.assemble import assemble
from edge_msa.data.dataset import Dataset, SplitName
from edge_msa.data.formats.pickled_splits import (
    NAMES,
    any_split_has,
    as_array,
    count_samples,
    name_arrays,
    published_shapes,
    select_splits,
    stated_lengths,
    stated_texts,
)
from edge_msa.data.identifiers import id_to_text, pickle_ids
from edge_msa.data.labels import resolve_task
from edge_msa.data.options import LoadOptions
from edge_msa.data.tasks import MOSI, NAMES_HINT, SIMS
from edge_msa.errors import DataError
from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.features import FeatureSource
from edge_msa_runtime.inputs.class_names import stated_class_names
from edge_msa_runtime.inputs.frames import RawFrames, RawSplit
from edge_msa_runtime.inputs.published_files import PublishedFile, find_features
from edge_msa_runtime.inputs.split_names import find_split

_SCORES = "regression_labels"
_CLASSES = "classification_labels"
_NAMED = "annotations"
"""Names of the classes of samples, as text."""

# What the publishers of the files state. Files of these shapes have `text` of several encoders, and sources disagree on
# what computed the 5 audio and 20 vision features of MOSI, so these are not known.
_MOSEI = {"audio": FeatureSource("COVAREP"), "vision": FeatureSource("FACET")}
_SIMS = {"audio": FeatureSource("librosa"), "vision": FeatureSource("OpenFace", "2.0")}
PUBLISHED = (
    PublishedFile(published_shapes((16326, 1871, 4659), audio=(50, 74), vision=(50, 35)), _MOSEI),
    PublishedFile(published_shapes((16326, 1871, 4659), audio=(500, 74), vision=(500, 35)), _MOSEI),
    PublishedFile(published_shapes((1368, 456, 457), audio=(400, 33), vision=(55, 709)), _SIMS),
)


def is_mmsa(content: Mapping[str, Any]) -> bool:
    """Return whether splits have the label names of MMSA."""
    return any_split_has(content, _SCORES, _CLASSES)


def is_unlabeled(content: Mapping[str, Any]) -> bool:
    """Return whether splits have features or texts. Without labels, files of MMSA and MulT are alike."""
    return any_split_has(content, *NAMES.values(), "raw_text")


def is_single_sample(content: Mapping[str, Any]) -> bool:
    """Return whether the file is one dict of arrays (T, d), without splits."""
    return not any(map(find_split, content)) and any(_dimensions(content, key) == 2 for key in NAMES.values())


def is_single_split(content: Mapping[str, Any]) -> bool:
    """Return whether the file is one dict of arrays (N, T, d), without splits."""
    return not any(map(find_split, content)) and any(_dimensions(content, key) == 3 for key in NAMES.values())


def parse_mmsa(content: Mapping[str, Any], path: Path, options: LoadOptions) -> Dataset:
    """Return the dataset in the content of an MMSA file. CH-SIMS is recognized by its `regression_labels_T`.

    Raises:
        DataError: A split has class labels only, no features, or arrays of different lengths.
        UnstatedTaskError: The file has no labels, and no task was passed.
    """
    notes: list[str] = []
    splits = select_splits(content, path, notes)
    names = stated_class_names(content)
    raw = {name: _raw_split(name, split, path, options, notes, names) for name, split in splits.items()}
    sims = any(f"{_SCORES}_T" in split for split in splits.values())
    stated = SIMS if sims else MOSI if any(split.labels is not None for split in raw.values()) else None
    task = resolve_task(options, stated, path, raw, layout_notes=notes)
    features = find_features(name_arrays(splits), PUBLISHED)
    return assemble(path.stem, task, raw, options=options, digest=file_sha256(path), features=features, notes=notes)


def parse_single_split(content: Mapping[str, Any], path: Path, options: LoadOptions) -> Dataset:
    """Return samples without splits as the test split of a dataset.

    Raises:
        DataError: The arrays have different lengths.
        UnstatedTaskError: The file does not state what its labels mean, and no task was passed.
    """
    notes = ["the file has no splits: its samples are used as the test split"]
    raw = {"test": _raw_split("test", content, path, options, notes)}
    stated = SIMS if f"{_SCORES}_T" in content else None
    task = resolve_task(options, stated, path, raw)
    return assemble(path.stem, task, {"test": raw["test"]}, options=options, digest=file_sha256(path), notes=notes)


def parse_single_sample(content: Mapping[str, Any], path: Path, options: LoadOptions) -> Dataset:
    """Return one sample as the test split of a dataset. Its label is NaN if the file has no score.

    Raises:
        UnstatedTaskError: The file does not state what a label means, and no task was passed.
    """
    stated = SIMS if f"{_SCORES}_T" in content else None
    modalities = {
        modality: RawFrames(
            values=np.asarray(content[key])[None],
            lengths=stated_lengths(content, key, str(path)),
            valid=_bert_mask(as_array(content["text_bert"], "text_bert")[None], content[key][None])
            if modality == "language" and content.get("text_bert") is not None
            else None,
        )
        for modality, key in NAMES.items()
        if _dimensions(content, key) == 2
    }
    key = _label_key(content, options)
    label, text = content.get(key), content.get("raw_text")
    sample = RawSplit(
        [id_to_text(content["id"]) if content.get("id") is not None else path.stem],
        None if label is None or not np.size(label) else as_array(label, key).reshape(1, -1),
        modalities,
        texts=() if text is None else [text],
    )
    task = resolve_task(options, stated, path, {"test": sample})
    return assemble(path.stem, task, {"test": sample}, options=options, digest=file_sha256(path))


def _dimensions(content: Mapping[str, Any], key: str) -> int:
    value = content.get(key)
    return value.ndim if isinstance(value, np.ndarray) else 0


def _raw_split(
    name: SplitName,
    split: Mapping[str, Any],
    path: Path,
    options: LoadOptions,
    notes: list[str],
    class_names: Sequence[str] = (),
) -> RawSplit:
    where = f"{name} of {path}"
    key = _label_key(split, options)
    if split.get(key) is None and split.get(_CLASSES) is not None and options.labels:
        raise DataError(
            f"{where} must have {_SCORES}; class labels cannot be used as scores. For a classification, pass --task "
            f"{NAMES_HINT}."
        )
    if split.get("text") is None and split.get("text_bert") is not None:
        raise DataError(f"{where} has text_bert but no text. Extract language features (N, T, 768) first.")
    labels = None if split.get(key) is None else as_array(split[key], f"{key} of {where}")
    if labels is not None and labels.size == len(labels):
        labels = labels.reshape(-1)
    count = count_samples(split, key)
    modalities = {m: _raw_frames(split, m, key, where) for m, key in NAMES.items() if split.get(key) is not None}
    texts = stated_texts(split, name, count, notes)
    names = stated_class_names(split) or class_names
    return RawSplit(pickle_ids(split, name, count), labels, modalities, texts=texts, class_names=names)


def _label_key(split: Mapping[str, Any], options: LoadOptions) -> str:
    """Return the key of the labels: of scores, or with the task `classes` of the names or else numbers of classes."""
    if options.task is None or options.task.kind != "classes":
        return _SCORES
    return _NAMED if split.get(_NAMED) is not None else _CLASSES


def _raw_frames(split: Mapping[str, Any], modality: str, key: str, where: str) -> RawFrames:
    values = as_array(split[key], f"{key} of {where}")
    mask = None
    if modality == "language" and split.get("text_bert") is not None:
        mask = _bert_mask(as_array(split["text_bert"], f"text_bert of {where}"), values)
    return RawFrames(values=values, lengths=stated_lengths(split, key, where), valid=mask)


def _bert_mask(text_bert: NDArray[Any], values: NDArray[Any]) -> NDArray[Any] | None:
    """Return the attention mask of `text_bert`, or None if it has another number of frames than the features.

    The second axis of (N, 3, T) holds token ids, attention mask and segment ids.
    """
    if text_bert.ndim == 3 and text_bert.shape[1] == 3 and text_bert[:, 1].shape == values.shape[:2]:
        mask: NDArray[Any] = text_bert[:, 1] > 0
        return mask
    return None
