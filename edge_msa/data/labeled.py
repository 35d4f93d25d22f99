"""Leave out samples without labels where labels are needed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import SPLITS, Dataset, Split, SplitName
from edge_msa.data.labels import unlabeled_note


def keep_labeled(dataset: Dataset, names: Collection[SplitName] = SPLITS) -> Dataset:
    """Return the dataset without the unlabeled samples of the named splits, with a note that counts them.

    A split without any label is unchanged, so that the command that needs its labels can refuse it.
    """
    splits, notes = dict(dataset.splits), list(dataset.notes)
    for name in names:
        if name not in splits:
            continue
        split = splits[name]
        labeled = is_labeled(split)
        if labeled.any() and not labeled.all():
            splits[name] = split.select(np.flatnonzero(labeled))
            note = unlabeled_note(name, len(split) - int(labeled.sum()), len(split))
            notes = [other for other in notes if other != note] + [f"{note}; left out"]
    return replace(dataset, splits=splits, notes=tuple(notes))


def is_labeled(split: Split) -> NDArray[np.bool_]:
    """Return which samples have a label, (N,)."""
    finite: NDArray[np.bool_] = np.isfinite(split.labels)
    return finite if finite.ndim == 1 else np.logical_and.reduce(finite, axis=1)
