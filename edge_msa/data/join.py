"""Several data sets' training samples in one split, each with the modalities and the labels that it has."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import Dataset, Frames, Split
from edge_msa_runtime.modalities import MODALITIES


def join_training(dataset: Dataset, others: Sequence[Dataset]) -> Dataset:
    """The dataset with the others' training samples behind its own; a modality that some lack has no valid frame there.

    The task and the widths must be the same, which the caller has seen to. Labels may be NaN. Ids of the others get
    their place in front, so that they stay unique.

    Raises:
        DataError: one of them has no training split.
    """
    if not others:
        return dataset
    parts = [dataset.split("train"), *(_renamed(other.split("train"), place) for place, other in enumerate(others, 1))]
    has = [name for name in MODALITIES if any(name in part.modalities for part in parts)]
    train = Split(
        tuple(sample for part in parts for sample in part.ids),
        tuple(group for part in parts for group in part.groups),
        np.concatenate([part.labels for part in parts]),
        {name: _joined([(part.modalities.get(name), len(part)) for part in parts]) for name in has},
    )
    digest = hashlib.sha256("".join(one.digest for one in (dataset, *others)).encode()).hexdigest()
    return replace(dataset, splits={**dataset.splits, "train": train}, digest=digest)


def _renamed(split: Split, place: int) -> Split:
    mark = f"transfer{place}/"
    ids, groups = (tuple(mark + name for name in names) for names in (split.ids, split.groups))
    return replace(split, ids=ids, groups=groups, texts=())


def _joined(parts: Sequence[tuple[Frames | None, int]]) -> Frames:
    """One modality of all parts; of one that lacks it, only how many samples it has."""
    there = [frames for frames, _ in parts if frames is not None]
    length, dim, table = max(frames.length for frames in there), there[0].dim, there[0].table
    nothing = {
        count: Frames(np.zeros((count, 1), np.bool_), np.zeros((count, 1, dim), np.float32)) for _, count in parts
    }
    valid = [_widened((frames or nothing[count]).valid, length) for frames, count in parts]
    if table is None or not all(f.table is not None and np.array_equal(f.table, table) for f in there):
        values = [_widened((frames or nothing[count]).take(), length) for frames, count in parts]
        return Frames(np.concatenate(valid), np.concatenate(values))
    ids = [np.zeros((count, length), np.int64) if f is None or f.ids is None else f.ids for f, count in parts]
    return Frames(np.concatenate(valid), ids=np.concatenate([_widened(item, length) for item in ids]), table=table)


def _widened(values: NDArray[Any], length: int) -> NDArray[Any]:
    room = [(0, 0), (0, length - values.shape[1])] + [(0, 0)] * (values.ndim - 2)
    return np.pad(values, room)
