"""Append the training samples of other datasets to a train split."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import Dataset, Frames, Split
from edge_msa.errors import DataError
from edge_msa_runtime.features import UNKNOWN, FeatureSource, fill_features, list_differences
from edge_msa_runtime.modalities import MODALITIES


def join_train_splits(dataset: Dataset, others: Sequence[Dataset]) -> Dataset:
    """Return the dataset with the training samples of the others appended to its own.

    Samples that lack a modality have no valid frame of it. Labels may be NaN. The ids and groups of the others get a
    prefix, so that they stay unique. Texts are dropped. The caller must make sure that tasks and numbers of features
    agree. About the features of a modality, the first dataset that has it is believed.

    Raises:
        DataError: One of the datasets has no train split, or has other features: frames of two extractors in one
            modality would make teachers and students wrong without a sign.
    """
    if not others:
        return dataset
    parts = [dataset.split("train"), *(_add_prefix(other.split("train"), n) for n, other in enumerate(others, 1))]
    names = [name for name in MODALITIES if any(name in part.modalities for part in parts)]
    train = Split(
        tuple(sample for part in parts for sample in part.ids),
        tuple(group for part in parts for group in part.groups),
        np.concatenate([part.labels for part in parts]),
        {name: _join_frames([(part.modalities.get(name), len(part)) for part in parts]) for name in names},
        positions=_join_positions(parts),
    )
    digest = hashlib.sha256("".join(part.digest for part in (dataset, *others)).encode()).hexdigest()
    features = _join_features([dataset, *others])
    return replace(dataset, splits={**dataset.splits, "train": train}, digest=digest, features=features)


def _join_features(datasets: Sequence[Dataset]) -> dict[str, FeatureSource]:
    """Return what the first dataset with each modality states about it.

    Raises:
        DataError: A dataset contradicts an earlier one.
    """
    joined: dict[str, FeatureSource] = {}
    stated: dict[str, FeatureSource] = {}
    for dataset in datasets:
        if differences := list_differences(stated, dataset.features):
            raise DataError(
                f"{dataset.name} must have the features of {datasets[0].name}, got others ({differences}). "
                f"Compute them as for {datasets[0].name}. To correct a wrong statement, run: "
                "edge-msa data convert FILE --output OUTPUT.npz --features FILE.toml"
            )
        stated = fill_features(stated, dataset.features)
        joined = {**{name: dataset.features.get(name, UNKNOWN) for name in dataset.dims}, **joined}
    return {name: source for name, source in joined.items() if not source.is_empty}


def _join_positions(parts: Sequence[Split]) -> tuple[float, ...]:
    if not any(part.positions for part in parts):
        return ()
    return tuple(position for part in parts for position in part.positions or (math.nan,) * len(part))


def _add_prefix(split: Split, number: int) -> Split:
    prefix = f"transfer{number}/"
    ids, groups = (tuple(prefix + name for name in names) for names in (split.ids, split.groups))
    return replace(split, ids=ids, groups=groups, texts=())


def _join_frames(parts: Sequence[tuple[Frames | None, int]]) -> Frames:
    """Join one modality. Each part is its frames, or None if it lacks the modality, and its number of samples."""
    available = [frames for frames, _ in parts if frames is not None]
    first, length = available[0], max(frames.length for frames in available)
    dim, table, encoder = first.dim, first.table, first.encoder
    empty = {count: Frames(np.zeros((count, 1), np.bool_), np.zeros((count, 1, dim), np.float32)) for _, count in parts}
    valid = [_pad((frames or empty[count]).valid, length) for frames, count in parts]
    if encoder is not None and all(frames.encoder is encoder for frames in available):
        padding = [np.full((count, 1), -1) if f is None or f.ids is None else f.ids for f, count in parts]
        tokens = np.concatenate([_pad(item, length, -1) for item in padding])
        return Frames(np.concatenate(valid), ids=tokens, encoder=encoder)
    if table is None or not all(f.table is not None and np.array_equal(f.table, table) for f in available):
        values = [_pad((frames or empty[count]).take(), length) for frames, count in parts]
        return Frames(np.concatenate(valid), np.concatenate(values))
    ids = [np.zeros((count, length), np.int64) if f is None or f.ids is None else f.ids for f, count in parts]
    return Frames(np.concatenate(valid), ids=np.concatenate([_pad(item, length) for item in ids]), table=table)


def _pad(values: NDArray[Any], length: int, filler: int = 0) -> NDArray[Any]:
    """Pad axis 1 with `filler` to `length`."""
    widths = [(0, 0), (0, length - values.shape[1])] + [(0, 0)] * (values.ndim - 2)
    return np.pad(values, widths, constant_values=filler)
