"""The content of a report, and its figures as one JSON value."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from edge_msa.benchmark.layer_profile import LayerProfile
from edge_msa.benchmark.peer_table import PeerBenchmark
from edge_msa.evaluation.baseline_check import complete_subset
from edge_msa.evaluation.class_tables import class_header, class_rows
from edge_msa.evaluation.conversation_memory import describe_context
from edge_msa.evaluation.evaluate import MISSING_AVERAGE, Evaluation, baseline_notes
from edge_msa.evaluation.metrics import describe_constant
from edge_msa.reporting.figures import DataInfo, Figures, Provenance, Row, Section, TextTable, Value
from edge_msa.reporting.layers import layer_times
from edge_msa.reporting.peers import compare_peers
from edge_msa.reporting.points import (
    ReportPoint,
    headline_subset,
    pareto_front_points,
    point_ids,
    shared_gate_metric,
    short_names,
)
from edge_msa.reporting.risk import interval_tables, measured_intervals, risk_curves
from edge_msa.reporting.summary import summarize
from edge_msa.reporting.verdict import compare_points, find_verdicts
from edge_msa_runtime import __version__
from edge_msa_runtime.benchmark.conditions import format_conditions
from edge_msa_runtime.wording import format_count


@dataclass(frozen=True)
class Report:
    """Content of the report page.

    Attributes:
        title: Heading of the page.
        points: Rows of the trade-off table.
        evaluations: Evaluations whose metrics are listed in full.
        provenance: Values by name, shown unchanged: seed, revision and digest of each run.
        sections: Title and text of records of other commands, shown as their command prints them.
        skipped: Files that were not used, each with the reason.
        peers: File and content of each comparison with alternatives.
        layers: File and content of each profile of layers.
    """

    title: str
    points: Sequence[ReportPoint]
    evaluations: Sequence[Evaluation] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
    sections: Sequence[tuple[str, str]] = ()
    skipped: Sequence[str] = ()
    peers: Sequence[tuple[str, PeerBenchmark]] = ()
    layers: Sequence[tuple[str, LayerProfile]] = ()


def collect_figures(report: Report) -> Figures:
    """Return all figures of a report."""
    points = report.points
    subset = headline_subset(points)
    intervals = measured_intervals(report.evaluations)
    first = next(iter(report.evaluations), None)
    data = None if first is None else _describe_data(first)
    rows = list(_rows(points, subset))
    reference = next((point for point in points if point.by_subset), None)
    return Figures(
        title=report.title,
        version=__version__,
        data=data,
        subset=subset,
        metric=shared_gate_metric(points),
        verdicts=list(find_verdicts(points, subset)),
        rows=rows,
        baselines={} if reference is None else _finite_table(reference.baselines),
        baseline_predictions={} if first is None else _describe_baselines(first),
        bayes_optimum={} if reference is None else _finite_table(reference.bayes_optimum),
        findings=list(summarize(points)) if points or not (report.sections or report.peers or report.layers) else [],
        prediction_intervals=[] if intervals is None else list(_interval_tables(intervals)),
        predicts_sets=intervals is not None and intervals.predicts_classes,
        risk=[] if intervals is None else risk_curves(intervals),
        classes=[_class_table(item) for item in report.evaluations if item.confusion],
        notes=list(dict.fromkeys(note for item in report.evaluations for note in _notes(item))),
        peers=compare_peers(report.peers, rows, data),
        layers=[layer_times(file, profile) for file, profile in report.layers],
        sections=[Section(title=title, text=text) for title, text in report.sections],
        provenance=dict(report.provenance),
        skipped=list(report.skipped),
    )


def describe_source(evaluation: Evaluation) -> str:
    """Return what was evaluated on which data."""
    source = evaluation.source
    return (
        f"{source.name} ({source.kind}), {source.title}, {source.backend} on {source.device}: "
        f"{evaluation.split} split of {evaluation.dataset}"
    )


def _rows(points: Sequence[ReportPoint], subset: str) -> Iterator[Row]:
    best = pareto_front_points(points, subset)
    reference = next((point for point in points if point.reference), None)
    teachers = {point.name for point in points if point.reference}
    details = zip(points, point_ids(points), short_names(points), strict=True)
    for number, (point, identifier, label) in enumerate(details, 1):
        yield Row(
            id=identifier,
            number=number,
            label=label,
            kind="bundle" if point.is_bundle else "teacher" if point.name in teachers else "run",
            name=point.name,
            target=point.target,
            backend=point.backend,
            precision=point.precision,
            precision_title=point.title,
            device=point.device,
            chosen=point.chosen,
            executed=point.executed,
            on_target=point.on_target,
            reference=point.reference,
            pareto=any(point is other for other in best),
            metrics=_metrics(point),
            differences={} if reference is None or point is reference else _differences(reference, point),
            samples=dict(point.counts),
            latency_ms={
                name: {key: value for key in items if (value := point.latency(name, key)) is not None}
                for name, items in point.latency_ms.items()
            },
            size_bytes=point.size_bytes,
            distribution_ms={name: list(items) for name, items in point.distribution_ms.items() if items},
            predictions=dict(point.predictions),
            processes=point.processes,
            load_ms=None if point.load_ms is None else point.load_ms.value,
            peak_memory_mib=None if point.peak_memory_mib is None else point.peak_memory_mib.value,
            parity=_finite(point.parity),
            machine=dict(point.machine),
            conditions={
                name: format_conditions(items)
                for name, items in (("before", point.before), ("after", point.after))
                if items
            },
            noise=list(point.noise),
            warning=point.warning,
            remark=point.remark,
            files=[str(file) for file in point.files],
            provenance=Provenance(metrics=point.metrics_command, latency=point.latency_command),
        )


def _metrics(point: ReportPoint) -> dict[str, dict[str, Value]]:
    table = {
        subset: {name: value for name in items if (value := point.metric(subset, name)) is not None}
        for subset, items in point.by_subset.items()
    }
    if point.missing_average:
        table[MISSING_AVERAGE] = {name: Value(value=_finite(value)) for name, value in point.missing_average.items()}
    return table


def _differences(reference: ReportPoint, point: ReportPoint) -> dict[str, dict[str, Value]]:
    table = {
        subset: {
            name: difference
            for name in items
            if (difference := compare_points(reference, point, subset, name)) is not None and difference.has_interval
        }
        for subset, items in point.by_subset.items()
    }
    return {subset: items for subset, items in table.items() if items}


def _describe_data(evaluation: Evaluation) -> DataInfo:
    return DataInfo(
        dataset=evaluation.dataset,
        split=evaluation.split,
        task=evaluation.task,
        digest=evaluation.digest,
        samples=evaluation.samples,
        interval_unit=evaluation.interval_unit,
    )


def _describe_baselines(evaluation: Evaluation) -> dict[str, str]:
    """Return what each baseline predicts. All evaluations of a report are of the same data, so they share baselines."""
    return {
        name: describe_constant(evaluation.baseline_constants[name], metrics)
        for name, metrics in evaluation.baselines.items()
        if name in evaluation.baseline_constants
    }


def _interval_tables(evaluation: Evaluation) -> Iterator[TextTable]:
    for table in interval_tables(evaluation):
        caption = f"{describe_source(evaluation)}. {table.caption}"
        yield TextTable(caption=caption, header=list(table.header), rows=[list(row) for row in table.rows])


def _class_table(evaluation: Evaluation) -> TextTable:
    """Return the metrics of each class and the confusion matrix for the subset with the most modalities."""
    subset = complete_subset(evaluation.by_subset)
    counts = evaluation.confusion[subset]
    rows = [list(row) for row in class_rows(evaluation.by_subset[subset], counts)]
    return TextTable(
        caption=f"{describe_source(evaluation)}, from {subset}", header=list(class_header(counts)), rows=rows
    )


def _notes(evaluation: Evaluation) -> Iterator[str]:
    name = evaluation.source.name
    if evaluation.skipped_subsets:
        subsets = ", ".join(evaluation.skipped_subsets)
        yield f"{name}: not evaluated on {subsets}. The model or the whole split lacks one of their modalities."
    for subset, count in evaluation.counts.items():
        if count < evaluation.samples:
            missing = format_count(evaluation.samples - count, "sample")
            yield f"{name}, {subset}: {missing} without a valid frame excluded."
    undefined = [
        f"{metric} on {subset}"
        for subset, items in evaluation.by_subset.items()
        for metric, value in items.items()
        if not math.isfinite(value)
    ]
    if undefined:
        variant = f"{evaluation.source.backend} {evaluation.source.precision}"
        yield f"{name}, {variant}: not a finite number: {', '.join(undefined)}."
    if evaluation.context is not None:
        yield f"{name}: {describe_context(evaluation.context)}"
    yield from (f"{name}: {note}" for note in (*evaluation.notes, *baseline_notes(evaluation)))


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _finite_table(table: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float | None]]:
    return {name: {metric: _finite(value) for metric, value in items.items()} for name, items in table.items()}
