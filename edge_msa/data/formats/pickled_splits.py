"""What the pickles of MMSA and of MulT have in common: a dict of splits, each a dict of arrays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import SPLITS, SplitName
from edge_msa.errors import DataError
from edge_msa_runtime.inputs.class_names import KEYS as CLASS_NAMES
from edge_msa_runtime.inputs.split_names import find_split, find_splits, ignored_split_note

NAMES = {"language": "text", "audio": "audio", "vision": "vision"}
"""Key of each modality."""

Splits = dict[SplitName, Mapping[str, Any]]


def any_split_has(content: Mapping[str, Any], *keys: str) -> bool:
    """Return whether a split has one of these keys."""
    return any(
        find_split(name) is not None and isinstance(split, Mapping) and bool(set(keys) & set(split))
        for name, split in content.items()
    )


def select_splits(content: Mapping[str, Any], path: Path, notes: list[str]) -> Splits:
    """Return the splits of a pickle, and add a note for every other key and for every split that is None.

    Raises:
        DataError: A split is not a dict, several keys name one split, or there is no split.
    """
    keys = find_splits(content, path)
    splits: Splits = {}
    for name, key in keys.known.items():
        if isinstance(content[key], Mapping):
            splits[name] = content[key]
        elif content[key] is None:
            notes.append(f"{name}: the split is None, so it is ignored")
        else:
            raise DataError(f"{name} of {path} must be a dict of arrays, got {type(content[key]).__name__}.")
    for key in keys.unknown:
        if key in CLASS_NAMES:
            continue
        is_split = isinstance(content[key], Mapping)
        notes.append(ignored_split_note(key, count_samples(content[key])) if is_split else f"key {key!r} is ignored")
    if not splits:
        raise DataError(
            f"{path} must have at least one of the splits {', '.join(SPLITS)}, got {', '.join(map(str, content))}."
        )
    return splits


def count_samples(split: Mapping[str, Any], *first: str) -> int:
    """Return the number of samples of a split: the length of its labels, its ids, or else its first array."""
    for key in (*first, "id", *NAMES.values(), *split):
        value = split.get(key)
        if isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim):
            return len(value)
    return 0


def name_arrays(splits: Splits) -> dict[str, NDArray[Any]]:
    """Return the arrays of all splits by names such as `train/audio`."""
    return {
        f"{name}/{key}": value
        for name, split in splits.items()
        for key, value in split.items()
        if isinstance(value, np.ndarray)
    }


def published_shapes(counts: tuple[int, int, int], **shapes: tuple[int, int]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the arrays of a published file, named as `name_arrays` does.

    Args:
        counts: Samples of the train, valid and test split.
        shapes: Frames and features of an array, by its key in a split.
    """
    return {
        f"{name}/{key}": (count, *shape)
        for name, count in zip(SPLITS, counts, strict=True)
        for key, shape in shapes.items()
    }


def as_array(value: Any, where: str) -> NDArray[Any]:
    """Return a list or array as an array.

    Raises:
        DataError: Its rows have different lengths.
    """
    try:
        return np.asarray(value)
    except ValueError as error:
        raise DataError(f"{where} must be an array ({str(error).splitlines()[0]}).") from None


def stated_lengths(split: Mapping[str, Any], key: str, where: str) -> NDArray[Any] | None:
    """Return the number of frames of each sample, if the file states it."""
    lengths = split.get(f"{key}_lengths")
    return None if lengths is None else as_array(lengths, f"{key}_lengths of {where}").reshape(-1)


def stated_texts(split: Mapping[str, Any], name: str, count: int, notes: list[str]) -> list[Any]:
    """Return the transcripts as stored; an empty list, with a note, if the file does not have one for every sample."""
    texts = split.get("raw_text")
    if isinstance(texts, np.ndarray):
        texts = texts.reshape(-1).tolist()
    if texts is None or (isinstance(texts, (list, tuple)) and not len(texts)):
        return []
    if not isinstance(texts, (list, tuple)) or len(texts) != count:
        size = f"{len(texts)} texts" if isinstance(texts, (list, tuple)) else type(texts).__name__
        notes.append(f"{name}: raw_text has {size} for {count} samples, so it is ignored")
        return []
    return list(texts)
