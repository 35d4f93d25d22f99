"""The HTML report: one page that works offline, with everything inline."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from edge_msa.artifacts.files import write_text
from edge_msa.console import activity
from edge_msa.evaluation.baseline_check import complete_subset
from edge_msa.evaluation.class_tables import class_header, class_rows, is_per_class
from edge_msa.evaluation.conversation_memory import describe_context
from edge_msa.evaluation.evaluate import Evaluation, baseline_notes, table_rows
from edge_msa.evaluation.metrics import describe
from edge_msa.evaluation.metrics.units import describe_unit
from edge_msa.reporting.commands import unmeasured_accuracy_command
from edge_msa.reporting.content import Report, collect_figures
from edge_msa.reporting.figures import Figures
from edge_msa.reporting.plots import robustness_plot, tradeoff_plot
from edge_msa.reporting.points import (
    NOT_EXECUTED,
    ReportPoint,
    headline_subset,
    merge_remarks,
    omission_reason,
    short_names,
    subset_title,
)
from edge_msa.reporting.risk import interval_tables, measured_intervals, risk_plot
from edge_msa.reporting.summary import summarize
from edge_msa.reporting.tables import figures_csv, figures_markdown
from edge_msa.reporting.templates import Table, render_template
from edge_msa.reporting.tradeoff import NAME_COLUMNS, tradeoff_legend, tradeoff_rows
from edge_msa.text_tables import ABSENT, format_number
from edge_msa_runtime.modalities import Subset
from edge_msa_runtime.wording import format_count

BAYES_OPTIMUM_NOTE = (
    "The Bayes optimum is the expected result of the optimal predictor on this split. "
    "The split is finite, so a model can exceed it slightly by chance."
)


def write_report_page(report: Report, output: Path) -> Path:
    """Write the report to `output` and return its path: a page, Markdown, CSV or JSON, by the suffix of the file.

    Raises:
        EdgeMsaError: The file cannot be written.
    """
    figures = collect_figures(report)
    if output.suffix == ".json":
        return write_text(output, figures.to_text())
    if output.suffix == ".csv":
        return write_text(output, figures_csv(figures))
    if output.suffix == ".md":
        return write_text(output, figures_markdown(figures))
    with activity("Drawing the plots of the page"):
        return write_text(output, render_report(report, figures))


def render_report(report: Report, figures: Figures | None = None) -> str:
    """Return the page as HTML."""
    from markupsafe import Markup

    figures = figures or collect_figures(report)

    points = report.points
    subset = headline_subset(points)
    metrics = list(dict.fromkeys(name for point in points for name in (point.gate_metric, "mae") if name))
    intervals = measured_intervals(report.evaluations)
    # Matplotlib generated this markup and escaped every text in it.
    robustness = [Markup(svg) for name in metrics if (svg := robustness_plot(points, name))]  # noqa: S704
    return render_template(
        "edge_msa.reporting",
        "report.html.j2",
        title=report.title,
        subtitle=_subtitle(report),
        summary=summarize(points) if points or not report.sections else (),
        has_points=bool(points) or not report.sections,
        sections=report.sections,
        skipped=report.skipped,
        subset=subset_title(subset),
        legend=tradeoff_legend(points),
        tradeoff=_tradeoff_table(points),
        tradeoff_plot=Markup(tradeoff_plot(points, subset)),  # noqa: S704
        omitted=merge_remarks(_omission(point, subset) for point in points),
        robustness_plots=robustness,
        has_bayes_optimum=any(point.bayes_optimum for point in points),
        bayes_optimum_note=BAYES_OPTIMUM_NOTE,
        latency=_latency_table(points),
        intervals=[] if intervals is None else list(interval_tables(intervals)),
        has_sets=intervals is not None and intervals.predicts_classes,
        intervals_of="" if intervals is None else _describe_source(intervals),
        risk_plot="" if intervals is None else Markup(risk_plot(intervals)),  # noqa: S704
        evaluations=[_metrics_table(item) for item in report.evaluations],
        classes=[_class_table(item) for item in report.evaluations if item.confusion],
        provenance=dict(_provenance(report)),
        figures=Markup(figures.to_script()),  # noqa: S704 - without < > &
    )


def _omission(point: ReportPoint, subset: str) -> str:
    """Return why a point is not in the plot, and the command that measures its accuracy if that is what it lacks."""
    reason = omission_reason(point, subset)
    if not point.executed or point.by_subset or not point.target or point.p50(subset) is None or not point.on_target:
        return reason
    return f"{reason} (`{unmeasured_accuracy_command(point.name, point.backend, point.precision)}`)"


def _subtitle(report: Report) -> str:
    """Return data, split, number of samples, machine and seeds. Omit what is not known."""
    data = [f"{item.dataset}, {item.split} split, {item.samples} samples" for item in report.evaluations]
    seeds = re.findall(r"\bseed (\d+)", "\n".join(f"{name} {text}" for name, text in report.provenance.items()))
    parts = [*dict.fromkeys(data), report.provenance.get("machine", "")]
    parts.append(f"seed {', '.join(dict.fromkeys(seeds))}" if seeds else "")
    return " · ".join(part for part in parts if part)


def _tradeoff_table(points: Sequence[ReportPoint]) -> Table:
    header, rows = tradeoff_rows(points)
    return Table(header, rows, left=NAME_COLUMNS, notes=merge_remarks(point.remark for point in points))


def _latency_table(points: Sequence[ReportPoint]) -> Table:
    subsets = [item.value for item in Subset if any(item.value in point.latency_ms for point in points)]
    rows = [
        [f"{number} {name}", *(_percentiles(point.latency_ms.get(subset, {})) for subset in subsets)]
        for number, (point, name) in enumerate(zip(points, short_names(points), strict=True), 1)
        if point.latency_ms
    ]
    return Table(["row", *subsets], rows, "p50 / p99 in ms, by available modalities")


def _percentiles(latency: Mapping[str, float]) -> str:
    return f"{format_number(latency.get('p50'))} / {format_number(latency.get('p99'))}" if latency else ABSENT


def _metrics_table(evaluation: Evaluation) -> Table:
    every = next(iter(evaluation.by_subset.values()), {})
    names = [name for name in every if not is_per_class(name, evaluation.confusion)]
    rows = [
        [label, *(describe(name).format(metrics[name]) if name in metrics else ABSENT for name in names), count]
        for label, metrics, count in table_rows(evaluation)
    ]
    header = ["available", *(describe(name).title for name in names), "samples"]
    return Table(header, rows, _describe_source(evaluation), notes=list(_metrics_notes(evaluation)))


def _describe_source(evaluation: Evaluation) -> str:
    source = evaluation.source
    return (
        f"{source.name} ({source.kind}), {source.title}, {source.backend} on {source.device}: "
        f"{evaluation.split} split of {evaluation.dataset}"
    )


def _class_table(evaluation: Evaluation) -> Table:
    """Return the metrics of each class and the confusion matrix for the subset with the most modalities."""
    subset = complete_subset(evaluation.by_subset)
    counts = evaluation.confusion[subset]
    rows = list(class_rows(evaluation.by_subset[subset], counts))
    return Table(class_header(counts), rows, f"{_describe_source(evaluation)}, from {subset}")


def _metrics_notes(evaluation: Evaluation) -> Iterator[str]:
    yield from _interval_note(evaluation)
    if any(subset in evaluation.by_subset for subset in evaluation.bayes_optimum):
        yield BAYES_OPTIMUM_NOTE
    if evaluation.skipped_subsets:
        subsets = ", ".join(evaluation.skipped_subsets)
        yield f"Not evaluated: {subsets}. The model or the whole split lacks one of their modalities."
    for subset, count in evaluation.counts.items():
        if count < evaluation.samples:
            yield f"{subset}: {format_count(evaluation.samples - count, 'sample')} without a valid frame excluded."
    if evaluation.context is not None:
        yield describe_context(evaluation.context)
    yield from evaluation.notes
    yield from baseline_notes(evaluation)


def _interval_note(evaluation: Evaluation) -> Iterator[str]:
    unit = describe_unit(evaluation.interval_unit)
    gate = describe(evaluation.gate_metric)
    parts = [
        f"{subset} {gate.format(items[evaluation.gate_metric][0])} to {gate.format(items[evaluation.gate_metric][1])}"
        for subset, items in evaluation.intervals.items()
        if evaluation.gate_metric in items
    ]
    if parts:
        yield f"95 % confidence intervals of {gate.title}, bootstrapped over {unit}: {'; '.join(parts)}."


def _provenance(report: Report) -> Iterator[tuple[str, str]]:
    yield from report.provenance.items()
    for digest in dict.fromkeys(f"{item.dataset}, SHA-256 {item.digest}" for item in report.evaluations):
        yield "data", digest
    names = short_names(report.points)
    idle = [name for point, name in zip(report.points, names, strict=True) if not point.executed]
    if idle:
        yield NOT_EXECUTED, "; ".join(idle)
