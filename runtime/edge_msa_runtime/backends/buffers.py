"""The buffers of programs on the CPU: parts of one array per type, so that several can be copied at once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Iterable, Sequence

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ALIGNMENT = 64  # bytes


def allocate_buffers(tensors: Iterable[tuple[str, Sequence[int], Any]]) -> dict[str, NDArray[Any]]:
    """Return a zeroed array for each name, shape and type. A program of a backend on the CPU uses them as its buffers.

    Those of one type are parts of one array, in their order, so that several of them can be copied at once. From each
    to the next one it is `padded_size` elements.
    """
    chosen = [(name, tuple(shape), np.dtype(dtype)) for name, shape, dtype in tensors]
    totals: dict[np.dtype[Any], int] = {}
    for _, shape, dtype in chosen:
        totals[dtype] = totals.get(dtype, 0) + padded_size(shape, dtype)
    blocks = {dtype: np.zeros(total, dtype) for dtype, total in totals.items()}
    starts = dict.fromkeys(blocks, 0)
    buffers: dict[str, NDArray[Any]] = {}
    for name, shape, dtype in chosen:
        start = starts[dtype]
        buffers[name] = blocks[dtype][start : start + math.prod(shape)].reshape(shape)
        starts[dtype] += padded_size(shape, dtype)
    return buffers


def padded_size(shape: Sequence[int], dtype: np.dtype[Any]) -> int:
    """Return the number of elements that an array takes in `allocate_buffers`."""
    step = max(1, _ALIGNMENT // dtype.itemsize)
    return -(-math.prod(shape) // step) * step
