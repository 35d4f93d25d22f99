"""Measure untrained students of every size, and ALMT with every token computed, with interleaved timing."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_msa.benchmark.almt import EveryToken, random_almt
from edge_msa.benchmark.random_bundles import random_bundle
from edge_msa.config.recipes import SIZES, student_recipe
from edge_msa.console import activity
from edge_msa.data.tasks import MOSI
from edge_msa.models.almt import AlmtConfig
from edge_msa.text_tables import format_kilobytes, text_table
from edge_msa_export.graphs.onnx_export import ExportableModule, export_onnx
from edge_msa_export.provenance import Provenance
from edge_msa_runtime.backends import BackendOptions, open_backend
from edge_msa_runtime.backends.base import Program
from edge_msa_runtime.bundle.loader import open_bundle
from edge_msa_runtime.bundle.manifest import GraphKey
from edge_msa_runtime.modalities import Subset
from edge_msa_runtime.timing import time_interleaved

DIMS = {"language": 64, "audio": 74, "vision": 47}
"""Features per frame: a table of wordpieces, COVAREP, Facet."""
LENGTHS = {"language": 50, "audio": 375, "vision": 500}
PRECISIONS = ("fp32", "int8")
_WARMUP_RUNS = 5


@dataclass(frozen=True)
class StudentLatency:
    """Latency of the window graph of all three modalities, in milliseconds, and its speedup over ALMT.

    `p50_ms` and `min_ms` are of calls that each follow one call of every other graph, so that caches have lost the
    content of the previous call. `warm_ms` is the minimum of calls in blocks of the same graph, as `edge-msa bench
    BUNDLE` measures. Other programs on the machine interrupt long calls more often than short ones. The ratios of the
    minima, `min_speedup` and `warm_speedup`, are therefore the fair comparisons. `size_bytes` counts all files that the
    backend needs at that precision; it is None for ALMT.
    """

    name: str
    backend: str
    precision: str
    parameters: int
    size_bytes: int | None
    p50_ms: float
    min_ms: float
    warm_ms: float
    p50_speedup: float
    min_speedup: float
    warm_speedup: float


@dataclass(frozen=True)
class _Variant:
    name: str
    backend: str
    precision: str
    parameters: int
    size_bytes: int | None
    program: Program


def measure_students(*, threads: int, num_runs: int) -> tuple[StudentLatency, ...]:
    """Measure ALMT and every size, backend and precision of the student, all with random weights. ALMT comes first."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edge-msa-")))
        variants = [_load_almt(folder, threads)]
        for size in SIZES:
            config = student_recipe({"size": size}, "").network_config(DIMS, MOSI, takes_text=False)
            bundle = stack.enter_context(random_bundle(size, config, LENGTHS, PRECISIONS))
            variants += _load_student(size, bundle, threads)
        with activity(f"Measuring latency: {len(variants)} graphs, interleaved", is_timed=True):
            programs = [variant.program for variant in variants]
            latencies = _measure(programs, num_runs)
            warm = [
                float(values.min())
                for values in time_interleaved([program.run for program in programs], num_runs, _WARMUP_RUNS)
            ]
        for variant in variants:
            variant.program.close()
    almt_p50, almt_min = latencies[0]
    return tuple(
        StudentLatency(
            name=variant.name,
            backend=variant.backend,
            precision=variant.precision,
            parameters=variant.parameters,
            size_bytes=variant.size_bytes,
            p50_ms=p50,
            min_ms=least,
            warm_ms=warm_least,
            p50_speedup=almt_p50 / p50,
            min_speedup=almt_min / least,
            warm_speedup=warm[0] / warm_least,
        )
        for variant, (p50, least), warm_least in zip(variants, latencies, warm, strict=True)
    )


def format_latencies(latencies: Sequence[StudentLatency]) -> str:
    """Format the latencies as a table with one row per network, backend and precision."""
    header = ["", "backend", "precision", "parameters", "size KB", "p50 ms", "min ms", "warm ms"]
    header += ["p50 speedup", "min speedup", "warm speedup"]
    rows = [
        [
            item.name,
            item.backend,
            item.precision,
            f"{item.parameters:,}",
            format_kilobytes(item.size_bytes),
            f"{item.p50_ms:.3f}",
            f"{item.min_ms:.3f}",
            f"{item.warm_ms:.3f}",
            f"{item.p50_speedup:.1f}",
            f"{item.min_speedup:.1f}",
            f"{item.warm_speedup:.1f}",
        ]
        for item in latencies
    ]
    return text_table(header, rows, left=3)


def _load_almt(folder: Path, threads: int) -> _Variant:
    network = EveryToken(random_almt(AlmtConfig(DIMS, LENGTHS)))
    path = folder / "almt.onnx"
    path.write_bytes(export_onnx(ExportableModule(network, network.inputs, ("prediction",))).SerializeToString())
    program = open_backend("onnxruntime", BackendOptions(threads=threads)).load(path, "fp32")
    for buffer in program.inputs.values():
        buffer[...] = np.random.default_rng(0).standard_normal(buffer.shape)
    count = sum(parameter.numel() for parameter in network.parameters())
    return _Variant("almt", "onnxruntime", "fp32", count, None, program)


def _load_student(size: str, path: Path, threads: int) -> list[_Variant]:
    bundle = open_bundle(path)
    manifest = bundle.manifest
    parameters = Provenance.from_json(manifest.provenance).require_parameters()
    variants = []
    for name in manifest.backends:
        backend = open_backend(name, BackendOptions(threads=threads))
        for precision in bundle.precisions(name):
            spec = next(
                item
                for item in manifest.graphs
                if (item.backend, item.precision, item.key) == (name, precision, GraphKey.window(Subset.LAV))
            )
            program = backend.load(path / spec.file, precision)
            for label, buffer in program.inputs.items():
                is_mask = label.startswith("valid")
                buffer[...] = 1 if is_mask else np.random.default_rng(0).standard_normal(buffer.shape)
            size_bytes = sum((path / file).stat().st_size for file in bundle.graph_files(name, precision))
            variants.append(_Variant(size, name, precision, parameters, size_bytes, program))
    return variants


def _measure(programs: Sequence[Program], num_runs: int) -> list[tuple[float, float]]:
    """Return the median and the minimum latency of each program in milliseconds. Single calls alternate."""
    latencies: list[list[float]] = [[] for _ in programs]
    for _ in range(_WARMUP_RUNS + num_runs):
        for program, values in zip(programs, latencies, strict=True):
            started = time.perf_counter()
            program.run()
            values.append((time.perf_counter() - started) * 1e3)
    return [(statistics.median(values[_WARMUP_RUNS:]), min(values[_WARMUP_RUNS:])) for values in latencies]
