"""Measure bundles on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from edge_msa.benchmark.machine import describe_machine, matches_profile, unavailable_reason
from edge_msa.benchmark.records import BenchRecord, bench_record, load_and_memory
from edge_msa.console import activity, report_progress
from edge_msa.text_tables import format_kilobytes, format_measured, text_table
from edge_msa_runtime import load
from edge_msa_runtime.benchmark.bench import bench_sessions
from edge_msa_runtime.benchmark.latency_statistics import Measured
from edge_msa_runtime.bundle.loader import Bundle
from edge_msa_runtime.errors import BackendUnavailableError, EdgeMsaError
from edge_msa_runtime.session import Session

_TIMEOUT_SECONDS = 600


def bench_bundles(
    bundles: Sequence[Bundle],
    *,
    backend: str = "auto",
    threads: int = 1,
    num_runs: int = 200,
    rate: float | None = None,
) -> list[BenchRecord]:
    """Measure every backend and precision of bundles with the same modalities, with interleaved timing.

    Args:
        bundles: The bundles.
        backend: A name, or `auto` for all backends of each bundle.
        threads: CPU threads of one prediction.
        num_runs: Timed predictions per modality subset.
        rate: Predictions per second; None starts each prediction when the previous one ends.

    Returns:
        One record per bundle, backend and precision. Backends that cannot run on this machine have a record without
        latencies, whose note states the reason.

    Raises:
        BackendUnavailableError: No bundle can run on this machine with that backend.
    """
    not_executed: list[BenchRecord] = []
    with ExitStack() as stack:
        sessions: list[Session] = []
        for bundle in bundles:
            for name in bundle.manifest.backends if backend == "auto" else (backend,):
                reason = None if name not in bundle.manifest.backends else unavailable_reason(name)
                for precision in bundle.precisions(name):
                    if reason is None:
                        session = load(bundle.path, backend=name, precision=precision, threads=threads)
                        sessions.append(stack.enter_context(session))
                    else:
                        not_executed.append(_record_without_latency(bundle, name, precision, reason))
        if not sessions:
            paths = ", ".join(str(bundle.path) for bundle in bundles)
            raise BackendUnavailableError(f"No backend of {paths} is available on this machine (--backend {backend}).")
        with activity(f"Measuring latency: {len(sessions)} graphs, interleaved", is_timed=True):
            results = bench_sessions(sessions, repeats=num_runs, rate=rate)
        records = []
        for done, (session, result) in enumerate(zip(sessions, results, strict=True)):
            what = f"{session.bundle.path.name}, {session.backend} {session.precision}"
            text = f"Measuring load time and memory: {what}"
            report_progress("bench: process", done, len(sessions), text)
            on_target = matches_profile(session.manifest.profile)
            measured = result.to_json() | load_and_memory(_bench_in_new_process(session))
            records.append(bench_record(session.bundle, measured, describe_machine(), on_target=on_target))
    return records + not_executed


def format_bench_records(records: Sequence[BenchRecord]) -> str:
    """Format records as a table with one row per modality subset of each record."""
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
        ]
        for record in records
        for subset, latency in (record.latency_ms or none).items()
    ]
    notes = [f"{record.name}, {record.backend} {record.precision}: {record.note}" for record in records if record.note]
    return "\n".join([text_table(header, rows, left=4), "* default precision of the bundle", *notes])


def _bench_in_new_process(session: Session) -> dict[str, Any]:
    """Measure load time and peak memory in a separate process, without torch and the other bundles."""
    command = [sys.executable, "-m", "edge_msa_runtime", "bench", str(session.bundle.path)]
    command += ["--backend", session.backend, "--precision", session.precision, "--threads", str(session.threads)]
    command += ["--repeats", "1", "--json"]
    what = f"{session.bundle.path} with {session.backend} at {session.precision}"
    try:
        completed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        raise EdgeMsaError(
            f"Measuring {what} in a new process took longer than {_TIMEOUT_SECONDS} s. Free the machine and try again."
        ) from None
    if completed.returncode:
        lines = completed.stderr.strip().splitlines() or [f"exit code {completed.returncode}"]
        reason = lines[-1].removeprefix("edge-msa-run: ")
        raise BackendUnavailableError(f"Measuring {what} in a new process failed: {reason}")
    results: list[dict[str, Any]] = json.loads(completed.stdout.splitlines()[-1])
    return results[0]


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
