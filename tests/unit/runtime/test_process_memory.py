from __future__ import annotations

from edge_msa_runtime.process_memory import peak_memory_bytes


def test_peak_memory_includes_allocated_memory() -> None:
    allocated = bytearray(30_000_000)
    peak = peak_memory_bytes()
    assert peak is None or peak > len(allocated)
