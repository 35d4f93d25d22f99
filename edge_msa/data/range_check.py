"""Reject feature values that the runtime would refuse, before anything is trained on them."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from edge_msa.data.dataset import Dataset, Frames
from edge_msa.errors import DataError
from edge_msa_runtime.inputs.validation import MAX_ABSOLUTE_VALUE

_CHUNK = 256  # samples per step: limits the size of copies of a large array


def check_value_range(dataset: Dataset, modalities: Collection[str]) -> None:
    """Check the valid frames, or the embedding table, of the named modalities in the training and validation splits.

    Raises:
        DataError: A value is larger than the runtime accepts.
    """
    for split in ("train", "valid"):
        for name, frames in dataset.splits[split].modalities.items():
            if name not in modalities:
                continue
            largest = _largest_value(frames)
            if abs(largest) > float(np.float32(MAX_ABSOLUTE_VALUE)):  # the runtime compares float32 values
                raise DataError(
                    f"{name} of {split} in {dataset.name} must be within ±{MAX_ABSOLUTE_VALUE:g}, got {largest:g}. "
                    "Correct the value, or mark the frame as not valid and set it to 0."
                )


def _largest_value(frames: Frames) -> float:
    """Return the value with the largest magnitude in the valid frames, or in the embedding table.

    Frames of a text encoder are computed when they are needed and are not checked; 0 stands for them.
    """
    if frames.encoder is not None:
        return 0.0
    if frames.table is not None:
        return max(float(frames.table.max()), float(frames.table.min()), key=abs)
    bounds = [0.0]
    for start in range(0, len(frames.valid), _CHUNK):
        values = frames.take(slice(start, start + _CHUNK))
        bounds += (float(values.max(initial=0)), float(values.min(initial=0)))
    return max(bounds, key=abs)
