"""Points of the trade-off between accuracy and latency, and the Pareto front among them."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_msa.benchmark.records import BenchRecord, Records
from edge_msa.errors import RunError
from edge_msa.evaluation.evaluate import Evaluation
from edge_msa.evaluation.metrics import Estimate
from edge_msa.reporting.commands import Sources, bench_command, evaluate_command
from edge_msa.reporting.figures import Value
from edge_msa_runtime.benchmark.bench import ComparedWith
from edge_msa_runtime.benchmark.latency_statistics import Measured
from edge_msa_runtime.modalities import Subset

Metrics = Mapping[str, float]
NOT_EXECUTED = "not executed"
NOT_BETTER_THAN_CONSTANT = "does not beat a constant"
OTHER_MACHINE = "latency measured on this machine, whose architecture differs from the target's"
_MISSING_MODULE = re.compile(r"No module named '([^']+)'")


@dataclass(frozen=True)
class ReportPoint:
    """Accuracy and cost of one model for one target, on one backend and device, at one precision.

    Attributes:
        name: Name of the bundle or run.
        target: Device profile, "" for a run.
        backend: Backend that executed the model.
        precision: Precision of the graphs.
        device: Device that executed the graphs, e.g. `CPU`.
        gate_metric: Metric that plots and summaries use, "" if no accuracy was measured.
        by_subset: Metrics by subset, with the keys of `edge_msa.evaluation.metrics.measure`.
        latency_ms: p50, p90 and p99 in milliseconds, by subset. Empty if `executed` is False.
        size_bytes: Size of the files that the backend needs at this precision. None if not measured.
        distribution_ms: Quantiles 0, 0.05, ..., 1 of the latency in milliseconds, by subset.
        predictions: Number of timed predictions, by subset.
        processes: Number of fresh processes that measured only this model.
        comparisons: p50 compared with that of other models, measured interleaved.
        noise: What makes the latency less reliable, in sentences.
        before: Clocks, power mode, temperature and load before the benchmark.
        after: The same after the benchmark.
        load_ms: Time to load the bundle, in milliseconds. None if not measured.
        peak_memory_mib: Peak memory of the process, in MiB. None if not measured.
        parity: Largest absolute difference between a prediction of the graph and of torch in fp32.
        baselines: Metrics of constant predictions, by baseline.
        bayes_optimum: Expected metrics of the optimal predictor, by subset. Empty if not known.
        chosen: Whether the bundle uses this precision by default on this backend.
        executed: Whether the graphs ran.
        on_target: Whether the machine has the architecture of the target. If not, the latency is shown but excluded
            from the Pareto front and from comparisons.
        reference: Whether this is the teacher that the table compares speed with.
        precision_title: The precision for people, e.g. `int8: 5 of 9 layers, 80 % of MACs`. Empty if it is `precision`.
        note: A remark of the benchmark.
        estimates: Metrics with the contribution of each video, by subset and metric, to compare two points.
        warning: A warning if the model does not beat a constant, else "".
        is_bundle: Whether the model is a bundle, not a run.
        machine: Machine, versions and threads of the benchmark.
        intervals: 95 % intervals (low, high) of metrics, by subset and metric.
        latency_intervals: 95 % intervals (low, high) of latencies in milliseconds, by subset and percentile.
        counts: Number of evaluated samples by subset.
        missing_average: Mean of the metrics over the incomplete subsets.
        files: Files with the records of the point.
        metrics_command: Command that measures the metrics again, None if it is not known.
        latency_command: Command that measures latency, size and memory again, None if there is none.
    """

    name: str
    target: str
    backend: str
    precision: str
    device: str
    gate_metric: str
    by_subset: Mapping[str, Metrics] = field(default_factory=dict)
    latency_ms: Mapping[str, Metrics] = field(default_factory=dict)
    size_bytes: int | None = None
    distribution_ms: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    predictions: Mapping[str, int] = field(default_factory=dict)
    processes: int = 0
    comparisons: tuple[ComparedWith, ...] = ()
    noise: tuple[str, ...] = ()
    before: Mapping[str, str] = field(default_factory=dict)
    after: Mapping[str, str] = field(default_factory=dict)
    load_ms: Measured | None = None
    peak_memory_mib: Measured | None = None
    parity: float | None = None
    baselines: Mapping[str, Metrics] = field(default_factory=dict)
    bayes_optimum: Mapping[str, Metrics] = field(default_factory=dict)
    chosen: bool = False
    executed: bool = True
    on_target: bool = True
    reference: bool = False
    precision_title: str = ""
    note: str = ""
    estimates: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)
    warning: str = ""
    is_bundle: bool = True
    machine: Mapping[str, str] = field(default_factory=dict)
    intervals: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)
    latency_intervals: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    missing_average: Metrics = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    metrics_command: str | None = None
    latency_command: str | None = None

    @property
    def title(self) -> str:
        """The precision for people."""
        return self.precision_title or self.precision

    @property
    def short_title(self) -> str:
        """The precision for people, without the share of int8."""
        return self.title.partition(":")[0]

    @property
    def remark(self) -> str:
        """What you must know to interpret the numbers, "" if nothing."""
        missing = _MISSING_MODULE.search(self.note)
        # A note of the runtime ends with advice on how to fix the problem. The table needs only the reason.
        reason = f"{missing[1]} is not installed here" if missing else re.split(r"; |\. ", self.note)[0].rstrip(".")
        if not self.executed:
            return ": ".join(part for part in (NOT_EXECUTED, reason) if part)
        parts = ("" if self.on_target else OTHER_MACHINE, reason, NOT_BETTER_THAN_CONSTANT if self.warning else "")
        return ", ".join(part for part in parts if part)

    def accuracy(self, subset: str) -> float | None:
        """Return the gate metric on a subset, or None if it was not measured or is not finite."""
        return _finite(self.by_subset.get(subset, {}).get(self.gate_metric))

    def p50(self, subset: str) -> float | None:
        """Return the median latency on a subset in milliseconds, or None if it was not measured or is not finite."""
        return _finite(self.latency_ms.get(subset, {}).get("p50"))

    def latency(self, subset: str, name: str) -> Value | None:
        """Return a percentile of the latency on a subset in milliseconds, or None if it was not measured."""
        value = _finite(self.latency_ms.get(subset, {}).get(name))
        low, high = self.latency_intervals.get(subset, {}).get(name, (None, None))
        return None if value is None else Value(value=value, low=low, high=high)

    def metric(self, subset: str, name: str) -> Value | None:
        """Return a metric on a subset with its interval, or None if it was not measured. NaN has no value."""
        value = self.by_subset.get(subset, {}).get(name)
        if value is None:
            return None
        low, high = map(_finite, self.intervals.get(subset, {}).get(name, (None, None)))
        return Value(value=_finite(value), low=low, high=high)


def join_points(records: Records, sources: Sources | None = None) -> tuple[ReportPoint, ...]:
    """Return one point per benchmark, then one per evaluation that has no benchmark.

    A benchmark takes its accuracy from the evaluation with the same name, backend and precision. If there are several,
    the last one counts.

    Args:
        records: The measurements.
        sources: Where the models and the data are, for the commands of the points.

    Raises:
        RunError: The evaluations use different data, splits or tasks, so they cannot be compared.
    """
    sources = sources or Sources()
    data = dict.fromkeys(
        f"{item.dataset} {item.split} ({item.digest[:8]}, {item.task})" for item in records.evaluations
    )
    if len(data) > 1:
        raise RunError(
            f"All evaluations of a report must use the same data, got {', '.join(data)}. "
            "Make a separate report for each."
        )
    evaluations = {
        (item.source.name, item.source.backend, item.source.precision): (item, file)
        for item, file in zip(records.evaluations, _files(records.evaluations, records.evaluation_files), strict=True)
    }
    benches = list(zip(records.benches, _files(records.benches, records.bench_files), strict=True))
    keys = [(item.name, item.backend, item.precision) for item in records.benches]
    points = []
    for (bench, file), key in zip(benches, keys, strict=True):
        together = [item for item, other in benches if file is not None and other == file] or [bench]
        evaluation, evaluation_file = evaluations.get(key, (None, None))
        point = _point(bench, evaluation, (file, evaluation_file), sources)
        points.append(dataclasses.replace(point, latency_command=bench_command(bench, together, sources)))
    for key, (item, file) in evaluations.items():
        if key not in keys:
            points.append(_point(_bench_without_latency(item), item, (file,), sources))
    return tuple(points)


def _files(records: Sequence[object], files: Sequence[Path | None]) -> Sequence[Path | None]:
    return files or (None,) * len(records)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def pareto_front(points: Iterable[tuple[float, float]]) -> tuple[int, ...]:
    """Return the indices of the Pareto front of (cost, quality) pairs, cheapest first.

    Lower cost and higher quality are better. A pair is dominated by a pair that is at least as good in both values and
    better in one. Equal pairs do not dominate each other.
    """
    pairs = list(points)

    def is_dominated(cost: float, quality: float) -> bool:
        return any(c <= cost and q >= quality and (c < cost or q > quality) for c, q in pairs)

    indices = [index for index, pair in enumerate(pairs) if not is_dominated(*pair)]
    return tuple(sorted(indices, key=lambda index: pairs[index]))


def pareto_front_points(points: Sequence[ReportPoint], subset: str) -> tuple[ReportPoint, ...]:
    """Return the points on the Pareto front of p50 latency and gate metric, fastest first.

    Only `eligible_points` without an `omission_reason` are considered.
    """
    included = [point for point in eligible_points(points) if not omission_reason(point, subset)]
    pairs = [(point.p50(subset) or 0.0, point.accuracy(subset) or 0.0) for point in included]
    return tuple(included[index] for index in pareto_front(pairs))


def eligible_points(points: Sequence[ReportPoint]) -> tuple[ReportPoint, ...]:
    """Return the points that can be recommended, on which the table, the plot and the summary agree.

    They beat a constant. If export chose a precision of a bundle for a backend, only that precision is eligible.
    """
    chosen = {_group(point) for point in points if point.chosen}
    return tuple(point for point in points if not point.warning and (point.chosen or _group(point) not in chosen))


def chosen_precision(point: ReportPoint, points: Sequence[ReportPoint]) -> str:
    """Return the precision that export chose for the same bundle, backend and device, or "" if that is unknown."""
    return next((other.short_title for other in points if other.chosen and _group(other) == _group(point)), "")


def _group(point: ReportPoint) -> tuple[str, str, str, str]:
    return point.name, point.target, point.backend, point.device


def omission_reason(point: ReportPoint, subset: str) -> str:
    """Return why a point is missing from the trade-off plot and its Pareto front, or "" if it is part of them."""
    if not point.executed:
        return NOT_EXECUTED
    if point.p50(subset) is None:
        return f"no latency measured on {subset}"
    if not point.on_target:
        return OTHER_MACHINE
    return "" if point.accuracy(subset) is not None else f"no accuracy measured on {subset}"


def merge_remarks(remarks: Iterable[str]) -> list[str]:
    """Return one line per distinct remark, with the numbers of its table rows: `8, 9: remark`."""
    rows: dict[str, list[str]] = {}
    for number, remark in enumerate(remarks, 1):
        if remark:
            rows.setdefault(remark, []).append(str(number))
    return [f"{', '.join(numbers)}: {remark}" for remark, numbers in rows.items()]


def headline_subset(points: Sequence[ReportPoint]) -> str:
    """Return the subset that the trade-off is shown for.

    This is the subset on which most points were measured. On a tie, it is the subset with the most modalities. Return
    `lav` if nothing was measured.
    """

    def support(subset: Subset) -> tuple[int, int]:
        count = sum(subset.value in point.by_subset or subset.value in point.latency_ms for point in points)
        return count, len(subset.value)

    return max(Subset, key=support).value


def subset_title(subset: str) -> str:
    """Return a subset in words and as its abbreviation: `language and audio (la)`."""
    *first, last = Subset(subset).modalities
    return f"{', '.join(first)} and {last} ({subset})" if first else f"{last} ({subset})"


def short_names(points: Sequence[ReportPoint]) -> tuple[str, ...]:
    """Return a short label per point.

    The label contains the name of the bundle only if the target does not identify it.
    """
    targets, names = {point.target for point in points}, {(point.name, point.target) for point in points}
    with_name = len(names) > len(targets)

    def parts(point: ReportPoint) -> tuple[str, ...]:
        return (point.name if with_name or not point.target else "", point.target, point.backend, point.short_title)

    return tuple(" · ".join(part for part in parts(point) if part) for point in points)


def point_ids(points: Sequence[ReportPoint]) -> tuple[str, ...]:
    """Return a unique id per point: name, backend, precision and device, numbered if several points share them."""
    ids: list[str] = []
    for point in points:
        base = f"{point.name}/{point.backend}/{point.precision}/{point.device}"
        number = 1
        while (name := base if number == 1 else f"{base}#{number}") in ids:
            number += 1
        ids.append(name)
    return tuple(ids)


def shared_gate_metric(points: Sequence[ReportPoint]) -> str:
    """Return the gate metric of the points with a measured accuracy, or "" if there are none."""
    return next((point.gate_metric for point in points if point.by_subset), "")


def _bench_without_latency(evaluation: Evaluation) -> BenchRecord:
    source = evaluation.source
    title = source.precision_title
    return BenchRecord(source.name, "", source.backend, source.precision, source.device, precision_title=title)


def _point(
    bench: BenchRecord, evaluation: Evaluation | None, files: Iterable[Path | None], sources: Sources
) -> ReportPoint:
    measured: dict[str, Any] = {name: getattr(bench, name) for name in _SHARED_FIELDS}
    measured["latency_ms"] = bench.latency_values()
    measured["latency_intervals"] = bench.latency_intervals()
    measured["is_bundle"] = bool(bench.target) or (evaluation is not None and evaluation.source.kind == "bundle")
    measured["files"] = tuple(dict.fromkeys(file for file in files if file is not None))
    if evaluation is None:
        return ReportPoint(gate_metric="", **measured)
    return ReportPoint(
        gate_metric=evaluation.gate_metric,
        by_subset=evaluation.by_subset,
        baselines=evaluation.baselines,
        bayes_optimum=evaluation.bayes_optimum,
        estimates=evaluation.estimates,
        warning=evaluation.baseline_warning or "",
        intervals=evaluation.intervals,
        counts=evaluation.counts,
        missing_average=evaluation.missing_average,
        metrics_command=evaluate_command(evaluation, sources),
        **measured,
    )


_SHARED_FIELDS = tuple(
    {item.name for item in dataclasses.fields(BenchRecord)} & {item.name for item in dataclasses.fields(ReportPoint)}
)
