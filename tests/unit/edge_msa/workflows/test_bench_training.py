from __future__ import annotations

from edge_msa.benchmark.throughput import Throughput
from edge_msa.workflows.bench_training import NO_GPU, format_training

CPU = Throughput("hrlf", "robust", 128, "CPU", "32", compiled=False, samples_per_second=500.0)
GPU = Throughput("hrlf", "robust", 128, "Some GPU", "bf16", compiled=True, samples_per_second=5000.0)


def test_without_a_gpu_the_table_says_so() -> None:
    assert NO_GPU in format_training([CPU])


def test_a_gpu_is_set_beside_the_cpu_of_the_same_run() -> None:
    table = format_training([CPU, GPU])
    assert NO_GPU not in table
    assert "10.00" in table.splitlines()[-1]
