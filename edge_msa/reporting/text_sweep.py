"""The result of a text model sweep: its record, its table and its HTML page.

A sweep compares text models of decreasing size, from a whole Transformer down to a static table, on one task.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edge_msa.artifacts.files import write_text
from edge_msa.artifacts.schemas import check_schema
from edge_msa.errors import EdgeMsaError
from edge_msa.evaluation.metrics import Comparison, describe, describe_coverage
from edge_msa.evaluation.reproduction.record import SeedSummary
from edge_msa.reporting.canvas import MUTED, OTHER_COLOR, PRECISION_COLORS, STYLE, create_figure, figure_to_svg
from edge_msa.reporting.points import pareto_front
from edge_msa.reporting.templates import Table, render_template
from edge_msa.text_tables import ABSENT, format_kilobytes, format_number, text_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SCHEMA = 5
RECORD_NAME = "sweep.json"
_METRICS = ("mae", "corr", "acc2_non0", "acc7")
_NAME_COLUMNS = 3

Metrics = Mapping[str, float]


@dataclass(frozen=True)
class SweepVariant:
    """A text model architecture.

    Attributes:
        name: Used in folder names.
        title: Used in tables.
        text_encoder: `teacher` is the fine-tuned Transformer itself, `encoder` a distilled Transformer, `table` a
            distilled static table.
        layers: Transformer layers that a distilled encoder keeps: a number from the first, or indices. None for other
            text encoders.
    """

    name: str
    title: str
    text_encoder: Literal["teacher", "encoder", "table"]
    layers: int | tuple[int, ...] | None = None


@dataclass(frozen=True)
class SweepPoint:
    """One variant at one precision on one backend.

    Attributes:
        variant: Name of the variant.
        title: Title of the variant.
        precision: Precision of the graphs.
        precision_title: The precision for people, e.g. `int8: 5 of 9 layers`.
        backend: Backend that executed them.
        parameters: Number of parameters.
        size_bytes: Size of the files that the backend needs at this precision.
        tokens: Length in tokens of the utterance whose prediction is timed.
        latency_ms: p50, p90 and p99 from raw text to prediction in milliseconds, measured with the first seed's bundle.
        metrics: Metrics on the test split, summarized over seeds.
        mae_difference: MAE minus that of the first row, with an interval. None for that row, or with a
            single test sample.
    """

    variant: str
    title: str
    precision: str
    precision_title: str
    backend: str
    parameters: int
    size_bytes: int
    tokens: int
    latency_ms: Metrics
    metrics: Mapping[str, SeedSummary]
    mae_difference: Comparison | None = None


@dataclass(frozen=True)
class TextSweep:
    """A finished sweep.

    Attributes:
        dataset: Name of the dataset.
        samples: Number of test samples.
        seeds: Training seeds.
        target: Device profile of the bundles.
        points: Results.
        baselines: Metrics of constant predictions, by baseline.
        teacher_bases: The encoders of the teachers from which the smaller encoders are distilled.
        student_base: The encoder that the smaller models start from.
        machine: The machine that measured the latencies.
    """

    dataset: str
    samples: int
    seeds: tuple[int, ...]
    target: str
    points: tuple[SweepPoint, ...]
    baselines: Mapping[str, Metrics]
    teacher_bases: tuple[str, ...]
    student_base: str
    machine: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"record": "sweep", "schema": SCHEMA, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TextSweep:
        """Return the sweep that `to_json` wrote.

        Raises:
            EdgeMsaError: The value is not a sweep of this schema, or a key is missing or unknown.
        """
        check_schema(value, "sweep", SCHEMA, title="a sweep", again="Run the sweep again")
        fields = {name: item for name, item in value.items() if name not in {"record", "schema"}}
        try:
            points = tuple(_parse_point(item) for item in fields.pop("points"))
            bases = tuple(fields.pop("teacher_bases"))
            return cls(points=points, seeds=tuple(fields.pop("seeds")), teacher_bases=bases, **fields)
        except (KeyError, TypeError) as error:
            raise EdgeMsaError(f"The sweep record is not valid ({error}). Run the sweep again.") from None


def format_sweep(sweep: TextSweep) -> str:
    """Return the results as a text table, followed by notes on how they were measured."""
    table = _sweep_table(sweep)
    return "\n".join([text_table(table.header, table.rows, left=table.left), "", *table.notes])


def sweep_plot(sweep: TextSweep) -> str:
    """Return a plot of MAE against p50 latency, with error bars over seeds and the Pareto front, as SVG."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        figure, axes = create_figure(7.6, 4.2)
        _draw_points(axes, sweep.points)
        baselines = [metrics["mae"] for metrics in sweep.baselines.values() if "mae" in metrics]
        reference = f"; the best constant prediction has {min(baselines):.3f}" if baselines else ""
        axes.set_title(f"MAE (down is better){reference}", loc="left", fontsize=11)
        axes.set_xscale("log")
        axes.margins(x=0.2)
        axes.set_xlabel("p50 latency from raw text to prediction, ms (left is better)")
        axes.legend()
        return figure_to_svg(figure, "sweep", "MAE against p50 latency, with the Pareto front")


