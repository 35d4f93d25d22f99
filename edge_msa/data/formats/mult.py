"""Load MulT pickles: MOSI, MOSEI and IEMOCAP, aligned and `_noalign`.

Layout: github.com/yaohungt/Multimodal-Transformer, `src/dataset.py`. Sequences are padded with zeros on the left, so
zero frames at the ends are padding. Scores have shape (N, 1, 1). The labels of IEMOCAP, (N, 4, 2), have a pair
[absent, present] for each emotion (neutral, happy, sad, angry).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.assemble import RawFrames, RawSplit, assemble
from edge_msa.data.dataset import SPLITS, Dataset, SplitName
from edge_msa.data.identifiers import pickle_ids
from edge_msa.data.labels import resolve_task
from edge_msa.data.tasks import EMOTIONS, MOSI, Task
from edge_msa.errors import DataError
from edge_msa_runtime.bundle.hashing import file_sha256

_NAMES = {"language": "text", "audio": "audio", "vision": "vision"}


def is_mult(content: Mapping[str, Any]) -> bool:
    """Return whether splits have the `labels` of MulT."""
    return any(isinstance(content.get(split), Mapping) and "labels" in content[split] for split in SPLITS)


def parse_mult(content: Mapping[str, Any], path: Path, *, task: Task | None) -> Dataset:
    """Return the dataset in the content of a MulT file. Labels (N, 4, 2) are emotions, (N, 1, 1) are scores as in MOSI.

    Raises:
        DataError: Labels are missing, have another shape, or are not pairs of 0 and 1.
    """
    splits: dict[SplitName, Mapping[str, Any]] = {split: content[split] for split in SPLITS if split in content}
    labels = {name: _labels(name, split, path) for name, split in splits.items()}
    raw = {name: _raw_split(name, split, labels[name]) for name, split in splits.items()}
    emotions = any(array.ndim == 2 for array in labels.values())
    return assemble(
        path.stem, resolve_task(task, EMOTIONS if emotions else MOSI, str(path)), raw, digest=file_sha256(path)
    )


def _labels(name: SplitName, split: Mapping[str, Any], path: Path) -> NDArray[Any]:
    """Return scores (N,), or emotions (N, 4) with values 0 and 1."""
    if "labels" not in split:
        raise DataError(f"{name} of {path} must have labels.")
    labels = np.asarray(split["labels"])
    if labels.ndim == 3 and labels.shape[1:] == (4, 2):
        return _presence(labels, f"The labels of {name} in {path}")
    if labels.ndim and labels.size == len(labels):
        return labels.reshape(-1)
    raise DataError(f"The labels of {name} in {path} must have shape (N, 1, 1) or (N, 4, 2), got {labels.shape}.")


def _presence(labels: NDArray[Any], where: str) -> NDArray[np.float64]:
    """Return the second value of each pair (N, 4, 2), or NaN if either value is NaN.

    `convert_labels` rejects NaN and names the sample.
    """
    try:
        pairs = labels.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where} must be numbers ({str(error).splitlines()[0]}).") from None
    total = pairs.sum(axis=2)
    if not np.all((total == 1) | np.isnan(total)):
        raise DataError(f"{where} must be pairs [absent, present] of 0 and 1.")
    return np.where(np.isnan(total), np.nan, pairs[..., 1])


def _raw_split(name: SplitName, split: Mapping[str, Any], labels: NDArray[Any]) -> RawSplit:
    modalities = {m: RawFrames(values=np.asarray(split[key])) for m, key in _NAMES.items() if key in split}
    return RawSplit(pickle_ids(split, name, len(labels)), labels, modalities)
