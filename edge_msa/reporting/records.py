"""The measurements that `edge-msa evaluate` and `edge-msa bench` keep, read back and joined into points."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_msa.artifacts.files import write_text
from edge_msa.errors import EdgeMsaError, RunError
from edge_msa.evaluation.evaluate import Evaluation
from edge_msa.reporting.points import ReportPoint

BENCH_SCHEMA = 1


@dataclass(frozen=True)
class BenchRecord:
    """Speed and size of one bundle at one precision on one backend.

    `name` is the bundle's, as in the evaluation's source. `latency_ms` has p50, p90, p99 in ms by subset, empty where
    `executed` is False. `machine` is what a reader must know to scorer the numbers (CPU, system, versions, threads).
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
    note: str = ""
    machine: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, marked as a bench of this schema."""
        return {"record": "bench", "schema": BENCH_SCHEMA, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> BenchRecord:
        """What `to_json` made.

        Raises:
            EdgeMsaError: another record or schema, or a key that is missing or unknown.
        """
        if value.get("record") != "bench" or value.get("schema") != BENCH_SCHEMA:
            found = f"{value.get('record')!r} of schema {value.get('schema')!r}"
            raise EdgeMsaError(f"this is {found}, not a bench of schema {BENCH_SCHEMA}: bench again")
        try:
            return cls(**{name: item for name, item in value.items() if name not in {"record", "schema"}})
        except TypeError as error:
            raise EdgeMsaError(f"this bench cannot be read ({error}): bench again") from None


@dataclass(frozen=True)
class Records:
    """Everything that was read, in the order of the paths."""

    evaluations: tuple[Evaluation, ...] = ()
    benches: tuple[BenchRecord, ...] = ()


def write_records(path: Path, *records: Evaluation | BenchRecord) -> Path:
    """A JSON list of records in one file.

    Raises:
        EdgeMsaError: the file cannot be written.
    """
    return write_text(path, json.dumps([record.to_json() for record in records], indent=1) + "\n")


def read_records(paths: Iterable[Path]) -> Records:
    """The records of those files, and of every `evaluation*.json` and `bench*.json` below those folders.

    A file holds one record or a list of them.

    Raises:
        RunError: a path is missing, holds no record, or a file cannot be read.
    """
    evaluations: list[Evaluation] = []
    benches: list[BenchRecord] = []
    for path in paths:
        for file in _files(path):
            for record in _records_in(file):
                if isinstance(record, Evaluation):
                    evaluations.append(record)
                else:
                    benches.append(record)
    return Records(tuple(evaluations), tuple(benches))


def join_points(records: Records) -> tuple[ReportPoint, ...]:
    """A point for each bench, then one for each evaluation that no bench belongs to.

    A bench takes its accuracy from the evaluation of the same name, backend and precision; of several, the last.

    Raises:
        RunError: the evaluations are of different data, splits or tasks, which one picture cannot compare.
    """
    text_input = dict.fromkeys(
        f"{item.dataset} {item.split} ({item.digest[:8]}, {item.task})" for item in records.evaluations
    )
    if len(text_input) > 1:
        raise RunError(
            f"these evaluations cannot be compared, they are of {', '.join(text_input)}: make a report for each"
        )
    measured = {
        _key(item.source.name, item.source.backend, item.source.precision): item for item in records.evaluations
    }
    benched = [_key(item.name, item.backend, item.precision) for item in records.benches]
    points = [_point(bench, measured.get(key)) for bench, key in zip(records.benches, benched, strict=True)]
    alone = (item for key, item in measured.items() if key not in benched)
    return (*points, *(_point(_unbenched(item), item) for item in alone))


def _key(name: str, backend: str, precision: str) -> tuple[str, str, str]:
    return name, backend, precision


def _unbenched(evaluation: Evaluation) -> BenchRecord:
    source = evaluation.source
    return BenchRecord(source.name, "", source.backend, source.precision, source.device)


def _point(bench: BenchRecord, evaluation: Evaluation | None) -> ReportPoint:
    cost = {name: getattr(bench, name) for name in _SHARED}
    if evaluation is None:
        return ReportPoint(gate_metric="", **cost)
    return ReportPoint(
        gate_metric=evaluation.gate_metric,
        by_subset=evaluation.by_subset,
        baselines=evaluation.baselines,
        limits=evaluation.limits,
        **cost,
    )


_SHARED = tuple(
    {item.name for item in dataclasses.fields(BenchRecord)} & {f.name for f in dataclasses.fields(ReportPoint)}
)


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise RunError(f"{path} does not exist: give a pipeline's folder, or a file that evaluate or bench kept")
    found = sorted({*path.rglob("evaluation*.json"), *path.rglob("bench*.json")})
    if not found:
        raise RunError(f"{path} holds no measurement: keep one with edge-msa evaluate or bench --output FILE.json")
    return found


def _records_in(file: Path) -> Iterator[Evaluation | BenchRecord]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{file} cannot be read as JSON ({error}): give a file that evaluate or bench kept") from None
    for item in value if isinstance(value, list) else [value]:
        kind = item.get("record") if isinstance(item, dict) else None
        if kind not in {"evaluation", "bench"}:
            raise RunError(f"{file} holds no evaluation and no bench but {kind!r}: give a file that one of them kept")
        try:
            yield Evaluation.from_json(item) if kind == "evaluation" else BenchRecord.from_json(item)
        except EdgeMsaError as error:
            raise RunError(f"{file}: {error}") from None