def write_sweep_page(sweep: TextSweep, output: Path) -> Path:
    """Write the HTML page, which works offline, and return its path.

    Raises:
        EdgeMsaError: The file cannot be written.
    """
    from markupsafe import Markup

    text = render_template(
        "edge_msa.reporting",
        "text_sweep.html.j2",
        title=f"edge-msa: text models on {sweep.dataset}",
        subtitle="",
        plot=Markup(sweep_plot(sweep)),  # noqa: S704 - Matplotlib generated this markup and escaped every text in it.
        table=_sweep_table(sweep),
        provenance=dict(sweep.machine),
    )
    return write_text(output, text)


def _parse_point(value: Mapping[str, Any]) -> SweepPoint:
    metrics = {
        name: SeedSummary(item["mean"], item["deviation"], tuple(item["values"]))
        for name, item in value["metrics"].items()
    }
    difference = value["mae_difference"]
    return SweepPoint(
        **{**value, "metrics": metrics, "mae_difference": None if difference is None else Comparison(**difference)}
    )


def _pareto_front(points: Sequence[SweepPoint]) -> tuple[SweepPoint, ...]:
    """Return the points on the Pareto front of p50 latency and mean MAE, fastest first."""
    pairs = [(point.latency_ms["p50"], -point.metrics["mae"].mean) for point in points]
    return tuple(points[index] for index in pareto_front(pairs))


def _sweep_table(sweep: TextSweep) -> Table:
    best = _pareto_front(sweep.points)
    header = ["text model", "precision", "backend", "parameters", "size KB", "p50 ms", "p99 ms"]
    header += [*(describe(name).title for name in _METRICS), "MAE - first row"]
    rows = [
        [
            point.title + (" †" if point in best else ""),
            point.precision_title,
            point.backend,
            f"{point.parameters:,}",
            format_kilobytes(point.size_bytes),
            format_number(point.latency_ms["p50"]),
            format_number(point.latency_ms.get("p99")),
            *(_metric_cell(name, point) for name in _METRICS),
            ABSENT if point.mae_difference is None else point.mae_difference.format("mae"),
        ]
        for point in sweep.points
    ]
    for name, metrics in sweep.baselines.items():
        cells = [describe(column).format(metrics[column]) if column in metrics else ABSENT for column in _METRICS]
        rows.append([f"baseline: {name}", *[ABSENT] * 6, *cells, ABSENT])
    return Table(header, rows, left=_NAME_COLUMNS, notes=_notes(sweep))


def _metric_cell(name: str, point: SweepPoint) -> str:
    values: SeedSummary | None = point.metrics.get(name)
    if values is None:
        return ABSENT
    metric = describe(name)
    text = metric.format(values.mean)
    return text if values.deviation is None else f"{text} ± {metric.format(values.deviation)}"


def _notes(sweep: TextSweep) -> list[str]:
    seeds = ", ".join(map(str, sweep.seeds))
    tokens = " or ".join(map(str, sorted({point.tokens for point in sweep.points})))
    accuracy = (
        f"Accuracy: test split of {sweep.dataset}, {sweep.samples} samples, predicted from raw text by bundles for "
        f"{sweep.target}. Mean and standard deviation over seeds {seeds}; epochs are selected on validation."
    )
    smaller = (
        f"Smaller models: distilled from teachers with {' and '.join(sweep.teacher_bases)}. They start from "
        f"{sweep.student_base}. The teachers of each are selected on validation."
    )
    latency = (
        f"Latency: from raw text to prediction including tokenization, one thread, an utterance of {tokens} tokens. "
        "Measurements of all text models are interleaved."
    )
    differences = [point.mae_difference for point in sweep.points if point.mae_difference is not None]
    return [
        "† On the Pareto front, no other row is both faster and has a lower MAE.",
        *([f"MAE - first row: {describe_coverage(differences)}"] if differences else []),
        smaller,
        accuracy,
        latency,
    ]


def _draw_points(axes: Axes, points: Sequence[SweepPoint]) -> None:
    best = _pareto_front(points)
    axes.step(
        [point.latency_ms["p50"] for point in best],
        [point.metrics["mae"].mean for point in best],
        where="post",
        color=MUTED,
        linestyle="--",
        linewidth=1,
    )
    labeled: set[str] = set()
    for point in points:
        values = point.metrics["mae"]
        axes.errorbar(
            point.latency_ms["p50"],
            values.mean,
            yerr=values.deviation,
            fmt="o",
            color=PRECISION_COLORS.get(point.precision, OTHER_COLOR),
            capsize=3,
            label=None if point.precision in labeled else point.precision,
        )
        labeled.add(point.precision)
    fastest: dict[str, SweepPoint] = {}
    for point in points:
        other = fastest.get(point.variant)
        if other is None or point.latency_ms["p50"] < other.latency_ms["p50"]:
            fastest[point.variant] = point
    for point in fastest.values():
        position = (point.latency_ms["p50"], point.metrics["mae"].mean)
        axes.annotate(point.title, position, textcoords="offset points", xytext=(7, 7))
