"""MulT's pickles: MOSI, MOSEI and IEMOCAP, aligned and `_noalign`.

Layout: github.com/yaohungt/Multimodal-Transformer, `src/dataset.py`. Sequences are padded with zeros on the left, so
zero frames at the ends are padding. Scores come as (N, 1, 1); IEMOCAP's (N, 4, 2) holds for each emotion (neutral,
happy, sad, angry) a pair [absent, present].
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.assemble import RawFrames, RawSplit, assemble
from edge_msa.data.dataset import SPLITS, Dataset, SplitName
from edge_msa.data.identifiers import ids_of
from edge_msa.data.labels import settle_task
from edge_msa.data.tasks import EMOTIONS, MOSI, Task
from edge_msa.errors import DataError
from edge_msa_runtime.bundle.hashing import file_sha256

_NAMES = {"language": "text", "audio": "audio", "vision": "vision"}


def is_mult(content: Mapping[str, Any]) -> bool:
    """Whether splits carry MulT's `labels`."""
    return any(isinstance(content.get(split), Mapping) and "labels" in content[split] for split in SPLITS)


def read_mult(content: Mapping[str, Any], path: Path, *, task: Task | None) -> Dataset:
    """The dataset of a MulT file's content; labels (N, 4, 2) are emotions, (N, 1, 1) are MOSI-like scores.

    Raises:
        DataError: labels are missing, of another shape, or not pairs of 0 and 1.
    """
    splits: dict[SplitName, Mapping[str, Any]] = {split: content[split] for split in SPLITS if split in content}
    labels = {name: _labels(name, split, path) for name, split in splits.items()}
    raw = {name: _raw_split(name, split, labels[name]) for name, split in splits.items()}
    emotions = any(array.ndim == 2 for array in labels.values())
    return assemble(
        path.stem, settle_task(task, EMOTIONS if emotions else MOSI, str(path)), raw, digest=file_sha256(path)
    )


def _labels(name: SplitName, split: Mapping[str, Any], path: Path) -> NDArray[Any]:
    """Scores (N,), or 0/1 emotions (N, 4)."""
    if "labels" not in split:
        raise DataError(f"{name} of {path} has no labels")
    labels = np.asarray(split["labels"])
    if labels.ndim == 3 and labels.shape[1:] == (4, 2):
        return _present(labels, f"labels of {name} in {path}")
    if labels.ndim and labels.size == len(labels):
        return labels.reshape(-1)
    raise DataError(f"labels of {name} in {path} have shape {labels.shape}; MulT's are (N, 1, 1) or (N, 4, 2)")


def _present(labels: NDArray[Any], where: str) -> NDArray[np.float64]:
    """The second of each pair (N, 4, 2), NaN where either is: whose label is not known is named later, by its id."""
    try:
        pairs = labels.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where} are not numbers ({str(error).splitlines()[0]})") from None
    total = pairs.sum(axis=2)
    if not np.all((total == 1) | np.isnan(total)):
        raise DataError(f"{where} are not pairs [absent, present] of 0 and 1")
    return np.where(np.isnan(total), np.nan, pairs[..., 1])


def _raw_split(name: SplitName, split: Mapping[str, Any], labels: NDArray[Any]) -> RawSplit:
    modalities = {m: RawFrames(values=np.asarray(split[key])) for m, key in _NAMES.items() if key in split}
    return RawSplit(ids_of(split, name, len(labels)), labels, modalities)
