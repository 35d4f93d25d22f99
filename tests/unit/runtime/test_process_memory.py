from __future__ import annotations

import mmap

import pytest

from edge_msa_runtime.process_memory import peak_memory_bytes, resident_memory_bytes


def test_peak_memory_includes_allocated_memory() -> None:
    allocated = bytearray(30_000_000)
    peak = peak_memory_bytes()
    assert peak is None or peak > len(allocated)


def test_the_resident_memory_is_that_of_now() -> None:
    before = resident_memory_bytes()
    if before is None:
        pytest.skip("only Linux reports it")
    with mmap.mmap(-1, 32_000_000) as block:  # new pages, unlike a block of the allocator
        block.write(b"\1" * len(block))
        grown = resident_memory_bytes()
    assert grown is not None
    assert grown - before > 16e6
