"""`edge-msa bench`: measure latency, size, memory and training throughput."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_msa.arguments import AnyPath, check_count, describe_value, path_of, paths_of
from edge_msa.benchmark import almt, runtime_overhead, students, throughput
from edge_msa.benchmark.bundles import bench_bundles, format_bench_records
from edge_msa.benchmark.random_bundles import long_window_bundle
from edge_msa.benchmark.records import BenchRecord, write_records
from edge_msa.benchmark.remote import RemoteConfig, bench_on_host, remote_config
from edge_msa.console import print_notes, print_progress, report_progress
from edge_msa.errors import UsageError
from edge_msa.result_tables import Row, Table
from edge_msa.workflows.api import OnProgress, api
from edge_msa.workflows.outputs import output_file
from edge_msa_runtime.backends import check_backend_name
from edge_msa_runtime.benchmark.latency_statistics import MIN_PROCESSES, PERCENTILES, Measured
from edge_msa_runtime.benchmark.processes import MAX_PROCESSES, Job, Plan
from edge_msa_runtime.benchmark.selfcheck import check_machine, format_selfcheck
from edge_msa_runtime.bundle.loader import Bundle, open_bundle
from edge_msa_runtime.modalities import subsets_of
from edge_msa_runtime.wording import format_count


@dataclass(frozen=True, repr=False)
class Benchmark(Table):
    """Latency, size, load time and memory of bundles, for every backend and precision."""

    records: tuple[BenchRecord, ...]
    """One per bundle, backend and precision."""

    def __repr__(self) -> str:
        """Return what was measured."""
        names = ", ".join(dict.fromkeys(record.name for record in self.records))
        fastest = min(
            (latency["p50"] for record in self.records for latency in record.latency_values().values()), default=None
        )
        best = "" if fastest is None else f", fastest p50 {fastest:.3g} ms"
        return f"<Benchmark of {names}: {len(self.records)} backends and precisions{best}>"

    def __str__(self) -> str:
        """Return the table for people."""
        return format_bench_records(self.records)

    @property
    def rows(self) -> tuple[Row, ...]:
        """One row per bundle, backend, precision and subset; one without a subset for what could not run here."""
        none: Mapping[str, Mapping[str, Measured | None]] = {"": {}}
        return tuple(
            {
                "name": record.name,
                "target": record.target,
                "backend": record.backend,
                "precision": record.precision,
                "device": record.device,
                "chosen": record.chosen,
                "subset": subset or None,
                **{f"{name}_ms": _value(latency.get(name)) for name in (*PERCENTILES, "max")},
                **{f"p50_ms_{end}": getattr(latency.get("p50"), end, None) for end in ("low", "high")},
                "predictions": record.predictions.get(subset),
                "processes": record.processes,
                "size_bytes": record.size_bytes,
                "load_ms": _value(record.load_ms),
                "peak_memory_mib": _value(record.peak_memory_mib),
                "mj_per_prediction": _energy(record, subset),
                "note": record.note,
            }
            for record in self.records
            for subset, latency in (record.latency_ms or none).items()
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"records": [record.to_json() for record in self.records]}


def _energy(record: BenchRecord, subset: str) -> float | None:
    energy = record.energy
    return None if energy is None or energy.subset != subset else _value(energy.mj_per_prediction)


def _value(measured: Measured | None) -> float | None:
    return None if measured is None else measured.value


@api
def bench(
    bundles: AnyPath | Sequence[AnyPath],
    *,
    backend: str = "auto",
    threads: int = 1,
    processes: int = MIN_PROCESSES,
    repeats: int = 1000,
    rate: float | None = None,
    host: str | None = None,
    ssh_options: Sequence[str] = (),
    python: str = "python3",
    keep: bool = False,
    offline: bool = False,
    output: AnyPath | None = None,
    overwrite: bool = False,
    verbose: bool = False,
    on_progress: OnProgress | None = None,
) -> Benchmark:
    """Measure latency, size, load time, memory and energy of bundles, here or on a device over ssh.

    Every backend and precision of a bundle is measured in fresh processes, for every subset of modalities. Bundles with
    the same modalities are measured together, interleaved, and compared.

    Args:
        bundles: One bundle or several: results of `export`, or paths.
        backend: Backend to measure (default: all of each bundle that are available).
        threads: CPU threads of one prediction, 1 to 256.
        processes: Fresh processes of each backend and precision. Intervals need at least two, and should have five.
        repeats: Timed predictions per subset of modalities, of all processes together.
        rate: Predictions per second (default: each starts when the previous one ends).
        host: Device to measure on over ssh, `"user@device"` (default: this machine). The bundle is copied there,
            verified, measured and removed.
        ssh_options: With `host`: options for ssh, for example `["Port=2222"]`.
        python: With `host`: Python interpreter on the device.
        keep: With `host`: whether to keep the temporary folder on the device.
        offline: With `host`: whether to install nothing, and use the backends that the device has.
        output: JSON file to write with the measurements, for `report`.
        overwrite: Whether to replace an existing file.
        verbose: Whether to print progress and notes.
        on_progress: Called before each round of processes; not with `host`.

    Returns:
        The measurements, as a table with one row per backend, precision and subset. Latencies are in milliseconds.

    Raises:
        UsageError: An argument is invalid, or a path is no bundle.
        BundleError: A bundle is damaged.
        BackendUnavailableError: The device cannot be reached, or a backend is not available there.

    Examples:
        >>> table = em.bench(["bundle-a", "bundle-b"], repeats=500)
        >>> table.to_pandas()
    """
    paths = paths_of(bundles, "bundles", "a bundle, or a list of bundles")
    remote = remote_config(host, ssh_options, python, keep=keep, offline=offline)
    options = _Options(backend, threads, processes, repeats, rate, remote)
    output_path = None if output is None else output_file(output, "output", paths)
    return _measure(paths, options, output_path)


@api
def bench_long_windows(
    *,
    backend: str = "auto",
    threads: int = 1,
    processes: int = MIN_PROCESSES,
    repeats: int = 1000,
    rate: float | None = None,
    host: str | None = None,
    ssh_options: Sequence[str] = (),
    python: str = "python3",
    keep: bool = False,
    offline: bool = False,
    output: AnyPath | None = None,
    overwrite: bool = False,
    verbose: bool = False,
    on_progress: OnProgress | None = None,
) -> Benchmark:
    """Measure a large untrained student on windows of 500 frames, where int8 is faster than fp32.

    Arguments, result and errors are those of `bench`.
    """
    remote = remote_config(host, ssh_options, python, keep=keep, offline=offline)
    options = _Options(backend, threads, processes, repeats, rate, remote)
    output_path = None if output is None else output_file(output, "output")
    with long_window_bundle() as path:
        return _measure([path], options, output_path)


@dataclass(frozen=True)
class _Options:
    """How bundles are measured.

    Raises:
        UsageError: A value is invalid.
    """

    backend: str
    threads: int
    processes: int
    repeats: int
    rate: float | None
    remote: RemoteConfig | None

    def __post_init__(self) -> None:
        _check_counts(self.threads, self.repeats)
        check_count(self.processes, "processes", most=MAX_PROCESSES)
        if self.rate is not None and not (isinstance(self.rate, int | float) and 0 < self.rate < math.inf):
            value = describe_value(self.rate)
            raise UsageError(f"rate must be a positive number of predictions per second, got {value}.")
        if self.backend != "auto":
            check_backend_name(self.backend)


def _measure(paths: Sequence[Path], options: _Options, output: Path | None) -> Benchmark:
    """Measure bundles on a device; without one, on this machine. Write the measurements to a file, if there is one."""
    records: list[BenchRecord] = []
    plan = Plan(processes=options.processes, repeats=options.repeats, rate=options.rate)
    if options.remote is not None:
        for path in paths:
            records += bench_on_host(path, options.remote, backend=options.backend, threads=options.threads, plan=plan)
    else:
        opened = [open_bundle(path) for path in paths]
        print_notes(note for bundle in opened for note in bundle.notes)
        for modalities, group in _group_by_modalities(opened).items():
            print_progress(f"Measuring {format_count(len(group), 'bundle')} with {', '.join(modalities)}.")
            records += bench_bundles(group, backend=options.backend, threads=options.threads, plan=plan)
    if output is not None:
        write_records(output, *records)
    return Benchmark(tuple(records))


def _check_counts(threads: object, repeats: object) -> None:
    check_count(threads, "threads", most=256)
    check_count(repeats, "repeats")


@dataclass(frozen=True)
class Measurements(Table):
    """A table of measurements that are not of your own bundles: of untrained students, ALMT, or the runtime."""

    name: str
    """What was measured: `students`, `almt`, `runtime`, `selfcheck` or `training`."""
    items: tuple[Row, ...]
    """One row per measured thing."""
    text: str
    """The table for people."""

    @property
    def rows(self) -> tuple[Row, ...]:
        """One row per measured thing."""
        return self.items

    def __str__(self) -> str:
        """Return the table for people."""
        return self.text

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {self.name: [dict(row) for row in self.rows]}


@api
def bench_students(
    *,
    threads: int = 1,
    repeats: int = 200,
    verbose: bool = False,
    on_progress: OnProgress | None = None,
) -> Measurements:
    """Measure untrained students of every size, and ALMT.

    Args:
        threads: CPU threads of one prediction.
        repeats: Timed predictions of each.
        verbose: Whether to print progress.
        on_progress: Not called: the measurement is one step.
    """
    _check_counts(threads, repeats)
    lengths = "/".join(map(str, students.LENGTHS.values()))
    dims = "/".join(map(str, students.DIMS.values()))
    print_progress(f"Random weights, {lengths} frames of {dims} features, {threads} threads.")
    latencies = students.measure_students(threads=threads, num_runs=repeats)
    rows = tuple(dataclasses.asdict(latency) for latency in latencies)
    return Measurements("students", rows, students.format_latencies(latencies))


@api
def bench_runtime(
    bundle: AnyPath | None = None,
    *,
    threads: int = 1,
    repeats: int = 2000,
    verbose: bool = False,
    on_progress: OnProgress | None = None,
) -> Measurements:
    """Measure what the runtime adds to the calls of a backend.

    Args:
        bundle: The bundle (default: that of an untrained student of size `tiny` at fp32).
        threads: CPU threads of one prediction.
        repeats: Timed calls of each kind.
        verbose: Whether to print progress.
        on_progress: Not called: the measurement is one step.
    """
    _check_counts(threads, repeats)
    given = None if bundle is None else path_of(bundle, "bundle", "a bundle or the path of one")
    with runtime_overhead.untrained_bundle() if given is None else contextlib.nullcontext(given) as path:
        results = runtime_overhead.measure_overhead(path, threads=threads, num_runs=repeats)
    rows = tuple(dataclasses.asdict(item) | {"overhead_us": item.overhead_us} for item in results)
    return Measurements("runtime", rows, runtime_overhead.format_overhead(results))


@api
def bench_selfcheck(
    bundle: AnyPath,
    *,
    checks: int = 5,
    processes: int = MIN_PROCESSES,
    repeats: int = 1000,
    backend: str = "auto",
    threads: int = 1,
    verbose: bool = False,
    on_progress: OnProgress | None = None,
) -> Measurements:
    """Check whether this machine is fit for measuring.

    Each check measures a bundle twice as it is, which must show no difference, and once slowed down by 10 %, which must
    show one. The row of the result has `fit`, `found`, `false_alarms`, `resolution` and `overhead_us`.

    Args:
        bundle: The bundle.
        checks: Number of comparisons of each kind. The machine is fit with at most one false alarm in 20.
        processes: Fresh processes of each comparison.
        repeats: Timed predictions of each comparison, of all processes together.
        backend: Backend of the bundle (default: the first that is available).
        threads: CPU threads of one prediction.
        verbose: Whether to print progress.
        on_progress: Called before each check.
    """
    check_count(checks, "checks")
    _Options(backend, threads, processes, repeats, None, None)
    opened = open_bundle(path_of(bundle, "bundle", "a bundle or the path of one"))
    largest = subsets_of(opened.manifest.modalities)[-1].value
    plan = Plan(processes=processes, repeats=repeats, subsets=(largest,), energy=False)
    job = Job(str(opened.path), {"backend": backend, "threads": threads})

    def report_check(done: int, total: int) -> None:
        report_progress("bench: check", done, total, f"Comparing runs of one bundle: check {done + 1} of {total}")

    result = check_machine(job, plan, checks, on_check=report_check)
    row = {"fit": result.is_fit, **dataclasses.asdict(result)}
    return Measurements("selfcheck", (row,), "\n".join(format_selfcheck(result)))


@api
def bench_almt(
    *,
    threads: int = 1,
    repeats: int = 200,
    verbose: bool = False,
    on_progress: OnProgress | None = None,
) -> Measurements:
    """Measure ALMT with and without computing the tokens that do not affect its prediction.

    Args:
        threads: CPU threads of one prediction.
        repeats: Timed predictions of each.
        verbose: Whether to print progress.
        on_progress: Not called: the measurement is one step.
    """
    _check_counts(threads, repeats)
    lengths = "/".join(map(str, almt.MOSI.lengths.values()))
    print_progress(f"ALMT with random weights, {lengths} frames, torch on the CPU, {threads} threads.")
    latencies = almt.measure_almt(threads=threads, num_runs=repeats)
    rows = tuple(dataclasses.asdict(latency) | {"speedup": latency.speedup} for latency in latencies)
    return Measurements("almt", rows, almt.format_latencies(latencies))


@api
def bench_training(*, verbose: bool = False, on_progress: OnProgress | None = None) -> Measurements:
    """Measure the training throughput of both teachers and of a text model, in samples per second.

    Measures the CPU, and a GPU if there is one. The text model needs the package transformers.

    Args:
        verbose: Whether to print progress.
        on_progress: Not called: the measurement is one step.
    """
    models = throughput.available_models()
    for model in models:
        print_progress(f"{model}: {throughput.describe_inputs(model)}; complete training steps.")
    hardware = throughput.available_hardware()
    results = [throughput.measure_throughput(item, model) for model in models for item in hardware]
    rows = tuple(dataclasses.asdict(result) for result in results)
    return Measurements("training", rows, throughput.format_throughput(results))


def _group_by_modalities(bundles: Sequence[Bundle]) -> dict[tuple[str, ...], list[Bundle]]:
    groups: dict[tuple[str, ...], list[Bundle]] = {}
    for bundle in bundles:
        groups.setdefault(tuple(bundle.manifest.modalities), []).append(bundle)
    return groups
