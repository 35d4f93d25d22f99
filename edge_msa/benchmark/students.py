"""`edge-msa bench students`: the student's sizes against ALMT with every token computed, all in one run."""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_msa.benchmark.almt import EveryToken
from edge_msa.benchmark.long_windows import random_bundle
from edge_msa.config.recipes import STUDENT_SIZES, student_recipe
from edge_msa.console import remark, say, say_json
from edge_msa.data.tasks import MOSI
from edge_msa.models.almt import AlmtConfig
from edge_msa.text_tables import ABSENT, text_table
from edge_msa_export.graphs.export import to_onnx
from edge_msa_runtime.backends import BackendOptions, open_backend
from edge_msa_runtime.backends.base import Program
from edge_msa_runtime.bundle.reader import open_bundle
from edge_msa_runtime.modalities import Subset

DIMS = {"language": 64, "audio": 74, "vision": 47}
"""Features a frame: a table of wordpieces, COVAREP, Facet."""
LENGTHS = {"language": 50, "audio": 375, "vision": 500}
PRECISIONS = ("fp32", "int8")
_WARM = 5


@dataclass(frozen=True)
class StudentTimes:
    """One window graph of all three modalities: milliseconds of a call, and how many times as fast as ALMT it is.

    `p50` and `least` of all calls; on a machine that others use, a long call is interrupted more often than a short
    one, so the ratio of the least is the fair one. `parameters` of the network, `size_bytes` of all files that the
    backend needs at that precision; None of ALMT.
    """

    name: str
    backend: str
    precision: str
    parameters: int
    size_bytes: int | None
    p50: float = 0.0
    least: float = 0.0
    ratio: float = 1.0
    ratio_of_least: float = 1.0


def bench_students(*, threads: int, num_runs: int, json: bool) -> tuple[StudentTimes, ...]:
    """Measure untrained students of every size and ALMT in turns, and print the table."""
    lengths = "/".join(map(str, LENGTHS.values()))
    dims = "/".join(map(str, DIMS.values()))
    remark(f"random weights, {lengths} frames of {dims} features, {threads} threads; ALMT computes every token")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edge-msa-")))
        entries = [_almt(folder, threads)]
        for size in STUDENT_SIZES:
            config = student_recipe({"size": size}, "").config(DIMS, MOSI)
            bundle = stack.enter_context(random_bundle(size, config, LENGTHS, PRECISIONS))
            entries += _student(size, bundle, threads)
        times = _timed([program for program, _ in entries], num_runs)
        for program, _ in entries:
            program.close()
    found = tuple(
        dataclasses.replace(entry, p50=p50, least=least, ratio=times[0][0] / p50, ratio_of_least=times[0][1] / least)
        for (_, entry), (p50, least) in zip(entries, times, strict=True)
    )
    say(format_times(found))
    if json:
        say_json({"students": [dataclasses.asdict(item) for item in found]})
    return found


def format_times(found: Sequence[StudentTimes]) -> str:
    """A row for each network, backend and precision."""
    header = ["", "backend", "precision", "parameters", "size KB", "p50 ms", "least ms", "ALMT / p50", "ALMT / least"]
    rows = [
        [
            item.name,
            item.backend,
            item.precision,
            f"{item.parameters:,}",
            ABSENT if item.size_bytes is None else f"{item.size_bytes / 1e3:.0f}",
            f"{item.p50:.3f}",
            f"{item.least:.3f}",
            f"{item.ratio:.1f}",
            f"{item.ratio_of_least:.1f}",
        ]
        for item in found
    ]
    return text_table(header, rows, left=3)


def _almt(folder: Path, threads: int) -> tuple[Program, StudentTimes]:
    network = EveryToken(AlmtConfig(DIMS, LENGTHS))
    path = folder / "almt.onnx"
    path.write_bytes(to_onnx(network, network.inputs, ["prediction"]).SerializeToString())
    program = open_backend("onnxruntime", BackendOptions(threads=threads)).load(path, "fp32")
    for buffer in program.inputs.values():
        buffer[...] = np.random.default_rng(0).standard_normal(buffer.shape)
    count = sum(parameter.numel() for parameter in network.parameters())
    return program, StudentTimes("almt", "onnxruntime", "fp32", count, None)


def _student(size: str, path: Path, threads: int) -> list[tuple[Program, StudentTimes]]:
    bundle = open_bundle(path)
    manifest, found = bundle.manifest, []
    parameters: Mapping[str, int] = manifest.provenance
    for name in manifest.backends:
        backend = open_backend(name, BackendOptions(threads=threads))
        for precision in bundle.precisions(name):
            spec = next(
                item
                for item in manifest.graphs
                if (item.backend, item.precision, item.role, item.scope)
                == (name, precision, "window", Subset.LAV.value)
            )
            program = backend.load(path / spec.file, precision)
            for label, buffer in program.inputs.items():
                full = label.startswith("valid")
                buffer[...] = 1 if full else np.random.default_rng(0).standard_normal(buffer.shape)
            files = sum((path / file).stat().st_size for file in bundle.graph_files(name, precision))
            entry = StudentTimes(size, name, precision, parameters["parameters"], files)
            found.append((program, entry))
    return found


def _timed(programs: Sequence[Program], num_runs: int) -> list[tuple[float, float]]:
    """Median and least milliseconds of each, called in turns."""
    taken: list[list[float]] = [[] for _ in programs]
    for _ in range(_WARM + num_runs):
        for program, times in zip(programs, taken, strict=True):
            started = time.perf_counter()
            program.run()
            times.append((time.perf_counter() - started) * 1e3)
    return [(statistics.median(times[_WARM:]), min(times[_WARM:])) for times in taken]
