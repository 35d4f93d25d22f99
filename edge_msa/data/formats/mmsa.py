"""Load MMSA pickles: MOSI, MOSEI and CH-SIMS; aligned, unaligned, or a single sample.

Layout: github.com/thuiar/MMSA, `data_loader.py`. Language is `text` (768 BERT features); its mask is in `text_bert`
(N, 3, T) if that has the same number of frames. Audio and vision use `audio_lengths` and `vision_lengths` of unaligned
files; otherwise zero frames at both ends are padding.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.assemble import RawFrames, RawSplit, assemble
from edge_msa.data.dataset import SPLITS, Dataset, SplitName
from edge_msa.data.identifiers import id_to_text, pickle_ids
from edge_msa.data.labels import resolve_task
from edge_msa.data.tasks import MOSI, SIMS, Task
from edge_msa.errors import DataError
from edge_msa_runtime.bundle.hashing import file_sha256

NAMES = {"language": "text", "audio": "audio", "vision": "vision"}
_SCORES = "regression_labels"


def is_mmsa(content: Mapping[str, Any]) -> bool:
    """Return whether splits have the label names of MMSA."""
    return any(
        isinstance(content.get(split), Mapping) and {_SCORES, "classification_labels"} & set(content[split])
        for split in SPLITS
    )


def is_single_sample(content: Mapping[str, Any]) -> bool:
    """Return whether the file is one dict of arrays (T, d), without splits."""
    return not set(content) & set(SPLITS) and any(_is_matrix(content, key) for key in NAMES.values())


def parse_mmsa(content: Mapping[str, Any], path: Path, *, task: Task | None) -> Dataset:
    """Return the dataset in the content of an MMSA file. CH-SIMS is recognized by its `regression_labels_T`.

    Raises:
        DataError: A split has no scores, no features, or arrays of different lengths.
    """
    splits: dict[SplitName, Mapping[str, Any]] = {split: content[split] for split in SPLITS if split in content}
    sims = any(f"{_SCORES}_T" in split for split in splits.values())
    raw = {name: _raw_split(name, split, path) for name, split in splits.items()}
    stated = SIMS if sims else MOSI
    return assemble(path.stem, resolve_task(task, stated, str(path)), raw, digest=file_sha256(path))


def parse_single_sample(content: Mapping[str, Any], path: Path, *, task: Task | None) -> Dataset:
    """Return one sample as the test split of a dataset. Its label is NaN if the file has no score.

    Raises:
        UsageError: The file does not state what a label means, and `task` is None.
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
        [id_to_text(content["id"]) if "id" in content else path.stem],
        None if label is None or not np.size(label) else np.asarray(label).reshape(1, -1),
        modalities,
    )
    return assemble(path.stem, resolve_task(task, stated, str(path)), {"test": sample}, digest=file_sha256(path))


def _is_matrix(content: Mapping[str, Any], key: str) -> bool:
    return isinstance(content.get(key), np.ndarray) and content[key].ndim == 2


def _single_length(content: Mapping[str, Any], key: str) -> NDArray[Any] | None:
    return np.asarray(content[f"{key}_lengths"]).reshape(-1) if f"{key}_lengths" in content else None


def _raw_split(name: SplitName, split: Mapping[str, Any], path: Path) -> RawSplit:
    if _SCORES not in split:
        raise DataError(f"{name} of {path} must have {_SCORES}; class labels cannot be used as scores.")
    labels = np.asarray(split[_SCORES]).reshape(-1)
    if "text" not in split and "text_bert" in split:
        raise DataError(f"{name} of {path} has text_bert but no text. Extract language features (N, T, 768) first.")
    modalities = {m: _raw_frames(split, m, key) for m, key in NAMES.items() if key in split}
    texts = _texts(split.get("raw_text"), len(labels))
    return RawSplit(pickle_ids(split, name, len(labels)), labels, modalities, texts=texts)


def _texts(texts: Any, count: int) -> list[str]:
    """Return the transcripts if the file has one for every sample, else an empty list."""
    if isinstance(texts, np.ndarray):
        texts = texts.tolist()
    return [id_to_text(text) for text in texts] if isinstance(texts, list) and len(texts) == count else []


def _raw_frames(split: Mapping[str, Any], modality: str, key: str) -> RawFrames:
    values = np.asarray(split[key])
    mask = (
        _bert_mask(np.asarray(split["text_bert"]), values) if modality == "language" and "text_bert" in split else None
    )
    lengths = np.asarray(split[f"{key}_lengths"]) if f"{key}_lengths" in split else None
    return RawFrames(values=values, lengths=lengths, valid=mask)


def _bert_mask(text_bert: NDArray[Any], values: NDArray[Any]) -> NDArray[Any] | None:
    """Return the attention mask of `text_bert`, or None if it has another number of frames than the features.

    The second axis of (N, 3, T) holds token ids, attention mask and segment ids.
    """
    if text_bert.ndim == 3 and text_bert.shape[1] == 3 and text_bert[:, 1].shape == values.shape[:2]:
        mask: NDArray[Any] = text_bert[:, 1] > 0
        return mask
    return None
