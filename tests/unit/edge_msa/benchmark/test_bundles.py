from __future__ import annotations

from pathlib import Path

import pytest

from edge_msa.benchmark import bundles
from edge_msa.benchmark.records import BenchRecord
from edge_msa.errors import BackendUnavailableError
from edge_msa_runtime.benchmark.bench import ComparedWith
from edge_msa_runtime.benchmark.energy import Energy
from edge_msa_runtime.benchmark.latency_statistics import Measured
from edge_msa_runtime.benchmark.processes import Plan
from edge_msa_runtime.bundle.loader import open_bundle
from tests.unit.runtime.fake_bundles import write_bundle

QUICK = Plan(processes=1, repeats=3, warmup=0, looks=1)


def test_a_backend_that_cannot_run_has_a_record_without_latencies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bundle(tmp_path / "bundle", backends=["onnxruntime"], names=["audio"])
    bundle = open_bundle(tmp_path / "bundle")
    (record,) = bundles.bench_bundles([bundle], plan=QUICK)
    assert (record.processes, record.predictions, record.executed) == (1, {"a": 3}, True)
    assert record.load_ms is not None
    assert record.peak_memory_mib is not None
    monkeypatch.setattr(bundles, "unavailable_reason", lambda _: "No onnxruntime here.")
    with pytest.raises(BackendUnavailableError, match="No backend of"):
        bundles.bench_bundles([bundle], plan=QUICK)


def test_the_table_shows_intervals_comparisons_noise_and_energy() -> None:
    record = BenchRecord(
        *("bundle", "laptop-x86", "onnxruntime", "int8", "CPU"),
        latency_ms={"a": {"p50": Measured(0.05)}, "lav": {"p50": Measured(0.1, 0.09, 0.12), "p99": None}},
        comparisons=(
            ComparedWith("bundle", "onnxruntime", "fp32", "lav", "faster", Measured(0.8, 0.7, 0.9), processes=5),
            ComparedWith("other", "onnxruntime", "int8", "lav", "cannot tell", Measured(1.1), processes=1),
        ),
        energy=Energy("lav", "RAPL package-0", Measured(1.5, 1.4, 1.6)),
        noise=("Other programs used 45% of the CPU time. Close them.",),
    )
    text = bundles.format_bench_records([record])
    assert "0.100 (0.0900-0.120)" in text
    assert text.count("1.50 (1.40-1.60)") == 1  # the energy is that of lav
    assert "int8 compared with onnxruntime fp32: faster, 0.800 (0.700-0.900) times its p50 on lav" in text
    assert "compared with onnxruntime int8 of other: cannot tell, 1.10 times its p50 on lav" in text
    assert "noise: Other programs used 45% of the CPU time." in text
