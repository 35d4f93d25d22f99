"""The tables of `edge-msa bench models`, as text, Markdown and HTML."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_msa import result_tables
from edge_msa.artifacts.files import write_text
from edge_msa.evaluation.metrics import Comparison, describe
from edge_msa.evaluation.metrics.units import describe_unit
from edge_msa.reporting.templates import Table, render_template
from edge_msa.result_tables import Row
from edge_msa.text_tables import ABSENT, format_kilobytes, format_number, text_table

SCHEMA = 1


@dataclass(frozen=True)
class ModelCost:
    """What a model or a baseline is and needs."""

    name: str
    """Name of the run or bundle, or of the baseline."""
    kind: str
    """`bundle`, `cascade`, `run` or `baseline`."""
    precision: str = ""
    """Precision of a bundle as text."""
    backend: str = ""
    """Backend that predicted."""
    size_bytes: int | None = None
    """Size of the files that a bundle needs; None for a run, a cascade or a constant."""
    latency_ms: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """p50, p90 and p99 of one prediction; empty for a run, a cascade or a constant."""


@dataclass(frozen=True)
class ModelAccuracy:
    """The metrics of a model or a baseline on one data set."""

    name: str
    """Name of the model."""
    data: str
    """Name of the data set."""
    metrics: Mapping[str, float]
    """Metrics by name."""
    differences: Mapping[str, Comparison]
    """Differences from the first model, by metric, paired by video. Empty for the first model."""


@dataclass(frozen=True, repr=False)
class ModelBenchmark(result_tables.Table):
    """Models and baselines, measured on the same samples in one run. `print` shows a table per data set."""

    split: str
    """Name of the split."""
    samples: Mapping[str, int]
    """Number of samples by data set."""
    text: str
    """The text whose prediction was timed."""
    costs: tuple[ModelCost, ...]
    """The models in their order, then the baselines."""
    accuracies: tuple[ModelAccuracy, ...]
    """By data set, then in the order of `costs`."""
    machine: Mapping[str, str]
    """The machine that measured."""
    notes: tuple[str, ...] = ()
    """How baselines were fitted, and samples without a prediction."""

    def __repr__(self) -> str:
        """Return the names of the data sets."""
        return f"<ModelBenchmark of {len(self.costs)} models on {', '.join(self.samples)}>"

    def __str__(self) -> str:
        """Return the tables for people."""
        parts = [
            "\n".join([table.caption, "", text_table(table.header, table.rows, left=table.left)])
            for table in benchmark_tables(self)
        ]
        return "\n\n".join([*parts, "\n".join(benchmark_notes(self))])

    @property
    def rows(self) -> tuple[Row, ...]:
        """One row per data set and model."""
        costs = {item.name: item for item in self.costs}
        return tuple(
            {
                "data": item.data,
                "name": item.name,
                "kind": costs[item.name].kind,
                "precision": costs[item.name].precision,
                "size_bytes": costs[item.name].size_bytes,
                **{f"{name}_ms": value for name, value in costs[item.name].latency_ms.items()},
                **item.metrics,
            }
            for item in self.accuracies
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"record": "models", "schema": SCHEMA, **dataclasses.asdict(self)}


def benchmark_tables(benchmark: ModelBenchmark) -> list[Table]:
    """Return a table per data set."""
    costs = {item.name: item for item in benchmark.costs}
    tables = []
    for data, samples in benchmark.samples.items():
        items = [item for item in benchmark.accuracies if item.data == data]
        metrics = list(items[0].metrics)
        header = ["model", "precision", "size KB", "p50 ms", *(describe(name).title for name in metrics)]
        header += [f"{describe(name).title} - first" for name in metrics[:1]]
        rows = [_cells(item, costs[item.name], metrics) for item in items]
        caption = f"{data}, {benchmark.split} split, {samples} samples"
        tables.append(Table(header, rows, caption=caption, left=2))
    return tables


def benchmark_notes(benchmark: ModelBenchmark) -> list[str]:
    """Return how the tables were measured."""
    comparisons = [item for accuracy in benchmark.accuracies for item in accuracy.differences.values()]
    notes = [
        f"Latency: from raw text to prediction, one thread, the models interleaved, for {benchmark.text!r}.",
        *benchmark.notes,
    ]
    if comparisons:
        units = " and ".join(describe_unit(unit) for unit in dict.fromkeys(item.unit for item in comparisons))
        notes.insert(
            0,
            f"Differences from {benchmark.costs[0].name}: paired, with 95 % intervals over {units}. They compare these "
            "trainings, not the methods.",
        )
    return notes


def write_models_page(benchmark: ModelBenchmark, output: Path) -> Path:
    """Write the tables as Markdown, if the file ends in `.md`, or else as an HTML page that works offline.

    Raises:
        EdgeMsaError: The file cannot be written.
    """
    if output.suffix == ".md":
        return write_text(output, _markdown(benchmark))
    text = render_template(
        "edge_msa.reporting",
        "models.html.j2",
        title=f"edge-msa: models on {' and '.join(benchmark.samples)}",
        subtitle="",
        tables=benchmark_tables(benchmark),
        notes=benchmark_notes(benchmark),
        provenance=dict(benchmark.machine),
    )
    return write_text(output, text)


def _cells(item: ModelAccuracy, cost: ModelCost, metrics: Sequence[str]) -> list[str]:
    first = [item.differences[name].format(name) if name in item.differences else ABSENT for name in metrics[:1]]
    return [
        item.name,
        cost.precision or ABSENT,
        format_kilobytes(cost.size_bytes),
        format_number(cost.latency_ms.get("p50")),
        *(describe(name).format(item.metrics[name]) for name in metrics),
        *first,
    ]


def _markdown(benchmark: ModelBenchmark) -> str:
    lines = []
    for table in benchmark_tables(benchmark):
        rule = ["---"] * table.left + ["---:"] * (len(table.header) - table.left)
        lines += [f"{table.caption}:", ""]
        lines += ["| " + " | ".join(_escaped(row)) + " |" for row in (table.header, rule, *table.rows)]
        lines.append("")
    return "\n".join([*lines, *(f"- {note}" for note in benchmark_notes(benchmark)), ""])


def _escaped(cells: Sequence[str]) -> list[str]:
    return [cell.replace("|", "\\|").replace(" *", " \\*") for cell in cells]
