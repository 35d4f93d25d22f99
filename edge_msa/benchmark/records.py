"""Measurement records: what `edge-msa bench` and `edge-msa evaluate` write, and `edge-msa report` loads."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_msa.artifacts.files import write_text
from edge_msa.artifacts.stamps import RECORD as WRITTEN_BY
from edge_msa.errors import EdgeMsaError, RunError
from edge_msa.evaluation.evaluate import Evaluation
from edge_msa_runtime.benchmark.conditions import format_conditions
from edge_msa_runtime.bundle.loader import Bundle

BENCH_SCHEMA = 2
_EXPECTED_FILE = "Pass a file that edge-msa evaluate or bench wrote"


@dataclass(frozen=True)
class BenchRecord:
    """Speed and size of one bundle at one precision on one backend.

    Attributes:
        name: Name of the bundle, equal to the name in the source of its evaluation.
        target: Device profile that the bundle was built for.
        backend: Backend that executed the bundle.
        precision: Precision of the graphs.
        device: Device that executed the graphs, e.g. `CPU`.
        latency_ms: p50, p90 and p99 in milliseconds, by subset. Empty if `executed` is False.
        size_bytes: Size of the files that the backend needs at this precision.
        load_ms: Time to load the bundle in a fresh process, in milliseconds.
        peak_memory_mib: Peak memory of that process, in MiB.
        parity: Largest absolute difference between the predictions of the graphs and of the trained model.
        chosen: Whether the bundle uses this precision by default on this backend.
        executed: Whether the graphs ran.
        on_target: Whether the machine has the architecture of the target.
        precision_title: The precision for people, e.g. `int8: 5 of 9 layers`. Empty if it is `precision`.
        note: A remark that reports show.
        machine: What you need to interpret the numbers: CPU, system, versions, threads.
    """

    name: str
    target: str
    backend: str
    precision: str
    device: str
    latency_ms: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    size_bytes: int | None = None
    load_ms: float | None = None
    peak_memory_mib: float | None = None
    parity: float | None = None
    chosen: bool = False
    executed: bool = True
    on_target: bool = True
    precision_title: str = ""
    note: str = ""
    machine: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, marked as a benchmark record of this schema."""
        return {"record": "bench", "schema": BENCH_SCHEMA, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> BenchRecord:
        """Return the record that `to_json` wrote.

        Raises:
            EdgeMsaError: The value is not a benchmark of this schema, or a key is missing or unknown.
        """
        if value.get("record") != "bench" or value.get("schema") != BENCH_SCHEMA:
            actual = f"{value.get('record')!r} of schema {value.get('schema')!r}"
            raise EdgeMsaError(
                f"The record must be a benchmark of schema {BENCH_SCHEMA}, got {actual}. Run edge-msa bench again."
            )
        try:
            return cls(**{name: item for name, item in value.items() if name not in {"record", "schema"}})
        except TypeError as error:
            raise EdgeMsaError(f"The benchmark record is not valid ({error}). Run edge-msa bench again.") from None


@dataclass(frozen=True)
class Records:
    """Measurements loaded from files, in the order of the paths."""

    evaluations: tuple[Evaluation, ...] = ()
    benches: tuple[BenchRecord, ...] = ()


def write_records(path: Path, *records: Evaluation | BenchRecord) -> Path:
    """Write measurements as a JSON list into one file.

    Raises:
        EdgeMsaError: The file cannot be written.
    """
    return write_text(path, json.dumps([record.to_json() for record in records], indent=1) + "\n")


def load_records(paths: Iterable[Path]) -> Records:
    """Load measurements from files, and from every `evaluation*.json` and `bench*.json` below folders.

    A file holds one record or a list of records.

    Raises:
        RunError: A path does not exist, a folder has no measurement, or a file is not valid.
    """
    evaluations: list[Evaluation] = []
    benches: list[BenchRecord] = []
    for path in paths:
        for file in _record_files(path):
            for record in _parse_file(file):
                if isinstance(record, Evaluation):
                    evaluations.append(record)
                else:
                    benches.append(record)
    return Records(tuple(evaluations), tuple(benches))


def _record_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise RunError(
            f"{path} does not exist. Pass a pipeline folder, or a file written by edge-msa evaluate or bench."
        )
    files = sorted({*path.rglob("evaluation*.json"), *path.rglob("bench*.json")})
    if not files:
        raise RunError(
            f"{path} contains no measurements. Write one with edge-msa evaluate or bench and --output FILE.json."
        )
    return files


def _parse_file(file: Path) -> Iterator[Evaluation | BenchRecord]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(
            f"{file} is not valid JSON ({error}). Pass a file written by edge-msa evaluate or bench."
        ) from None
    for item in value if isinstance(value, list) else [value]:
        kind = item.get("record") if isinstance(item, dict) else None
        if kind == WRITTEN_BY:
            continue
        if kind not in {"evaluation", "bench"}:
            raise RunError(f"{file} must contain evaluation or bench records, got {kind!r}. {_EXPECTED_FILE}.")
        try:
            yield Evaluation.from_json(item) if kind == "evaluation" else BenchRecord.from_json(item)
        except EdgeMsaError as error:
            raise RunError(f"{file}: {error}") from None


def bench_record(
    bundle: Bundle,
    result: Mapping[str, Any],
    single_process: Mapping[str, Any],
    versions: Mapping[str, str],
    *,
    on_target: bool,
    note: str = "",
) -> BenchRecord:
    """Return the record of one session.

    Args:
        bundle: The bundle that was measured.
        result: A `BenchResult` as JSON, from the interleaved measurement of all sessions.
        single_process: A `BenchResult` as JSON, from a process that ran only this session. Load time and peak memory
            are taken from it.
        versions: Package versions to add to the description of the machine.
        on_target: Whether the machine has the architecture of the target.
        note: A remark that reports show.
    """
    manifest, backend, precision = bundle.manifest, result["backend"], result["precision"]
    parity = [spec.parity for spec in manifest.graphs if (spec.backend, spec.precision) == (backend, precision)]
    peak = single_process["peak_memory_bytes"]
    return BenchRecord(
        name=manifest.name,
        target=manifest.target,
        backend=backend,
        precision=precision,
        device=result["device"],
        latency_ms={
            row["subset"]: {name: row[f"{name}_ms"] for name in ("p50", "p90", "p99") if row[f"{name}_ms"] is not None}
            for row in result["latencies"]
        },
        size_bytes=result["file_bytes"],
        load_ms=single_process["load_ms"],
        peak_memory_mib=None if peak is None else peak / 2**20,
        parity=max(parity, default=None),
        chosen=manifest.precision.get(backend) == precision,
        on_target=on_target,
        precision_title=manifest.describe_precision(backend, precision),
        note=note,
        machine={**result["machine"], **versions, backend: result["backend_version"], **_conditions(result)},
    )


def _conditions(result: Mapping[str, Any]) -> dict[str, str]:
    """Return the threads, the rate, and the clocks and temperatures before and after the measurement."""
    rate = {} if result["rate_hz"] is None else {"rate_hz": f"{result['rate_hz']:g}"}
    states = {name: format_conditions(result[name]) for name in ("before", "after") if result[name]}
    return {"threads": str(result["threads"]), **rate, **states}
