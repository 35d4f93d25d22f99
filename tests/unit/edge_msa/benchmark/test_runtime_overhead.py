from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edge_msa.benchmark import runtime_overhead
from edge_msa.benchmark.random_bundles import random_bundle
from edge_msa.benchmark.runtime_overhead import RuntimeOverhead, format_overhead, measure_overhead
from edge_msa.models.student import StudentConfig
from edge_msa_export.text import bucket_lengths
from edge_msa_runtime.backends.base import Backend, Program
from edge_msa_runtime.bundle.golden import GoldenCase, load_golden
from edge_msa_runtime.bundle.loader import Bundle
from edge_msa_runtime.bundle.manifest import GraphKey
from edge_msa_runtime.modalities import Subset


def test_overhead_is_what_a_call_takes_beyond_its_graphs() -> None:
    item = RuntimeOverhead("onnxruntime", "fp32", "push lav and predict", 4, 100.0, 128.0)
    assert (item.overhead_us, item.overhead_per_backend_call_us) == (28.0, 7.0)
    assert format_overhead([item]).splitlines()[-1].split()[-2:] == ["28.0", "7.0"]


@pytest.mark.slow
def test_every_backend_predicts_and_streams() -> None:
    config = StudentConfig({"audio": 4}, width=8, blocks=1, tokens=1, hidden=4)
    with random_bundle("one-modality", config, {"audio": 6}, ("fp32",)) as path:
        results = measure_overhead(Path(path), threads=1, num_runs=3)
    assert {item.backend for item in results} == {"openvino", "onnxruntime"}
    assert [item.backend_calls for item in results] == [1, 2, 1, 2]
    assert all(item.bare_us > 0 for item in results)


@pytest.mark.slow
def test_the_bare_call_runs_the_graph_that_the_runtime_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Language alone has graphs for short texts."""

    def load_short(bundle: Bundle) -> list[GoldenCase]:
        return [
            replace(case, frames={name: values[:5] for name, values in case.frames.items()})
            for case in load_golden(bundle)
        ]

    loaded: list[str] = []

    def load(backend: Backend, path: Path, precision: str = "fp32") -> Program:
        loaded.append(path.stem)
        return backend.compile(path, precision)()

    monkeypatch.setattr(runtime_overhead, "load_golden", load_short)
    monkeypatch.setattr(Backend, "load", load)
    config = StudentConfig({"language": 4}, width=8, blocks=1, tokens=1, hidden=4)
    with random_bundle("language", config, {"language": 20}, ("fp32",)) as path:
        loaded.clear()
        measure_overhead(path, threads=1, num_runs=3)
    keys = (GraphKey.window(Subset.L, bucket_lengths(20)[0]), GraphKey.step("language"), GraphKey.fuse(["language"]))
    assert loaded == [key.file_stem for key in keys] * 2
