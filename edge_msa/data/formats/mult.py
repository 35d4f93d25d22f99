"""Load MulT pickles: MOSI, MOSEI and IEMOCAP, aligned and `_noalign`.

Layout: github.com/yaohungt/Multimodal-Transformer, `src/dataset.py`. Sequences are padded with zeros on the left, so
zero frames at the ends are padding. Scores have shape (N, 1, 1). The labels of IEMOCAP, (N, 4, 2), have a pair
[absent, present] for each emotion (neutral, happy, sad, angry). With the task `classes`, labels can be text, numbers,
one-hot rows (N, K), or IEMOCAP's pairs, which are classes where exactly one emotion is present.
"""

from __future__ import annotations

from collections.abc import Mapping
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
from edge_msa.data.identifiers import pickle_ids
from edge_msa.data.labels import resolve_task
from edge_msa.data.options import LoadOptions
from edge_msa.data.tasks import EMOTIONS, MOSI
from edge_msa.errors import DataError
from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.features import FeatureSource
from edge_msa_runtime.inputs.class_names import stated_class_names
from edge_msa_runtime.inputs.frames import RawFrames, RawSplit
from edge_msa_runtime.inputs.published_files import PublishedFile, find_features

# The publishers of the aligned files of MOSEI and IEMOCAP state the extractors, but no versions.
_EXTRACTORS = {"language": FeatureSource("GloVe"), "audio": FeatureSource("COVAREP"), "vision": FeatureSource("FACET")}
PUBLISHED = tuple(
    PublishedFile(published_shapes(counts, text=(frames, 300), audio=(frames, 74), vision=(frames, 35)), _EXTRACTORS)
    for counts, frames in (((16265, 1869, 4643), 50), ((2717, 798, 938), 20))
)


def is_mult(content: Mapping[str, Any]) -> bool:
    """Return whether splits have the `labels` of MulT."""
    return any_split_has(content, "labels")


def parse_mult(content: Mapping[str, Any], path: Path, options: LoadOptions) -> Dataset:
    """Return the dataset in the content of a MulT file. Labels (N, 4, 2) are emotions, (N, 1, 1) are scores as in MOSI.

    Text labels are classes. One-hot rows (N, K) need the names of the classes.

    Raises:
        DataError: Labels have another shape, or are not pairs of 0 and 1.
        UnstatedTaskError: All labels are missing, and no task was passed.
    """
    notes: list[str] = []
    splits = select_splits(content, path, notes)
    labels = {name: _labels(name, split, path) if options.labels else None for name, split in splits.items()}
    raw = {name: _raw_split(name, split, labels[name], content, path, notes) for name, split in splits.items()}
    known = [array for array in labels.values() if array is not None]
    stated = None
    if any(map(_has_pairs, splits.values())):
        stated = EMOTIONS if known else None
    elif all(array.ndim == 1 for array in known):
        stated = MOSI if known else None
    task = resolve_task(options, stated, path, raw, layout_notes=notes)
    features = find_features(name_arrays(splits), PUBLISHED)
    return assemble(path.stem, task, raw, options=options, digest=file_sha256(path), features=features, notes=notes)


def _labels(name: SplitName, split: Mapping[str, Any], path: Path) -> NDArray[Any] | None:
    """Return labels (N,), or (N, K) with values 0 and 1 per emotion or class; None if the split has no labels."""
    if split.get("labels") is None:
        return None
    labels = as_array(split["labels"], f"labels of {name} in {path}")
    if labels.ndim == 3 and labels.shape[1:] == (4, 2):
        return _presence(labels, f"The labels of {name} in {path}")
    if labels.ndim and labels.size == len(labels):
        return labels.reshape(-1)
    if labels.ndim in {2, 3} and max(labels.shape[1:]) == labels.size // max(len(labels), 1):
        return labels.reshape(len(labels), -1)
    raise DataError(
        f"The labels of {name} in {path} must have shape (N, 1, 1), (N, 4, 2), or (N, K) for K classes, got "
        f"{labels.shape}."
    )


def _has_pairs(split: Mapping[str, Any]) -> bool:
    """Return whether a split has the labels of IEMOCAP."""
    labels = split.get("labels")
    return labels is not None and np.shape(labels)[1:] == (4, 2)


def _presence(labels: NDArray[Any], where: str) -> NDArray[np.float64]:
    """Return the second value of each pair (N, 4, 2), or NaN if either value is NaN."""
    try:
        pairs = labels.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where} must be numbers ({str(error).splitlines()[0]}).") from None
    total = pairs.sum(axis=2)
    if not np.all((total == 1) | np.isnan(total)):
        raise DataError(f"{where} must be pairs [absent, present] of 0 and 1.")
    return np.where(np.isnan(total), np.nan, pairs[..., 1])


def _raw_split(
    name: SplitName,
    split: Mapping[str, Any],
    labels: NDArray[Any] | None,
    content: Mapping[str, Any],
    path: Path,
    notes: list[str],
) -> RawSplit:
    where = f"{name} of {path}"
    modalities = {
        m: RawFrames(values=as_array(split[key], f"{key} of {where}"), lengths=stated_lengths(split, key, where))
        for m, key in NAMES.items()
        if split.get(key) is not None
    }
    count = count_samples(split, "labels")
    texts = stated_texts(split, name, count, notes)
    names = EMOTIONS.labels if _has_pairs(split) else stated_class_names(split) or stated_class_names(content)
    return RawSplit(pickle_ids(split, name, count), labels, modalities, texts=texts, class_names=names)
