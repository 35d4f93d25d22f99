"""Select the samples that the explain page shows, and return their modalities and words."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import BoolArray, Split
from edge_msa.data.tasks import Task
from edge_msa.errors import UsageError
from edge_msa_runtime.modalities import MODALITIES

QUANTILES = (0.05, 0.35, 0.65, 0.95)
"""Quantiles of the label at which samples are selected by default."""
Rows = NDArray[np.int64]


def select_rows(split: Split, task: Task, ids: Sequence[str]) -> tuple[Rows, str]:
    """Return the rows of the samples to show, and a description of the selection.

    Without ids, samples are selected among those with the most modalities: for scores, the samples at `QUANTILES` of
    the label; for emotions and classes, the first sample of each, or the first samples if no sample has one. The
    selection does not depend on predictions or attention, so it does not favor samples that look interesting.

    Args:
        split: The split. Labels of classes are one-hot, (N, K).
        task: Its task.
        ids: Ids of the samples. Empty for the default selection.

    Raises:
        UsageError: The split has no sample with one of the ids.
    """
    if ids:
        return np.array([_row_of(split, sample) for sample in dict.fromkeys(ids)], np.int64), "as requested"
    count = np.sum([has_modality(split, name) for name in MODALITIES], axis=0)
    fullest = np.flatnonzero(count == count.max())
    labels = split.labels[fullest]
    if not np.isfinite(labels).all():
        return fullest[: len(QUANTILES)], f"the first of {len(fullest)} samples, because there are no labels"
    if not task.is_score:
        first = np.unique(np.concatenate([fullest[labels[:, column] > 0][:1] for column in range(labels.shape[1])]))
        if not len(first):
            return fullest[: len(QUANTILES)], f"the first of {len(fullest)} samples, because none has an emotion"
        return first, f"the first sample of each {'class' if task.kind == 'classes' else 'emotion'}"
    order = fullest[np.argsort(labels, kind="stable")]
    positions = sorted({round(quantile * (len(order) - 1)) for quantile in QUANTILES})
    percents = ", ".join(f"{100 * quantile:g}" for quantile in QUANTILES)
    return order[positions], f"at the {percents} % quantiles of the label, among samples with the most modalities"


def has_modality(split: Split, modality: str) -> BoolArray:
    """Return which samples have a valid frame of a modality, (N,)."""
    frames = split.modalities.get(modality)
    return np.zeros(len(split), np.bool_) if frames is None else np.asarray(frames.valid.any(axis=1))


def random_rows(count: int, max_rows: int, seed: int = 0) -> Rows:
    """Return at most `max_rows` random rows out of `count`, in ascending order."""
    if count <= max_rows:
        return np.arange(count, dtype=np.int64)
    return np.sort(np.random.default_rng(seed).choice(count, max_rows, replace=False)).astype(np.int64)


def aligned_words(split: Split, row: int) -> tuple[str, ...]:
    """Return the words of a sample if there is one per valid language frame, else an empty tuple."""
    frames = split.modalities.get("language")
    words = split.texts[row].split() if split.texts else []
    return tuple(words) if frames is not None and len(words) == frames.lengths[row] else ()


def _row_of(split: Split, sample: str) -> int:
    if sample in split.ids:
        return split.ids.index(sample)
    close = get_close_matches(sample, split.ids, n=1, cutoff=0.0)
    raise UsageError(f"No sample of the split has the id {sample!r}. The closest of {len(split)} ids is {close[0]!r}.")
