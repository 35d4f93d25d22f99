"""`edge-msa bench`: measure latency, size, memory and training throughput."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from edge_msa.benchmark import almt, runtime_overhead, students, throughput
from edge_msa.benchmark.bundles import bench_bundles, format_bench_records
from edge_msa.benchmark.random_bundles import long_window_bundle
from edge_msa.benchmark.records import BenchRecord, write_records
from edge_msa.benchmark.remote import RemoteConfig, bench_on_host
from edge_msa.console import print_json, print_notes, print_output, print_progress, print_result
from edge_msa_runtime.backends import check_backend_name
from edge_msa_runtime.bundle.loader import Bundle, open_bundle


def bench(
    paths: Sequence[Path],
    *,
    backend: str = "auto",
    threads: int = 1,
    num_runs: int = 200,
    rate: float | None = None,
    remote: RemoteConfig | None = None,
    output: Path | None = None,
    json: bool = False,
) -> tuple[BenchRecord, ...]:
    """Measure every backend and precision of bundles, print a table, and write the records to `output`.

    Args:
        paths: The bundles.
        backend: A name, or `auto` for all backends of each bundle.
        threads: CPU threads of one prediction.
        num_runs: Timed predictions per modality subset.
        rate: Predictions per second; None starts each one when the previous one ends.
        remote: A device to measure on; None measures on this machine.
        output: JSON file for the records.
        json: Also print the records as one line of JSON.
    """
    if backend != "auto":
        check_backend_name(backend)
    records: list[BenchRecord] = []
    if remote is not None:
        for path in paths:
            records += bench_on_host(path, remote, backend=backend, threads=threads, num_runs=num_runs, rate=rate)
    else:
        opened = [open_bundle(path) for path in paths]
        print_notes(note for bundle in opened for note in bundle.notes)
        for modalities, bundles in _group_by_modalities(opened).items():
            print_progress(f"Measuring {len(bundles)} bundles with {', '.join(modalities)}.")
            records += bench_bundles(bundles, backend=backend, threads=threads, num_runs=num_runs, rate=rate)
    print_result(format_bench_records(records))
    if output:
        write_records(output, *records)
        print_output("bench", output, f"edge-msa report {output}")
    if json:
        print_json({"records": [record.to_json() for record in records]})
    return tuple(records)


def bench_long_windows(
    *,
    backend: str = "auto",
    threads: int = 1,
    num_runs: int = 200,
    rate: float | None = None,
    remote: RemoteConfig | None = None,
    output: Path | None = None,
    json: bool = False,
) -> tuple[BenchRecord, ...]:
    """Measure a large untrained student on windows of 500 frames. The arguments are those of `bench`."""
    with long_window_bundle() as path:
        return bench(
            [path],
            backend=backend,
            threads=threads,
            num_runs=num_runs,
            rate=rate,
            remote=remote,
            output=output,
            json=json,
        )


def bench_students(*, threads: int, num_runs: int, json: bool) -> None:
    """Measure untrained students of every size and ALMT, and print a table."""
    lengths = "/".join(map(str, students.LENGTHS.values()))
    dims = "/".join(map(str, students.DIMS.values()))
    print_progress(f"Random weights, {lengths} frames of {dims} features, {threads} threads.")
    latencies = students.measure_students(threads=threads, num_runs=num_runs)
    print_result(students.format_latencies(latencies))
    if json:
        print_json({"students": [dataclasses.asdict(latency) for latency in latencies]})


def bench_runtime(bundle: Path | None, *, threads: int, num_runs: int, json: bool) -> None:
    """Measure what the runtime adds to the calls of a backend, and print a table.

    Args:
        bundle: The bundle (default: that of an untrained student).
        threads: CPU threads of one prediction.
        num_runs: Timed calls of each kind.
        json: Also print the results as one line of JSON.
    """
    with runtime_overhead.untrained_bundle() if bundle is None else contextlib.nullcontext(bundle) as path:
        results = runtime_overhead.measure_overhead(path, threads=threads, num_runs=num_runs)
    print_result(runtime_overhead.format_overhead(results))
    if json:
        print_json({"runtime": [dataclasses.asdict(item) | {"overhead_us": item.overhead_us} for item in results]})


def bench_almt(*, threads: int, num_runs: int, json: bool) -> None:
    """Measure ALMT with and without computing the tokens that do not affect its prediction, and print a table."""
    lengths = "/".join(map(str, almt.MOSI.lengths.values()))
    print_progress(f"ALMT with random weights, {lengths} frames, torch on the CPU, {threads} threads.")
    latencies = almt.measure_almt(threads=threads, num_runs=num_runs)
    print_result(almt.format_latencies(latencies))
    if json:
        print_json({"almt": [dataclasses.asdict(latency) | {"speedup": latency.speedup} for latency in latencies]})


def bench_training(*, json: bool) -> None:
    """Measure the training throughput of both teachers on each device of this machine, and print a table."""
    for model in throughput.MODELS:
        shapes = ", ".join(f"{name} {frames} x {width}" for name, (frames, width) in throughput.SHAPES[model].items())
        print_progress(f"{model}: random features ({shapes}), published batch size, complete training steps.")
    hardware = throughput.available_hardware()
    results = [throughput.measure_throughput(item, model) for model in throughput.MODELS for item in hardware]
    print_result(throughput.format_throughput(results))
    if json:
        print_json({"training": [dataclasses.asdict(result) for result in results]})


def _group_by_modalities(bundles: Sequence[Bundle]) -> dict[tuple[str, ...], list[Bundle]]:
    groups: dict[tuple[str, ...], list[Bundle]] = {}
    for bundle in bundles:
        groups.setdefault(tuple(bundle.manifest.modalities), []).append(bundle)
    return groups
