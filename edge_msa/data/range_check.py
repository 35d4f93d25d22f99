"""Numbers that the runtime would refuse, found before anything is trained on them."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from edge_msa.data.dataset import Dataset, Frames
from edge_msa.errors import DataError
from edge_msa_runtime.inputs.validation import MAX_ABSOLUTE_VALUE


def check_value_range(dataset: Dataset, dims: Collection[str]) -> None:
    """Look at those modalities of training and validation.

    Raises:
        DataError: a valid frame has a number that no device takes.
    """
    for split in ("train", "valid"):
        for name, frames in dataset.splits[split].modalities.items():
            if name not in dims:
                continue
            worst = _worst(frames)
            if abs(worst) > float(np.float32(MAX_ABSOLUTE_VALUE)):  # as the runtime compares
                raise DataError(
                    f"{name} of {split} in {dataset.name} has the value {worst:g}; devices take numbers within "
                    f"{MAX_ABSOLUTE_VALUE:g}: repair it, or mask the frame and set it to 0"
                )


def _worst(frames: Frames) -> float:
    """The number farthest from 0 in a valid frame, or in the table."""
    if frames.table is not None:
        return max(float(frames.table.max()), float(frames.table.min()), key=abs)
    assert frames.values is not None  # noqa: S101 - held by Frames
    seen = frames.valid[..., None]
    bounds = (frames.values.max(initial=0, where=seen), frames.values.min(initial=0, where=seen))
    return max(map(float, bounds), key=abs)
