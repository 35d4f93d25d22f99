"""The one offline page: everything inline, nothing fetched."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_msa.artifacts.files import write_text
from edge_msa.evaluation.evaluate import LIMIT, Evaluation, table_rows
from edge_msa.evaluation.metrics import describe
from edge_msa.reporting.plots import robustness_picture, tradeoff_picture
from edge_msa.reporting.points import NOT_EXECUTED, ReportPoint, grouped, headline_subset, short_names, shown, undrawn
from edge_msa.reporting.summary import verdicts
from edge_msa.reporting.templates import fill
from edge_msa.reporting.tradeoff import NAMES, legend, tradeoff_rows
from edge_msa.text_tables import ABSENT
from edge_msa_runtime.modalities import Subset

TEMPLATE = "page.html.j2"
_LIMIT = LIMIT[:1].upper() + LIMIT[1:]


@dataclass(frozen=True)
class Report:
    """What the page tells. `provenance` is shown as it is: seed, data, versions, machine, how to reproduce it."""

    title: str
    points: Sequence[ReportPoint]
    evaluations: Sequence[Evaluation] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """Cells as text; the first `left` columns are names, the others numbers."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    left: int = 1
    notes: Sequence[str] = ()


def build_report(report: Report, output: Path) -> Path:
    """Write the page.

    Raises:
        EdgeMsaError: the file cannot be written.
    """
    return write_text(output, render(report))


def render(report: Report) -> str:
    """The page as HTML."""
    from markupsafe import Markup

    subset = headline_subset(report.points)
    metrics = list(dict.fromkeys(name for point in report.points for name in (point.gate_metric, "mae") if name))
    # The pictures are matplotlib's own markup; every text in them was escaped by it.
    pictures = [Markup(svg) for name in metrics if (svg := robustness_picture(report.points, name))]  # noqa: S704
    return fill(
        "edge_msa.reporting",
        TEMPLATE,
        title=report.title,
        subtitle=_subtitle(report),
        legend=legend(report.points),
        undrawn=grouped(undrawn(point, subset) for point in report.points),
        limit=_LIMIT,
        verdicts=verdicts(report.points),
        subset=subset,
        tradeoff=_tradeoff(report.points),
        picture=Markup(tradeoff_picture(report.points, subset)),  # noqa: S704
        robustness=pictures,
        latency=_latency(report.points),
        evaluations=[_evaluation(item) for item in report.evaluations],
        provenance=dict(_provenance(report)),
    )


def _tradeoff(points: Sequence[ReportPoint]) -> Table:
    header, rows = tradeoff_rows(points)
    return Table(header, rows, left=NAMES, notes=grouped(point.remark for point in points))


def _subtitle(report: Report) -> str:
    """Data, split, samples, machine and seed, as far as they are known."""
    data = [f"{item.dataset}, {item.split} split, {item.samples} samples" for item in report.evaluations]
    seeds = re.findall(r"\bseed (\d+)", "\n".join(f"{name} {text}" for name, text in report.provenance.items()))
    parts = [*dict.fromkeys(data), report.provenance.get("machine", "")]
    parts.append(f"seed {', '.join(dict.fromkeys(seeds))}" if seeds else "")
    return " · ".join(part for part in parts if part)


def _latency(points: Sequence[ReportPoint]) -> Table:
    subsets = [item.value for item in Subset if any(item.value in point.latency_ms for point in points)]
    rows = [
        [f"{number} {name}", *(_percentiles(point.latency_ms.get(subset, {})) for subset in subsets)]
        for number, (point, name) in enumerate(zip(points, short_names(points), strict=True), 1)
        if point.latency_ms
    ]
    return Table(["", *subsets], rows, "p50 / p99 in ms, by available modalities")


def _percentiles(latency: Mapping[str, float]) -> str:
    return f"{shown(latency.get('p50'))} / {shown(latency.get('p99'))}" if latency else ABSENT


def _evaluation(evaluation: Evaluation) -> Table:
    source = evaluation.source
    names = list(next(iter(evaluation.by_subset.values()), {}))
    rows = [
        [label, *(describe(name).format(metrics[name]) if name in metrics else ABSENT for name in names), count]
        for label, metrics, count in table_rows(evaluation)
    ]
    caption = (
        f"{source.name} ({source.kind}), {source.precision}, {source.backend} on {source.device}: "
        f"{evaluation.split} split of {evaluation.dataset}"
    )
    return Table(["available", *(describe(n).title for n in names), "samples"], rows, caption, notes=_notes(evaluation))


def _notes(evaluation: Evaluation) -> list[str]:
    notes = list(_interval_notes(evaluation))
    if any(subset in evaluation.by_subset for subset in evaluation.limits):
        notes.append(f"{_LIMIT}.")
    if evaluation.left_out:
        left_out = ", ".join(evaluation.left_out)
        notes.append(f"Left out, for the model or all of this split lacks a modality of them: {left_out}.")
    notes += [
        f"{subset}: {evaluation.samples - count} samples without a valid frame of it are excluded."
        for subset, count in evaluation.counts.items()
        if count < evaluation.samples
    ]
    return [*notes, *evaluation.notes]


def _interval_notes(evaluation: Evaluation) -> Iterator[str]:
    unit = "videos" if evaluation.interval_unit == "groups" else "samples, for there are too few videos"
    name = describe(evaluation.gate_metric)
    parts = [
        f"{subset} {name.format(items[evaluation.gate_metric][0])} to {name.format(items[evaluation.gate_metric][1])}"
        for subset, items in evaluation.intervals.items()
        if evaluation.gate_metric in items
    ]
    if parts:
        yield f"95 % interval of {name.title}, bootstrap over {unit}: {'; '.join(parts)}."


def _provenance(report: Report) -> Iterator[tuple[str, Any]]:
    yield from report.provenance.items()
    for digest in dict.fromkeys(f"{item.dataset}, SHA-256 {item.digest}" for item in report.evaluations):
        yield "data", digest
    names = short_names(report.points)
    idle = [name for point, name in zip(report.points, names, strict=True) if not point.executed]
    if idle:
        yield NOT_EXECUTED, "; ".join(idle)
