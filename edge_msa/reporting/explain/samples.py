"""Which samples a page shows, and what each of them has."""

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
"""Of the labels: where samples are taken that nobody chose."""
Rows = NDArray[np.int64]


def chosen_rows(split: Split, task: Task, wanted: Sequence[str]) -> tuple[Rows, str]:
    """The rows to show, and how they were chosen in words.

    Those of the ids that are wanted; else, of the samples with the most modalities, those at `QUANTILES` of the label
    (of emotions: the first sample of each). Neither attention maps at a prediction, so that no case is picked for its attention maps.

    Raises:
        UsageError: an id that the split does not have.
    """
    if wanted:
        return np.array([_row_of(split, sample) for sample in dict.fromkeys(wanted)], np.int64), "chosen by id"
    count = np.sum([present(split, name) for name in MODALITIES], axis=0)
    fullest = np.flatnonzero(count == count.max())
    labels = split.labels[fullest]
    if not np.isfinite(labels).all():
        return fullest[: len(QUANTILES)], f"the first of {len(fullest)}, for there are no labels"
    if not task.is_score:
        first = [fullest[labels[:, column] > 0][:1] for column in range(labels.shape[1])]
        return np.unique(np.concatenate(first)), "the first sample of each emotion"
    order = fullest[np.argsort(labels, kind="stable")]
    places = sorted({round(quantile * (len(order) - 1)) for quantile in QUANTILES})
    shares = ", ".join(f"{100 * quantile:g}" for quantile in QUANTILES)
    return order[places], f"those at {shares} % of the samples with the most modalities, ordered by their label"


def present(split: Split, modality: str) -> BoolArray:
    """Which samples have a valid frame of it, (N,)."""
    frames = split.modalities.get(modality)
    return np.zeros(len(split), np.bool_) if frames is None else np.asarray(frames.valid.any(axis=1))


def drawn_rows(count: int, most: int, seed: int = 0) -> Rows:
    """At most that many of the rows, drawn without looking, in their order."""
    if count <= most:
        return np.arange(count, dtype=np.int64)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False)).astype(np.int64)


def words_of(split: Split, row: int) -> tuple[str, ...]:
    """The words of a sample where there is one for each valid frame of language; else none, for none can be placed."""
    frames = split.modalities.get("language")
    words = split.texts[row].split() if split.texts else []
    return tuple(words) if frames is not None and len(words) == frames.lengths[row] else ()


def _row_of(split: Split, sample: str) -> int:
    if sample in split.ids:
        return split.ids.index(sample)
    close = get_close_matches(sample, split.ids, n=1, cutoff=0.0)
    raise UsageError(f"there is no sample {sample!r} among these {len(split)}; the closest id is {close[0]!r}")
