"""The HTML report: one page that works offline, with everything inline. It shows the figures of `Figures` only."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from edge_msa.artifacts.files import write_text
from edge_msa.console import activity
from edge_msa.evaluation.evaluate import MISSING_AVERAGE, merge_equal
from edge_msa.evaluation.metrics import describe
from edge_msa.reporting.charts import (
    Axis,
    Series,
    latency_axis,
    latency_bar,
    marker,
    peer_marker,
    peers_chart,
    precision_class,
    subset_chart,
    tradeoff_chart,
)
from edge_msa.reporting.commands import unmeasured_accuracy_command
from edge_msa.reporting.content import Report, collect_figures
from edge_msa.reporting.figures import Figures, LayerShare, LayerTime, LayerTimes, Peer, PeerComparison, Row, Value
from edge_msa.reporting.grids import Cell, Grid, GridRow
from edge_msa.reporting.layer_charts import layer_bar, layer_strip, roofline_chart
from edge_msa.reporting.layers import REFORMAT
from edge_msa.reporting.peers import describe_peers
from edge_msa.reporting.points import merge_remarks, subset_title
from edge_msa.reporting.risk import risk_plot
from edge_msa.reporting.tables import figures_csv, figures_markdown
from edge_msa.reporting.templates import Table, render_template
from edge_msa.reporting.values import format_difference, format_differences, format_latency, format_value
from edge_msa.reporting.verdict import RULE, backend_title
from edge_msa.text_tables import ABSENT, format_kilobytes, format_number
from edge_msa_runtime.modalities import Subset
from edge_msa_runtime.wording import format_count

BAYES_OPTIMUM_NOTE = (
    "The Bayes optimum is the expected result of the optimal predictor on this split. "
    "The split is finite, so a model can exceed it slightly by chance."
)
_PERCENTILES = ("p50", "p90", "p95", "p99")
_SLOWEST = 12
"""Layers with a bar."""
_MAX_TINT = 62
"""Largest share of the color of a heat map in the background of a cell, in percent. Text stays readable on it."""


@dataclass(frozen=True)
class PeersPart:
    """The part of the page for one comparison with peers.

    Attributes:
        comparison: The figures.
        summary: How many are slower and faster than ours.
        place: Where the points are in the charts.
        chart: A chart of its own, "" if the trade-off shows the points.
        metric: The metric of that chart.
        grid: The table.
    """

    comparison: PeerComparison
    summary: str
    place: str
    chart: Markup
    metric: str
    grid: Grid


@dataclass(frozen=True)
class LayersPart:
    """The part of the page for the layers of one graph.

    Attributes:
        times: The figures.
        title: Bundle, backend, precision and modalities.
        strip: All layers in their order.
        shares: Color, name, and what the layers of each precision contribute.
        slowest: The slowest layers with bars.
        roofline: The roofline, "" if no layer has MACs.
        bound: What the roofline says about the times.
        grid: All layers.
    """

    times: LayerTimes
    title: str
    strip: Markup
    shares: Sequence[tuple[str, str]]
    slowest: Grid
    roofline: Markup
    bound: str
    grid: Grid


@dataclass(frozen=True)
class Panel:
    """A part of the page for one choice of subset and metric.

    Attributes:
        content: The part.
        subset: The subset, "" if the part is for all of them.
        metric: The metric, "" if the part is for all of them.
        visible: Whether the part is visible without a choice.
    """

    content: Markup | Grid
    subset: str
    metric: str
    visible: bool


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
        return write_text(output, render_figures(figures))


def render_report(report: Report) -> str:
    """Return the page of a report as HTML."""
    return render_figures(collect_figures(report))


def render_figures(figures: Figures) -> str:
    """Return the page as HTML. It depends on the figures only, so a page can be checked against its own JSON."""
    subsets, metrics = _measured_subsets(figures), _metrics_with_intervals(figures)
    series = distinct_series(figures)
    return render_template(
        "edge_msa.reporting",
        "report.html.j2",
        title=figures.title,
        subtitle=_subtitle(figures),
        verdicts=figures.verdicts,
        rule=RULE,
        has_rows=bool(figures.rows) or not (figures.sections or figures.peers or figures.layers),
        findings=figures.findings,
        subset=figures.subset,
        subset_title=subset_title(figures.subset),
        subsets=[(name, subset_title(name)) for name in subsets],
        metrics=[(name, describe(name).title) for name in metrics],
        metric=figures.metric,
        tradeoff_panels=_tradeoff_panels(figures, subsets, metrics),
        legend=_legend(figures),
        peers_drawn=[item for item in figures.peers if item.row is not None and any(p.label for p in item.contenders)],
        absent=list(_absent(figures)),
        tradeoff=_tradeoff_grid(figures),
        remarks=merge_remarks(row.remark for row in figures.rows),
        missing_panels=_missing_panels(figures, series, metrics),
        series=[(item.label, marker(item.row.precision, item.row.backend)) for item in series],
        has_bayes_optimum=bool(figures.bayes_optimum),
        bayes_optimum_note=BAYES_OPTIMUM_NOTE,
        baselines=" and ".join(_baseline_names(figures)),
        latency_panels=_latency_panels(figures),
        interval_tables=[Table(item.header, item.rows, item.caption) for item in figures.prediction_intervals],
        has_sets=figures.predicts_sets,
        # Matplotlib generated this markup and escaped every text in it.
        risk_plot=Markup(risk_plot(figures.risk, sets=figures.predicts_sets)),  # noqa: S704
        all_metrics=_metrics_grid(figures),
        classes=[Table(item.header, item.rows, item.caption) for item in figures.classes],
        notes=figures.notes,
        peers=[_peers_part(item, index, figures) for index, item in enumerate(figures.peers)],
        peer_key=peer_marker(),
        layers=[_layers_part(item, index, len(figures.layers)) for index, item in enumerate(figures.layers)],
        conditions=_conditions(figures),
        commands=list(_commands(figures)),
        provenance=_provenance(figures),
        sections=figures.sections,
        skipped=figures.skipped,
        figures=Markup(figures.to_script()),  # noqa: S704 - without < > &
        metric_titles={name: _axis_title(name) for name in dict.fromkeys([*metrics, *_peer_metrics(figures)])},
        is_grid=lambda content: isinstance(content, Grid),
    )


def distinct_series(figures: Figures) -> list[Series]:
    """Return the rows with metrics. Rows whose metrics agree to three decimals on every subset share an entry."""
    groups: dict[object, list[Row]] = {}
    for row in figures.rows:
        if row.metrics:
            names = (figures.metric, "mae")
            key = frozenset(
                (subset, name, round(items[name].value or 0.0, 3))
                for subset, items in row.metrics.items()
                for name in names
                if name in items
            )
            groups.setdefault(key, []).append(row)
    return [Series(_series_label(rows), rows[0]) for rows in groups.values()]


def _series_label(rows: Sequence[Row]) -> str:
    if len(rows) == 1:
        return f"{rows[0].number} {rows[0].label}"
    numbers = ", ".join(str(row.number) for row in rows)
    names = " and ".join(dict.fromkeys(row.name if row.kind != "bundle" else row.precision for row in rows))
    return f"{numbers}: {names}, equal results"


def _axis_title(metric: str) -> str:
    name = describe(metric)
    return f"{name.title}{' %' if name.percent else ''} ({'up' if name.higher_is_better else 'down'} is better)"


def _measured_subsets(figures: Figures) -> list[str]:
    measured = {name for row in figures.rows for name in (*row.metrics, *row.latency_ms)}
    return [item.value for item in Subset if item.value in measured]


def _metrics_with_intervals(figures: Figures) -> list[str]:
    """Return the metrics that charts can show with intervals, the metric of the verdicts first."""
    known = {name for row in figures.rows for items in row.metrics.values() for name in items}
    return [name for name in dict.fromkeys((figures.metric, "mae")) if name in known]


def _tradeoff_panels(figures: Figures, subsets: Sequence[str], metrics: Sequence[str]) -> list[Panel]:
    winners = {item.row for item in figures.verdicts if item.row is not None}
    panels = []
    for subset in subsets:
        for metric in metrics:
            chart = tradeoff_chart(figures, subset, metric, winners)
            visible = (subset, metric) == (figures.subset, figures.metric)
            if chart or visible:
                panels.append(Panel(chart, subset, metric, visible))
    return panels if any(panel.content for panel in panels) else []


def _legend(figures: Figures) -> list[tuple[str, Markup]]:
    """Return the meaning of each color and shape that the rows use."""
    drawn = [row for row in figures.rows if row.latency_ms and row.metrics]
    precisions = [(name, marker(name, "")) for name in dict.fromkeys(row.precision for row in drawn)]
    backends = [(backend_title(name), marker("", name)) for name in dict.fromkeys(row.backend for row in drawn)]
    hollow = [("measured on another kind of processor than the target's", marker("", "", hollow=True))]
    peers = [("peer (letter)", peer_marker())]
    has_peers = any(item.label for comparison in figures.peers if comparison.row for item in comparison.contenders)
    return [
        *precisions,
        *backends,
        *(hollow if not all(row.on_target for row in drawn) else []),
        *(peers if has_peers else []),
    ]


def _absent(figures: Figures) -> Iterator[str]:
    """Yield which rows the trade-off chart does not show, and why."""
    reasons = []
    for row in figures.rows:
        if not row.executed:
            reasons.append(row.remark)
        elif "p50" not in row.latency_ms.get(figures.subset, {}):
            reasons.append(f"no latency measured on {figures.subset}")
        elif _value(row, figures.subset, figures.metric) is None:
            command = unmeasured_accuracy_command(row.name, row.backend, row.precision)
            advice = f" (`{command}`)" if row.kind == "bundle" and row.on_target and not row.metrics else ""
            reasons.append(f"no accuracy measured on {figures.subset}{advice}")
        else:
            reasons.append("")
    yield from merge_remarks(reasons)


def _tradeoff_grid(figures: Figures) -> Grid:
    subset, metric = figures.subset, figures.metric
    title = describe(metric).title if metric else "accuracy"
    columns: list[tuple[str, list[Cell]]] = [
        (f"{title} {subset}", [_metric_cell(row, subset, metric) for row in figures.rows]),
        (f"{title} missing-average", [_metric_cell(row, MISSING_AVERAGE, metric) for row in figures.rows]),
        (f"MAE {subset}", [_metric_cell(row, subset, "mae", interval=False) for row in figures.rows]),
        *((f"{name} ms", [_latency_cell(row, subset, name) for row in figures.rows]) for name in ("p50", "p99")),
        ("size KB", [_cell(row, "size_bytes", format_kilobytes(row.size_bytes)) for row in figures.rows]),
        ("load ms", [_cell(row, "load_ms", format_number(row.load_ms)) for row in figures.rows]),
        ("peak MiB", [_cell(row, "peak_memory_mib", format_number(row.peak_memory_mib)) for row in figures.rows]),
        ("parity", [_cell(row, "parity", format_number(row.parity, 2)) for row in figures.rows]),
    ]
    kept = [(name, cells) for name, cells in columns if any(cell.text != ABSENT for cell in cells)]
    winners = {item.row for item in figures.verdicts}
    rows = [
        GridRow(
            [
                Cell(f"{row.number} {row.label}{' *' if row.pareto else ''}"),
                Cell(f"{row.precision_title}{' (chosen by export)' if row.chosen else ''}"),
                *(cells[index] for _, cells in kept),
            ],
            id=f"row-{row.number}",
            highlighted=row.id in winners,
        )
        for index, row in enumerate(figures.rows)
    ]
    return Grid(f"Rows of the chart, on {subset}", ["model", "precision", *(name for name, _ in kept)], rows, 2)


def _cell(row: Row, name: str, text: str) -> Cell:
    value = getattr(row, name)
    return Cell(text) if value is None else Cell(text, f"rows.{row.number - 1}.{name}", value)


def _metric_cell(row: Row, subset: str, metric: str, *, interval: bool = True) -> Cell:
    value = row.metrics.get(subset, {}).get(metric)
    if value is None or value.value is None:
        return Cell(ABSENT)
    text = format_value(value, metric, interval=interval)
    return Cell(text, f"rows.{row.number - 1}.metrics.{subset}.{metric}", value.value)


def _latency_cell(row: Row, subset: str, name: str, *, interval: bool = True) -> Cell:
    value = row.latency_ms.get(subset, {}).get(name)
    if value is None or value.value is None:
        return Cell(ABSENT)
    text = format_latency(value, interval=interval)
    return Cell(text, f"rows.{row.number - 1}.latency_ms.{subset}.{name}", value.value)


def _missing_panels(figures: Figures, series: Sequence[Series], metrics: Sequence[str]) -> list[tuple[Panel, Panel]]:
    """Return the heat map and the chart of each metric."""
    subsets = [item.value for item in Subset if any(item.value in row.metrics for row in figures.rows)]
    panels = []
    for metric in metrics:
        chart, grid = subset_chart(series, figures, subsets, metric), _heat_map(figures, series, subsets, metric)
        visible = metric == figures.metric
        panels.append((Panel(grid, "", metric, visible), Panel(chart, "", metric, visible)))
    return panels if len(subsets) > 1 else []


def _heat_map(figures: Figures, series: Sequence[Series], subsets: Sequence[str], metric: str) -> Grid:
    """Return a metric by model and subset. The color of a cell is the loss from the best subset of the model."""
    name = describe(metric)
    losses: dict[tuple[int, str], float] = {}
    for item in series:
        values = {s: value for s in subsets if (value := _value(item.row, s, metric)) is not None}
        best = (max if name.higher_is_better else min)(values.values(), default=0.0)
        losses |= {(item.row.number, subset): abs(best - value) for subset, value in values.items()}
    largest = max(losses.values(), default=0.0) or 1.0
    rows = []
    for item in series:
        cells = [_metric_cell(item.row, subset, metric, interval=False) for subset in (*subsets, MISSING_AVERAGE)]
        tinted = [
            Cell(cell.text, cell.figure, cell.sort, _tint(losses.get((item.row.number, subset)), largest))
            for cell, subset in zip(cells, (*subsets, MISSING_AVERAGE), strict=True)
        ]
        rows.append(GridRow([Cell(item.label), *tinted]))
    if any(metric in items for items in figures.bayes_optimum.values()):
        cells = [_reference_cell(figures.bayes_optimum, "bayes_optimum", subset, metric) for subset in subsets]
        rows.append(GridRow([Cell("Bayes optimum"), *cells, Cell(ABSENT)]))
    for title, key in _baseline_names(figures).items():
        cell = _reference_cell(figures.baselines, "baselines", key, metric)
        rows.append(GridRow([Cell(f"baseline: {title}"), *[cell] * len(subsets), Cell(ABSENT)]))
    caption = f"{name.title}{' %' if name.percent else ''} by available modalities"
    return Grid(caption, ["model", *subsets, "missing-average"], rows)


def _tint(loss: float | None, largest: float) -> int | None:
    return None if loss is None else round(_MAX_TINT * loss / largest)


def _reference_cell(table: dict[str, dict[str, float | None]], where: str, key: str, metric: str) -> Cell:
    value = table.get(key, {}).get(metric)
    return Cell(ABSENT) if value is None else Cell(describe(metric).format(value), f"{where}.{key}.{metric}", value)


def _baseline_names(figures: Figures) -> dict[str, str]:
    """Return the key of each distinct baseline by its title, with what it predicts; equal ones share a title."""
    known = {key: (items, figures.baseline_predictions.get(key, "")) for key, items in figures.baselines.items()}
    return {
        f"{title} ({value[1]})" if value[1] else title: next(key for key, other in known.items() if other == value)
        for title, value in merge_equal(known).items()
    }


def _value(row: Row, subset: str, metric: str) -> float | None:
    value = row.metrics.get(subset, {}).get(metric)
    return None if value is None else value.value


def _latency_panels(figures: Figures) -> list[Panel]:
    measured = [row for row in figures.rows if row.latency_ms]
    subsets = [item.value for item in Subset if any(item.value in row.latency_ms for row in measured)]
    panels = []
    for subset in subsets:
        rows = [row for row in measured if row.latency_ms.get(subset)]
        names = [name for name in _PERCENTILES if any(name in row.latency_ms[subset] for row in rows)]
        values = [item.value for row in rows for name, item in row.latency_ms[subset].items() if name in names]
        values += [value for row in rows for value in row.distribution_ms.get(subset, ())[1:-1]]
        medians = [row.latency_ms[subset]["p50"] for row in rows if "p50" in row.latency_ms[subset]]
        values += [end for item in medians for end in (item.low, item.high)]
        axis = latency_axis([value for value in values if value])
        panels.append(Panel(_latency_grid(rows, subset, names, axis), subset, "", subset == figures.subset))
    return panels


def _latency_grid(rows: Sequence[Row], subset: str, names: Sequence[str], axis: Axis) -> Grid:
    lines = [
        GridRow(
            [
                Cell(f"{row.number} {row.label}"),
                latency_bar(row.latency_ms[subset], row.distribution_ms.get(subset, ()), axis, row.precision),
                # Intervals of the tail would leave no room for the distributions. The JSON has them.
                *(_latency_cell(row, subset, name, interval=name == "p50") for name in names),
            ],
        )
        for row in rows
    ]
    scale = "logarithmic scale" if axis.is_log else "from 0"
    caption = f"Latency of one prediction on {subset}, ms"
    return Grid(caption, ["model", f"distribution, {scale}", *names], lines, left=2)


def _metrics_grid(figures: Figures) -> Grid | None:
    names = list(dict.fromkeys(name for row in figures.rows for items in row.metrics.values() for name in items))
    classes = {label for table in figures.classes for label, *_ in table.rows}
    names = [name for name in names if name.partition("_")[2] not in classes]
    rows = []
    for row in figures.rows:
        for subset in (*(item.value for item in Subset), MISSING_AVERAGE):
            if subset in row.metrics:
                count = row.samples.get(subset)
                cells = [_metric_cell(row, subset, name) for name in names]
                samples = (
                    Cell(ABSENT)
                    if count is None
                    else Cell(str(count), f"rows.{row.number - 1}.samples.{subset}", count)
                )
                title = subset.replace("_", "-")
                rows.append(GridRow([Cell(f"{row.number} {row.label}"), Cell(title), *cells, samples], subset=subset))
    if not rows:
        return None
    return Grid("All metrics", ["model", "available", *(describe(name).title for name in names), "samples"], rows, 2)


def _peer_metrics(figures: Figures) -> Iterator[str]:
    yield from (name for comparison in figures.peers for item in comparison.contenders for name in item.metrics)


def _peers_part(comparison: PeerComparison, index: int, figures: Figures) -> PeersPart:
    row = figures.row(comparison.row)
    metrics = list(dict.fromkeys(name for item in comparison.contenders for name in item.metrics))
    metric = figures.metric if figures.metric in metrics else next(iter(metrics), "")
    chart = peers_chart(comparison, index, metric) if row is None and metric else Markup("")
    if row is not None:
        place = (
            f"Letters in the chart above: the p50 of row {row.number} (ours) times p50 / ours, which was measured in "
            "one run with ours. Without a known accuracy, they are on its lower edge."
            f"{' Bars reach to min / ours, because the run was disturbed.' if comparison.noisy else ''}"
        )
    else:
        place = "This run has no row in the report: it used other data or another machine, or ours was not benchmarked."
    return PeersPart(
        comparison, describe_peers(comparison), place, chart, metric, _peers_grid(comparison, index, figures, metrics)
    )


def _peers_grid(comparison: PeerComparison, index: int, figures: Figures, metrics: Sequence[str]) -> Grid:
    rows = []
    for number, item in enumerate(comparison.contenders):
        path = f"peers.{index}.contenders.{number}"
        row = figures.row(item.row)
        key = item.label or (str(row.number) if row is not None else "")
        cells = [
            Cell(f"{key} {item.name}{' (ours)' if item.is_ours else ''}".strip()),
            Cell(f"{backend_title(item.backend)}, {item.precision.partition(':')[0]}"),
            _ratio_cell(item, path),
            Cell(ABSENT) if item.min_ratio is None else _peer_cell(item.min_ratio, f"{path}.min_ratio"),
        ]
        for name in metrics:
            value = item.metrics.get(name)
            cells.append(
                Cell(ABSENT)
                if value is None
                # The chart has the interval. Here, that of the paired difference decides.
                else Cell(format_value(value, name, interval=False), f"{path}.metrics.{name}", value.value)
            )
        cells += [_difference_cell(item.differences.get(name), name, f"{path}.differences.{name}") for name in metrics]
        size = item.size_bytes
        cells.append(Cell(ABSENT) if size is None else Cell(format_kilobytes(size), f"{path}.size_bytes", size))
        rows.append(GridRow(cells, id=f"peer-{item.label}" if item.label else "", highlighted=item.is_ours))
    titles = [describe(name).title for name in metrics]
    header = ["model", "runs on", "p50 / ours", "min / ours", *titles, *(f"{title} - ours" for title in titles)]
    position = f" ({index + 1})" if len(figures.peers) > 1 else ""
    data = f"{comparison.dataset}, {comparison.split} split"
    caption = f"Beside ours, on {comparison.ours.subset}: {data}{position}"
    return Grid(caption, [*header, "size KB"], rows, 2)


def _ratio_cell(item: Peer, path: str) -> Cell:
    if item.ratio is None or item.ratio.value is None:
        return Cell(ABSENT)
    text = format_latency(item.ratio, interval=not item.is_ours)
    return Cell(text, f"{path}.ratio", item.ratio.value)


def _peer_cell(value: float, path: str) -> Cell:
    return Cell(format_number(value), path, value)


def _difference_cell(value: Value | None, metric: str, path: str) -> Cell:
    if value is None or value.value is None:
        return Cell(ABSENT)
    text = format_difference(metric, value.value)
    if value.low is not None and value.high is not None:
        text += f" ({format_differences(metric, value.low, value.high)})"
    return Cell(text, path, value.value)


def _layers_part(item: LayerTimes, index: int, count: int) -> LayersPart:
    number_of_several = f" ({index + 1})" if count > 1 else ""
    title = f"{item.name}, {backend_title(item.backend)} {item.precision}, {item.subset}"
    has_kernels = any(layer.kernel for layer in item.layers)
    numbered = list(enumerate(item.layers))
    slowest = sorted(numbered, key=lambda pair: -pair[1].time_us)[:_SLOWEST]
    return LayersPart(
        times=item,
        title=title,
        strip=layer_strip(item, index),
        shares=[_describe_share(share) for share in item.shares],
        slowest=Grid(
            f"The {len(slowest)} slowest of {format_count(len(item.layers), 'layer')}{number_of_several}",
            ["layer", "time, from 0", "us", "bound us"],
            [
                GridRow(
                    [
                        Cell(layer.name),
                        layer_bar(item, layer, f"layers.{index}.layers.{number}"),
                        *_layer_cells(layer, f"layers.{index}.layers.{number}", ("time_us", "bound_us")),
                    ]
                )
                for number, layer in slowest
            ],
            2,
        ),
        roofline=roofline_chart(item, index),
        bound=_describe_bound(item),
        grid=Grid(
            f"All layers, in the order in which they run{number_of_several}",
            ["layer", "precision", "us", "bound us", "MACs", "bytes", *(["kernel"] if has_kernels else [])],
            [
                GridRow(
                    [
                        Cell(f"{number + 1} {layer.name}"),
                        Cell(f"{layer.precision}, reformat" if layer.is_reformat else layer.precision),
                        *_layer_cells(
                            layer, f"layers.{index}.layers.{number}", ("time_us", "bound_us", "macs", "bytes")
                        ),
                        *([Cell(layer.kernel or ABSENT)] if has_kernels else []),
                    ]
                )
                for number, layer in numbered
            ],
            2,
        ),
    )


def _describe_share(share: LayerShare) -> tuple[str, str]:
    """Return the CSS class of the color of a share, and its figures."""
    is_reformat = share.name == REFORMAT
    name = "changes of layout or type" if is_reformat else share.name
    counts = f"{format_count(share.layers, 'layer')}, {100 * share.time:.0f} % of the time"
    text = f"{name}: {counts}, {100 * share.macs:.0f} % of the MACs"
    return "reformat" if is_reformat else precision_class(share.name), text


def _layer_cells(layer: LayerTime, path: str, names: Sequence[str]) -> Iterator[Cell]:
    for name in names:
        value = getattr(layer, name)
        text = f"{value:,}" if isinstance(value, int) else f"{value:.1f}" if name == "time_us" else format_number(value)
        yield Cell(text, f"{path}.{name}", value)


def _describe_bound(item: LayerTimes) -> str:
    """Return what the roofline says about the times, and why it is no estimate for other devices."""
    peaks = ", ".join(f"{format_number(peak / 1e9)} GMAC/s {name}" for name, peak in item.macs_per_second.items())
    text = f"Peaks of this machine, measured: {peaks}; {format_number(item.bytes_per_second / 1e9)} GB/s."
    if item.times_bound is None or item.least_times_bound is None or item.most_times_bound is None:
        return text
    return (
        f"{text} The graph takes {format_number(item.times_bound)} times as long as its bound, and single layers "
        f"{format_number(item.least_times_bound)} to {format_number(item.most_times_bound)} times. So the roofline "
        "estimates no latency, and the report has no estimates for devices that were not measured."
    )


def _conditions(figures: Figures) -> list[tuple[str, dict[str, str]]]:
    """Return the numbers of the rows that were measured under the same conditions, and the conditions."""
    groups: dict[tuple[tuple[str, str], ...], list[Row]] = {}
    for row in figures.rows:
        if row.machine and row.executed:
            processes = {"processes": str(row.processes)} if row.processes else {}
            groups.setdefault(tuple({**row.machine, **processes, **row.conditions}.items()), []).append(row)
    return [(", ".join(str(row.number) for row in rows), dict(items) | _noise(rows)) for items, rows in groups.items()]


def _noise(rows: Sequence[Row]) -> dict[str, str]:
    """Return what disturbed all rows, then what disturbed each, by title."""
    shared = [text for text in rows[0].noise if all(text in row.noise for row in rows)]
    own = {f"noise of {row.number}": [text for text in row.noise if text not in shared] for row in rows}
    return {name: " ".join(texts) for name, texts in {"noise": shared, **own}.items() if texts}


def _commands(figures: Figures) -> Iterator[tuple[str, str]]:
    """Yield each command with what it measures: the rows and their figures."""
    uses: dict[str, list[str]] = {}
    for row in figures.rows:
        if row.provenance.metrics:
            uses.setdefault(row.provenance.metrics, []).append(f"metrics of {row.number}")
    latencies: dict[str, list[str]] = {}
    for row in figures.rows:
        if row.provenance.latency:
            latencies.setdefault(row.provenance.latency, []).append(str(row.number))
    for command, what in uses.items():
        yield command, ", ".join(what)
    for command, numbers in latencies.items():
        yield command, f"latency, size and memory of {', '.join(numbers)}"


def _provenance(figures: Figures) -> dict[str, str]:
    entries = dict(figures.provenance)
    if figures.data is not None:
        entries["data"] = f"{figures.data.dataset}, SHA-256 {figures.data.digest}"
    files = dict.fromkeys(file for row in figures.rows for file in row.files)
    if files:
        entries["records"] = ", ".join(files)
    entries["edge-msa"] = figures.version
    return entries


def _subtitle(figures: Figures) -> str:
    """Return data, split, number of samples, machine and seeds. Omit what is not known."""
    data = figures.data
    parts = [] if data is None else [f"{data.dataset}, {data.split} split, {data.samples} samples"]
    parts += dict.fromkeys(row.machine["machine"] for row in figures.rows if "machine" in row.machine)
    seeds = re.findall(r"\bseed (\d+)", "\n".join(figures.provenance.values()))
    parts.append(f"seed {', '.join(dict.fromkeys(seeds))}" if seeds else "")
    return " · ".join(part for part in parts if part)
