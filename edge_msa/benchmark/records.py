"""Measurement records: what `edge-msa bench` and `edge-msa evaluate` write, and `edge-msa report` loads."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from edge_msa.artifacts.files import write_text
from edge_msa.artifacts.schemas import check_schema
from edge_msa.errors import EdgeMsaError, RunError
from edge_msa.evaluation.evaluate import Evaluation
from edge_msa_runtime.benchmark.bench import ComparedWith
from edge_msa_runtime.benchmark.energy import Energy
from edge_msa_runtime.benchmark.latency_statistics import PERCENTILES, Measured, Outliers
from edge_msa_runtime.bundle.loader import Bundle

BENCH_SCHEMA = 3
"""Version of the fields of a benchmark record. docs/reference/bench.schema.json describes them."""
OTHER_KINDS = ("reproduction", "sweep", "search", "peers", "layers")
"""Kinds of records of other commands that a report shows."""
_EXPECTED_FILE = "Pass a file that edge-msa evaluate or bench wrote"


@dataclass(frozen=True)
class BenchRecord:
    """Speed, memory, energy and size of one bundle at one precision on one backend.

    A measured value is an object with `value`, `low` and `high`; `low` and `high` are null if there is no interval.
    Intervals of latencies have a confidence of 95 %. Those of times, memory and energy are the range of the processes.

    Attributes:
        name: Name of the bundle, equal to the name in the source of its evaluation.
        target: Device profile that the bundle was built for.
        backend: Backend that executed the bundle.
        precision: Precision of the graphs.
        device: Device that executed the graphs, e.g. `CPU`.
        latency_ms: p50, p90, p95, p99, mean and max in milliseconds, by subset. A percentile is null if it needs more
            predictions. Empty if `executed` is False.
        distribution_ms: Quantiles 0, 0.05, ..., 1 of the latency in milliseconds, by subset.
        predictions: Number of timed predictions of all processes, by subset.
        outliers: Numbers of predictions beyond Tukey's fences, by subset.
        steady: Whether the latency was steady after the warm-up in every process, by subset. Null if it was not tested.
        processes: Number of fresh processes that ran only this model. 0 if it shared one process with others.
        rate_hz: Rate at which predictions were due, per second. Null if each started when the previous one ended.
        comparisons: p50 compared with that of other models of the same benchmark, measured interleaved.
        size_bytes: Size of the files that the backend needs at this precision.
        start_ms: Time from the start of a process until it has imported the runtime, in milliseconds.
        load_ms: Time to load the bundle in a fresh process, in milliseconds.
        build_ms: Time to build each TensorRT engine before the first load, in milliseconds. Null for other backends.
        peak_memory_mib: Peak memory of a process that runs only this model, in MiB.
        steady_memory_mib: Memory of that process after the predictions, in MiB.
        energy: Energy per prediction. Null if it was not measured.
        parity: Largest absolute difference between the predictions of the graphs and of the trained model.
        chosen: Whether the bundle uses this precision by default on this backend.
        executed: Whether the graphs ran.
        on_target: Whether the machine has the architecture of the target.
        reference: Whether this is the teacher that tables compare speed with.
        precision_title: The precision for people, e.g. `int8: 5 of 9 layers, 80 % of MACs`. Empty if it is `precision`.
        note: A remark that reports show.
        noise: What makes the measurement less reliable, one sentence each. Empty on a quiet machine.
        machine: What you need to interpret the numbers: CPU, system, versions, threads.
        before: Clocks, power mode, temperature and load before the measurement, as far as the system reports them.
        after: The same after the measurement.
    """

    # Read by pydantic in `from_json`.
    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: str
    target: str
    backend: str
    precision: str
    device: str
    latency_ms: Mapping[str, Mapping[str, Measured | None]] = field(default_factory=dict)
    distribution_ms: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    predictions: Mapping[str, int] = field(default_factory=dict)
    outliers: Mapping[str, Outliers] = field(default_factory=dict)
    steady: Mapping[str, bool | None] = field(default_factory=dict)
    processes: int = 0
    rate_hz: float | None = None
    comparisons: tuple[ComparedWith, ...] = ()
    size_bytes: int | None = None
    start_ms: Measured | None = None
    load_ms: Measured | None = None
    build_ms: Measured | None = None
    peak_memory_mib: Measured | None = None
    steady_memory_mib: Measured | None = None
    energy: Energy | None = None
    parity: float | None = None
    chosen: bool = False
    executed: bool = True
    on_target: bool = True
    reference: bool = False
    precision_title: str = ""
    note: str = ""
    noise: tuple[str, ...] = ()
    machine: Mapping[str, str] = field(default_factory=dict)
    before: Mapping[str, str] = field(default_factory=dict)
    after: Mapping[str, str] = field(default_factory=dict)

    def latency_values(self) -> dict[str, dict[str, float]]:
        """Return the known percentiles without intervals, in milliseconds by subset."""
        return {
            subset: {name: item.value for name in PERCENTILES if (item := latency.get(name)) is not None}
            for subset, latency in self.latency_ms.items()
        }

    def latency_intervals(self) -> dict[str, dict[str, tuple[float, float]]]:
        """Return the known intervals of percentiles, in milliseconds by subset."""
        return {
            subset: {
                name: (item.low, item.high)
                for name in PERCENTILES
                if (item := latency.get(name)) is not None and item.low is not None and item.high is not None
            }
            for subset, latency in self.latency_ms.items()
        }

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, marked as a benchmark record of this schema."""
        return {"record": "bench", "schema": BENCH_SCHEMA, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> BenchRecord:
        """Return the record that `to_json` wrote.

        Raises:
            EdgeMsaError: The value is not a benchmark of this schema, or a field is missing, unknown or wrong.
        """
        check_schema(value, "bench", BENCH_SCHEMA, title="a benchmark", again="Run edge-msa bench again")
        try:
            return _adapter().validate_python(
                {name: item for name, item in value.items() if name not in {"record", "schema"}}
            )
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise EdgeMsaError(
                f"The benchmark record is not valid ({where}: {first['msg']}). Run edge-msa bench again."
            ) from None


@cache
def _adapter() -> TypeAdapter[BenchRecord]:
    return TypeAdapter(BenchRecord)


@dataclass(frozen=True)
class OtherRecord:
    """A record of another command: a reproduction, a text model sweep or a search."""

    kind: str
    """Value of the field `record`."""
    path: Path
    """The file."""
    value: Mapping[str, Any]
    """The record as plain JSON values."""


@dataclass(frozen=True)
class Records:
    """Measurements loaded from files, in the order of the paths."""

    evaluations: tuple[Evaluation, ...] = ()
    benches: tuple[BenchRecord, ...] = ()
    others: tuple[OtherRecord, ...] = ()
    skipped: tuple[tuple[Path, str], ...] = ()
    """Files and folders that were not used, each with the reason."""
    models: tuple[tuple[Path, str], ...] = ()
    """Folders of runs and bundles, which are not measurements, each with what it is."""
    evaluation_files: tuple[Path | None, ...] = ()
    """The file of each evaluation, None for one that was passed itself."""
    bench_files: tuple[Path | None, ...] = ()
    """The file of each benchmark, None for one that was passed itself."""


def write_records(path: Path, *records: Evaluation | BenchRecord) -> Path:
    """Write measurements as a JSON list into one file.

    Raises:
        EdgeMsaError: The file cannot be written.
    """
    return write_text(path, json.dumps([record.to_json() for record in records], indent=1) + "\n")


def load_records(sources: Iterable[Path | Evaluation | BenchRecord]) -> Records:
    """Load the records of all commands from files, and from all JSON files below folders. Records stay as they are.

    A file contains one record or a list of records. Below a folder, a file is skipped if it is not a measurement, is
    damaged, was written by an older version, or is an evaluation on other data than most. `Records.skipped` has the
    reasons.

    Raises:
        RunError: A path does not exist, a folder has no record, or a file that was passed is not valid.
    """
    loaded = _Loaded()
    for source in sources:
        if not isinstance(source, Path):
            loaded.add_record(source)
        elif source.is_file():
            loaded.add_file(source)
        elif source.is_dir():
            loaded.add_folder(source)
        else:
            raise RunError(
                f"{source} does not exist. Pass a pipeline folder, or a file written by edge-msa evaluate or bench."
            )
    return loaded.records()


class _OtherFileError(RunError):
    """A JSON file is not a measurement."""


class _Loaded:
    """The records that were loaded so far."""

    def __init__(self) -> None:
        self._evaluations: list[tuple[Path | None, Evaluation]] = []
        self._benches: list[tuple[Path | None, BenchRecord]] = []
        self._found: set[Path] = set()
        self._others: list[OtherRecord] = []
        self._skipped: list[tuple[Path, str]] = []
        self._models: dict[Path, str] = {}

    def add_record(self, record: Evaluation | BenchRecord) -> None:
        """Add a record that was passed itself."""
        if isinstance(record, Evaluation):
            self._evaluations.append((None, record))
        else:
            self._benches.append((None, record))

    def add_file(self, path: Path) -> None:
        """Add a file that was passed by name."""
        for record in _parse_file(path):
            self._add(path, record)

    def add_folder(self, folder: Path) -> None:
        """Add every record below a folder."""
        before = len(self._evaluations) + len(self._benches) + len(self._others)
        for path in sorted(folder.rglob("*.json")):
            if any(part.startswith(".") for part in path.relative_to(folder).parts):
                continue
            owner = _model_folder(path, folder)
            try:
                records = list(_parse_file(path))
            except RunError as error:
                if owner is not None and isinstance(error, _OtherFileError):
                    self._models[owner[0]] = owner[1]
                else:
                    self._skipped.append((path, str(error).removeprefix(f"{path}: ").removeprefix(f"{path} ")))
                continue
            self._found.add(path)
            for record in records:
                self._add(path, record)
        if len(self._evaluations) + len(self._benches) + len(self._others) == before:
            unused = [*self._skipped, *((path, f"{kind}, not a measurement") for path, kind in self._models.items())]
            skipped = "".join(f" {path.name} was skipped: {reason}" for path, reason in unused[:3])
            raise RunError(
                f"{folder} contains no measurements. Write one with edge-msa evaluate or bench and --output FILE.json."
                f"{skipped}"
            )

    def records(self) -> Records:
        """Return the records. Evaluations that were found on other data than the rest are skipped."""
        passed = [item for path, item in self._evaluations if path not in self._found]
        counts = Counter(_data_of(item) for item in passed or [item for _, item in self._evaluations])
        kept = counts.most_common(1)[0][0] if counts else ""
        evaluations = []
        for path, item in self._evaluations:
            if path is None or path not in self._found or _data_of(item) == kept:
                evaluations.append((path, item))
            else:
                reason = f"evaluated on {_data_of(item)}, the others on {kept}"
                self._skipped.append((path, f"{reason}. Make a separate report for it"))
        return Records(
            tuple(item for _, item in evaluations),
            tuple(item for _, item in self._benches),
            tuple(self._others),
            tuple(self._skipped),
            tuple(self._models.items()),
            tuple(path for path, _ in evaluations),
            tuple(path for path, _ in self._benches),
        )

    def _add(self, path: Path, record: Evaluation | BenchRecord | OtherRecord) -> None:
        if isinstance(record, Evaluation):
            self._evaluations.append((path, record))
        elif isinstance(record, BenchRecord):
            self._benches.append((path, record))
        else:
            self._others.append(record)


def _data_of(evaluation: Evaluation) -> str:
    return f"{evaluation.dataset} {evaluation.split} ({evaluation.digest[:8]}, {evaluation.task})"


def _model_folder(path: Path, root: Path) -> tuple[Path, str] | None:
    """Return the run or bundle below `root` that a file belongs to, and what it is; None if there is none."""
    for folder in path.parents:
        for name, kind in (("run.json", "a run"), ("manifest.json", "a bundle")):
            if (folder / name).is_file():
                return folder, kind
        if folder == root:
            break
    return None


def _parse_file(file: Path) -> Iterator[Evaluation | BenchRecord | OtherRecord]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(
            f"{file} is not valid JSON ({error}). Pass a file written by edge-msa evaluate or bench."
        ) from None
    for item in value if isinstance(value, list) else [value]:
        fields = {name: field for name, field in item.items() if name != "cache_key"} if isinstance(item, dict) else {}
        kind = fields.get("record")
        if kind in OTHER_KINDS:
            yield OtherRecord(str(kind), file, fields)
            continue
        if kind not in {"evaluation", "bench"}:
            raise _OtherFileError(f"{file} must contain evaluation or bench records, got {kind!r}. {_EXPECTED_FILE}.")
        try:
            yield Evaluation.from_json(fields) if kind == "evaluation" else BenchRecord.from_json(fields)
        except EdgeMsaError as error:
            raise RunError(f"{file}: {error}") from None


def bench_record(
    bundle: Bundle,
    result: Mapping[str, Any],
    versions: Mapping[str, str],
    *,
    on_target: bool,
    note: str = "",
) -> BenchRecord:
    """Return the record of one session.

    Args:
        bundle: The bundle that was measured.
        result: A `BenchResult` as JSON.
        versions: Package versions to add to the description of the machine.
        on_target: Whether the machine has the architecture of the target.
        note: A remark that reports show.
    """
    manifest, backend, precision = bundle.manifest, result["backend"], result["precision"]
    parity = [spec.parity for spec in manifest.graphs if (spec.backend, spec.precision) == (backend, precision)]
    rows = {row["subset"]: row for row in result["latencies"]}
    by_subset = ("latency_ms", "distribution_ms", "predictions", "outliers", "steady")
    return BenchRecord.from_json(
        {
            "record": "bench",
            "schema": BENCH_SCHEMA,
            "name": manifest.name,
            "target": manifest.target,
            "backend": backend,
            "precision": precision,
            **{name: {subset: row[name] for subset, row in rows.items()} for name in by_subset},
            **{name: result[name] for name in _MEASURED_FIELDS},
            "size_bytes": result["file_bytes"],
            "parity": max(parity, default=None),
            "chosen": manifest.precision.get(backend) == precision,
            "on_target": on_target,
            "precision_title": manifest.describe_precision(backend, precision),
            "note": note,
            "machine": {
                **result["machine"],
                **versions,
                backend: result["backend_version"],
                "threads": str(result["threads"]),
            },
        }
    )


_MEASURED_FIELDS = (
    *("device", "processes", "rate_hz", "comparisons", "start_ms", "load_ms", "build_ms", "peak_memory_mib"),
    *("steady_memory_mib", "energy", "noise", "before", "after"),
)
"""Fields of a record that are those of the result of the runtime."""
