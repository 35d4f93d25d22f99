from __future__ import annotations

import numpy as np

from edge_msa_runtime.backends.buffers import allocate_buffers, padded_size


def test_buffers_of_one_type_are_parts_of_one_array() -> None:
    single, integer = np.dtype(np.float32), np.dtype(np.int64)
    tensors = [("phase", (1, 1), single), ("ids", (1, 5), integer), ("tokens", (1, 3, 6), single)]
    buffers = allocate_buffers(tensors)
    for name, shape, dtype in tensors:
        assert (buffers[name].shape, buffers[name].dtype) == (shape, dtype)
    assert all(array.flags.c_contiguous and not array.any() for array in buffers.values())
    phase, tokens = buffers["phase"], buffers["tokens"]
    assert phase.base is tokens.base
    assert tokens.ctypes.data - phase.ctypes.data == padded_size(phase.shape, phase.dtype) * 4 == 64
    tokens[...] = 1
    assert phase.item() == 0
    assert not buffers["ids"].any()
