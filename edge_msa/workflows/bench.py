"""`edge-msa bench`: what bundles cost on this machine, all of them in one run."""

from __future__ import annotations

import json as json_module
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge_msa.artifacts.files import check_file
from edge_msa.benchmark.machine import is_of_kind, machine, unavailable
from edge_msa.benchmark.records import BenchRecord, record_of, write_records
from edge_msa.benchmark.remote import RemoteHost, bench_on_host
from edge_msa.console import made, remark, say, say_json
from edge_msa.errors import UsageError
from edge_msa.reporting.points import shown
from edge_msa.text_tables import text_table
from edge_msa_runtime import load
from edge_msa_runtime.backends import check_backend_name
from edge_msa_runtime.benchmark.bench import BenchResult, bench_sessions
from edge_msa_runtime.bundle.reader import Bundle, open_bundle
from edge_msa_runtime.errors import BackendUnavailableError
from edge_msa_runtime.session import Session

LONG_WINDOWS = "synthetic"
ALMT = "almt"
STUDENTS = "students"
TRAINING = "training"


def bench_paths(
    paths: Sequence[str],
    *,
    backend: str = "auto",
    threads: int = 1,
    num_runs: int = 200,
    rate: float | None = None,
    remote: RemoteHost | None = None,
    output: Path | None = None,
    json: bool = False,
) -> tuple[BenchRecord, ...]:
    """Measure bundles, here or on a remote device, every backend and precision that they hold.

    `synthetic` is a larger student on long windows. `almt` is ALMT's exact saving against computing every token,
    `students` the student's sizes against it, `training` the teachers' samples a second.
    """
    if backend != "auto":
        check_backend_name(backend)
    if output:
        check_file(output)
    for name in (ALMT, STUDENTS, TRAINING):
        if name in paths and (list(paths) != [name] or backend != "auto" or output or remote or rate):
            raise UsageError(f"bench {name} stands alone, without --backend, --output, --host or --rate")
    if ALMT in paths:
        from edge_msa.workflows.bench_almt import bench_almt

        bench_almt(threads=threads, num_runs=num_runs, json=json)
        return ()
    if STUDENTS in paths:
        from edge_msa.benchmark.students import bench_students

        bench_students(threads=threads, num_runs=num_runs, json=json)
        return ()
    if TRAINING in paths:
        from edge_msa.workflows.bench_training import bench_training

        bench_training(json=json)
        return ()
    if LONG_WINDOWS in paths:
        if list(paths) != [LONG_WINDOWS]:
            raise UsageError("bench synthetic stands alone: give bundles in another call")
        from edge_msa.benchmark.long_windows import long_window_bundle

        with long_window_bundle() as bundle:
            return _told(_measured([bundle], remote, backend, threads, num_runs, rate), output, json=json)
    return _told(_measured([Path(path) for path in paths], remote, backend, threads, num_runs, rate), output, json=json)


def _measured(
    paths: Sequence[Path], remote: RemoteHost | None, backend: str, threads: int, num_runs: int, rate: float | None
) -> list[BenchRecord]:
    how: dict[str, Any] = {"backend": backend, "threads": threads, "num_runs": num_runs, "rate": rate}
    records: list[BenchRecord] = []
    if remote is not None:
        for path in paths:
            records += bench_on_host(path, remote.host, keep=remote.keep, offline=remote.offline, **how)
        return records
    for modalities, bundles in _by_modalities([open_bundle(path) for path in paths]).items():
        remark(f"measuring {', '.join(modalities)}: {len(bundles)} bundles")
        records += bench_bundles(bundles, **how)
    return records


def _told(records: Sequence[BenchRecord], output: Path | None, *, json: bool) -> tuple[BenchRecord, ...]:
    say(format_bench(records))
    if output:
        write_records(output, *records)
        made("bench", output, f"edge-msa report {output}")
    if json:
        say_json({"records": [record.to_json() for record in records]})
    return tuple(records)


def bench_bundles(
    bundles: Sequence[Bundle],
    *,
    backend: str = "auto",
    threads: int = 1,
    num_runs: int = 200,
    rate: float | None = None,
) -> list[BenchRecord]:
    """Measure bundles of the same modalities in turns; what cannot execute here is a record that says so."""
    sessions: list[Session] = []
    idle: list[BenchRecord] = []
    for bundle in bundles:
        for name in bundle.manifest.backends if backend == "auto" else (backend,):
            missing = None if name not in bundle.manifest.backends else unavailable(name)
            for precision in bundle.precisions(name):
                if missing is None:
                    sessions.append(load(bundle.path, backend=name, precision=precision, threads=threads))
                else:
                    idle.append(_idle(bundle, name, precision, missing))
    if not sessions:
        raise BackendUnavailableError(f"nothing of {', '.join(str(b.path) for b in bundles)} executes here: {backend}")
    results = bench_sessions(sessions, repeats=num_runs, rate=rate)
    records = [_record(session, result) for session, result in zip(sessions, results, strict=True)]
    for session in sessions:
        session.close()
    return records + idle


def format_bench(records: Sequence[BenchRecord]) -> str:
    """A row for each subset of each record."""
    header = [
        "bundle",
        "backend",
        "precision",
        "subset",
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "size KB",
        "load ms",
        "peak MiB",
    ]
    rows = [
        [
            record.name,
            record.backend,
            record.precision + ("*" if record.chosen else ""),
            subset,
            *(shown(latency.get(name)) for name in ("p50", "p90", "p99")),
            shown(None if record.size_bytes is None else record.size_bytes / 1e3),
            shown(record.load_ms),
            shown(record.peak_memory_mib),
        ]
        for record in records
        for subset, latency in (record.latency_ms or {"-": {}}).items()
    ]
    notes = [f"{record.name}, {record.backend} {record.precision}: {record.note}" for record in records if record.note]
    return "\n".join([text_table(header, rows, left=4), "* what the bundle loads by default", *notes])


def _record(session: Session, result: BenchResult) -> BenchRecord:
    on_target = is_of_kind(session.manifest.profile)
    return record_of(session.bundle, result.to_json(), _alone(session), machine(), on_target=on_target)


def _alone(session: Session) -> dict[str, Any]:
    """Load time and peak memory of the runtime in a process of its own, without torch and the other bundles."""
    command = [
        sys.executable,
        "-m",
        "edge_msa_runtime",
        "bench",
        str(session.bundle.path),
        "--backend",
        session.backend,
    ]
    command += ["--precision", session.precision, "--threads", str(session.threads), "--repeats", "1", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        raise BackendUnavailableError(done.stderr.strip() or f"{' '.join(command)} ended with {done.returncode}")
    results: list[dict[str, Any]] = json_module.loads(done.stdout.splitlines()[-1])
    return results[0]


def _idle(bundle: Bundle, backend: str, precision: str, reason: str) -> BenchRecord:
    manifest = bundle.manifest
    files = bundle.needed_files(backend, precision)
    return BenchRecord(
        name=manifest.name,
        target=manifest.target,
        backend=backend,
        precision=precision,
        device="",
        size_bytes=bundle.size(files),
        chosen=manifest.precision.get(backend) == precision,
        executed=False,
        note=reason,
        machine=machine(),
    )


def _by_modalities(bundles: Sequence[Bundle]) -> dict[tuple[str, ...], list[Bundle]]:
    found: dict[tuple[str, ...], list[Bundle]] = {}
    for bundle in bundles:
        found.setdefault(tuple(bundle.manifest.modalities), []).append(bundle)
    return found
