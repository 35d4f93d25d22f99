from __future__ import annotations

from pathlib import Path

from edge_msa.benchmark.random_bundles import random_bundle
from edge_msa.benchmark.runtime_overhead import RuntimeOverhead, format_overhead, measure_overhead
from edge_msa.models.student import StudentConfig


def test_overhead_is_what_a_call_takes_beyond_its_graphs() -> None:
    item = RuntimeOverhead("onnxruntime", "fp32", "push lav and predict", 4, 100.0, 128.0)
    assert (item.overhead_us, item.overhead_per_backend_call_us) == (28.0, 7.0)
    assert format_overhead([item]).splitlines()[-1].split()[-2:] == ["28.0", "7.0"]


def test_every_backend_predicts_and_streams() -> None:
    config = StudentConfig({"audio": 4}, width=8, blocks=1, tokens=1, hidden=4)
    with random_bundle("one-modality", config, {"audio": 6}, ("fp32",)) as path:
        results = measure_overhead(Path(path), threads=1, num_runs=3)
    assert {item.backend for item in results} == {"openvino", "onnxruntime"}
    assert [item.backend_calls for item in results] == [1, 2, 1, 2]
    assert all(item.bare_us > 0 for item in results)
