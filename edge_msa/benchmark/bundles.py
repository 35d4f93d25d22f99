"""Measure bundles on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edge_msa.benchmark.machine import describe_machine, matches_profile, unavailable_reason
from edge_msa.benchmark.records import BenchRecord, bench_record
from edge_msa.console import report_progress
from edge_msa.text_tables import format_kilobytes, format_measured, text_table
from edge_msa_runtime.benchmark.bench import ComparedWith
from edge_msa_runtime.benchmark.latency_statistics import Measured
from edge_msa_runtime.benchmark.processes import Job, Plan, bench_processes
from edge_msa_runtime.bundle.loader import Bundle
from edge_msa_runtime.errors import BackendUnavailableError
from edge_msa_runtime.wording import format_count


def bench_bundles(
    bundles: Sequence[Bundle],
    *,
    backend: str = "auto",
    threads: int = 1,
    plan: Plan,
) -> list[BenchRecord]:
    """Measure every backend and precision of bundles with the same modalities in fresh processes, interleaved.

    Args:
        bundles: The bundles.
        backend: A name, or `auto` for all backends of each bundle.
        threads: CPU threads of one prediction.
        plan: Numbers of processes and predictions, and the rate.

    Returns:
        One record per bundle, backend and precision. Backends that cannot run on this machine have a record without
        latencies, whose note states the reason.

    Raises:
        BackendUnavailableError: No bundle can run on this machine with that backend.
    """
    not_executed: list[BenchRecord] = []
    measured: list[tuple[Bundle, Job]] = []
    for bundle in bundles:
        for name in bundle.manifest.backends if backend == "auto" else (backend,):
            reason = None if name not in bundle.manifest.backends else unavailable_reason(name)
            for precision in bundle.precisions(name) or (None,):
                if reason is None:
                    options = {"backend": name, "precision": precision, "threads": threads}
                    measured.append((bundle, Job(str(bundle.path), options)))
                else:
                    not_executed.append(_record_without_latency(bundle, name, precision or "", reason))
    if not measured:
        paths = ", ".join(str(bundle.path) for bundle in bundles)
        raise BackendUnavailableError(f"No backend of {paths} is available on this machine (--backend {backend}).")

    def report_round(done: int, total: int) -> None:
        text = f"Measuring {format_count(len(measured), 'graph set')} in fresh processes: round {done + 1} of {total}"
        report_progress("bench: round", done, total, text)

    results = bench_processes([job for _, job in measured], plan, on_round=report_round)
    records = [
        bench_record(bundle, result.to_json(), describe_machine(), on_target=matches_profile(bundle.manifest.profile))
        for (bundle, _), result in zip(measured, results, strict=True)
    ]
    return records + not_executed


def format_bench_records(records: Sequence[BenchRecord]) -> str:
    """Format records as a table with one row per modality subset of each record."""
    has_energy = any(record.energy is not None and record.energy.mj_per_prediction for record in records)
    header = [
        "bundle",
        "backend",
        "precision",
        "subset",
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "max ms",
        "size KB",
        "load ms",
        "peak MiB",
        *(["mJ"] if has_energy else []),
    ]
    none: Mapping[str, Mapping[str, Measured | None]] = {"-": {}}
    rows = [
        [
            record.name,
            record.backend,
            (record.precision_title or record.precision) + ("*" if record.chosen else ""),
            subset,
            *(format_measured(latency.get(name)) for name in ("p50", "p90", "p99", "max")),
            format_kilobytes(record.size_bytes),
            format_measured(record.load_ms),
            format_measured(record.peak_memory_mib),
            *([format_measured(_energy_of(record, subset))] if has_energy else []),
        ]
        for record in records
        for subset, latency in (record.latency_ms or none).items()
    ]
    notes = [f"{record.name}, {record.backend} {record.precision}: {record.note}" for record in records if record.note]
    compared = [_format_comparison(record, item) for record in records for item in record.comparisons]
    noise = dict.fromkeys(f"noise: {text}" for record in records for text in record.noise)
    return "\n".join([text_table(header, rows, left=4), "* default precision of the bundle", *compared, *notes, *noise])


def _energy_of(record: BenchRecord, subset: str) -> Measured | None:
    energy = record.energy
    return None if energy is None or energy.subset != subset else energy.mj_per_prediction


def _format_comparison(record: BenchRecord, item: ComparedWith) -> str:
    name = f"{item.backend} {item.precision}" + ("" if item.bundle == record.name else f" of {item.bundle}")
    return (
        f"{record.name}, {record.backend} {record.precision} compared with {name}: {item.verdict}, "
        f"{format_measured(item.ratio)} times its p50 on {item.subset}."
    )


def _record_without_latency(bundle: Bundle, backend: str, precision: str, reason: str) -> BenchRecord:
    manifest = bundle.manifest
    return BenchRecord(
        name=manifest.name,
        target=manifest.target,
        backend=backend,
        precision=precision,
        device="",
        size_bytes=bundle.size(bundle.needed_files(backend, precision)),
        chosen=manifest.precision.get(backend) == precision,
        executed=False,
        note=reason,
        machine=describe_machine(),
    )
