"""MMSA's pickles (MOSI, MOSEI, CH-SIMS; aligned, unaligned, one sample).

Layout: github.com/thuiar/MMSA, `data_loader.py`. Language is `text` (768 features of BERT); its padding is the mask in
`text_bert` (N, 3, T) where that has the same frames. Audio and vision use `audio_lengths` and `vision_lengths` where an
unaligned file has them; otherwise zero frames at both ends are padding.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.assemble import RawFrames, RawSplit, assemble
from edge_msa.data.dataset import SPLITS, Dataset, SplitName
from edge_msa.data.identifiers import ids_of, text_of
from edge_msa.data.labels import settle_task
from edge_msa.data.tasks import MOSI, SIMS, Task
from edge_msa.errors import DataError
from edge_msa_runtime.bundle.hashing import file_sha256

NAMES = {"language": "text", "audio": "audio", "vision": "vision"}
_SCORES = "regression_labels"


def is_mmsa(content: Mapping[str, Any]) -> bool:
    """Whether splits carry MMSA's label names."""
    return any(
        isinstance(content.get(split), Mapping) and {_SCORES, "classification_labels"} & set(content[split])
        for split in SPLITS
    )


def is_single_sample(content: Mapping[str, Any]) -> bool:
    """Whether the file is one dict of 2-d arrays (T, d), not splits."""
    return not set(content) & set(SPLITS) and any(_is_matrix(content, key) for key in NAMES.values())


def read_mmsa(content: Mapping[str, Any], path: Path, *, task: Task | None) -> Dataset:
    """The dataset of an MMSA file's content; CH-SIMS is told by its `regression_labels_T`.

    Raises:
        DataError: a split has no scores, no features, or arrays that do not fit together.
    """
    splits: dict[SplitName, Mapping[str, Any]] = {split: content[split] for split in SPLITS if split in content}
    sims = any(f"{_SCORES}_T" in split for split in splits.values())
    raw = {name: _raw_split(name, split, path) for name, split in splits.items()}
    stated = SIMS if sims else MOSI
    return assemble(path.stem, settle_task(task, stated, str(path)), raw, digest=file_sha256(path))


def read_single_sample(content: Mapping[str, Any], path: Path, *, task: Task | None) -> Dataset:
    """The dataset of one sample, as its test split; without a score in the file its label is NaN.

    Raises:
        UsageError: nothing in the file says what a label means, and no task is given.
    """
    stated = SIMS if f"{_SCORES}_T" in content else None
    modalities = {
        modality: RawFrames(
            values=np.asarray(content[key])[None],
            lengths=_single_length(content, key),
            valid=_bert_mask(np.asarray(content["text_bert"])[None], np.asarray(content[key])[None])
            if modality == "language" and "text_bert" in content
            else None,
        )
        for modality, key in NAMES.items()
        if _is_matrix(content, key)
    }
    label = content.get(_SCORES)
    sample = RawSplit(
        [text_of(content["id"]) if "id" in content else path.stem],
        None if label is None or not np.size(label) else np.asarray(label).reshape(1, -1),
        modalities,
    )
    return assemble(path.stem, settle_task(task, stated, str(path)), {"test": sample}, digest=file_sha256(path))


def _is_matrix(content: Mapping[str, Any], key: str) -> bool:
    return isinstance(content.get(key), np.ndarray) and content[key].ndim == 2


def _single_length(content: Mapping[str, Any], key: str) -> NDArray[Any] | None:
    return np.asarray(content[f"{key}_lengths"]).reshape(-1) if f"{key}_lengths" in content else None


def _raw_split(name: SplitName, split: Mapping[str, Any], path: Path) -> RawSplit:
    if _SCORES not in split:
        raise DataError(f"{name} of {path} has no {_SCORES}: classes alone are not scores that this task takes")
    labels = np.asarray(split[_SCORES]).reshape(-1)
    if "text" not in split and "text_bert" in split:
        raise DataError(f"{name} of {path} has text_bert but no text: extract language features (N, T, 768) first")
    modalities = {m: _raw_frames(split, m, key) for m, key in NAMES.items() if key in split}
    texts = _texts(split.get("raw_text"), len(labels))
    return RawSplit(ids_of(split, name, len(labels)), labels, modalities, texts=texts)


def _texts(said: Any, count: int) -> list[str]:
    """What was said, where the file tells it of every sample."""
    if isinstance(said, np.ndarray):
        said = said.tolist()
    return [text_of(one) for one in said] if isinstance(said, list) and len(said) == count else []


def _raw_frames(split: Mapping[str, Any], modality: str, key: str) -> RawFrames:
    values = np.asarray(split[key])
    mask = (
        _bert_mask(np.asarray(split["text_bert"]), values) if modality == "language" and "text_bert" in split else None
    )
    lengths = np.asarray(split[f"{key}_lengths"]) if f"{key}_lengths" in split else None
    return RawFrames(values=values, lengths=lengths, valid=mask)


def _bert_mask(text_bert: NDArray[Any], values: NDArray[Any]) -> NDArray[Any] | None:
    """The attention mask of (N, 3, T) ids, mask, segments, where its frames are the text's."""
    if text_bert.ndim == 3 and text_bert.shape[1] == 3 and text_bert[:, 1].shape == values.shape[:2]:
        mask: NDArray[Any] = text_bert[:, 1] > 0
        return mask
    return None
