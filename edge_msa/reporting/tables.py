"""The figures of a report as Markdown and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence

from edge_msa.evaluation.evaluate import MISSING_AVERAGE
from edge_msa.evaluation.metrics import describe
from edge_msa.reporting.figures import Figures, LayerTimes, PeerComparison, Row, Value
from edge_msa.reporting.peers import describe_peers
from edge_msa.reporting.values import format_latency, format_value
from edge_msa.text_tables import ABSENT, format_kilobytes, format_number
from edge_msa_runtime.modalities import Subset

CSV_COLUMNS = (
    "number",
    "id",
    "kind",
    "name",
    "target",
    "backend",
    "precision",
    "device",
    "chosen",
    "executed",
    "on_target",
    "pareto",
    "subset",
    "figure",
    "unit",
    "value",
    "low",
    "high",
)


def figures_csv(figures: Figures) -> str:
    """Return one line per figure: the row that it belongs to, subset, name, unit, value and 95 % interval.

    Metrics that are shares are fractions from 0 to 1. A row without any figure has one line without a value.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for row in figures.rows:
        names = [getattr(row, name) for name in CSV_COLUMNS[: CSV_COLUMNS.index("subset")]]
        for subset, figure, unit, value in _flatten(row) or [("", "", "", Value(value=None))]:
            writer.writerow([*names, subset, figure, unit, value.value, value.low, value.high])
    return buffer.getvalue()


def _flatten(row: Row) -> list[tuple[str, str, str, Value]]:
    """Return subset, name, unit and value of each figure of a row."""
    single = {
        "size": (row.size_bytes, "B"),
        "load": (row.load_ms, "ms"),
        "peak_memory": (row.peak_memory_mib, "MiB"),
        "parity": (row.parity, ""),
    }
    return [
        *((subset, name, "", value) for subset, items in row.metrics.items() for name, value in items.items()),
        *((subset, name, "ms", value) for subset, items in row.latency_ms.items() for name, value in items.items()),
        *(("", name, unit, Value(value=value)) for name, (value, unit) in single.items() if value is not None),
    ]


def figures_markdown(figures: Figures) -> str:
    """Return the report as Markdown: verdicts, tables, and the commands that measure the figures again."""
    parts = [f"# {escape_markdown(figures.title)}"]
    if figures.data is not None:
        data = figures.data
        parts.append(escape_markdown(f"{data.dataset}, {data.split} split, {data.samples} samples."))
    parts += [_verdict(item.target, item.sentence, item.reasons, item.command) for item in figures.verdicts]
    if figures.rows:
        parts += ["## Accuracy and latency", _tradeoff(figures)]
        parts += [f"- {row.number}: {escape_markdown(row.remark)}" for row in figures.rows if row.remark]
    if figures.metric:
        parts += ["## Missing modalities", _missing(figures)]
    if any(row.latency_ms for row in figures.rows):
        parts += ["## Latency, p50 / p99 in ms", _latency(figures)]
    for item in figures.peers:
        parts += ["## Beside what you could use instead", describe_peers(item), _peers(item)]
        parts.append("\n".join(f"- {escape_markdown(note)}" for note in item.notes))
    for times in figures.layers:
        title = f"{times.name}, {times.backend} {times.precision}, {times.subset}"
        parts += [f"## Time of the layers: {escape_markdown(title)}", _layers(times)]
    parts += [f"## {escape_markdown(item.title)}\n\n```text\n{item.text}\n```" for item in figures.sections]
    for title, lines in (("Notes", figures.notes), ("Skipped files", figures.skipped)):
        if lines:
            parts += [f"## {title}", "\n".join(f"- {escape_markdown(line)}" for line in lines)]
    parts += ["## Provenance", "\n".join(_provenance(figures))]
    return "\n\n".join(part for part in parts if part) + "\n"


def escape_markdown(text: str) -> str:
    """Return a text on one line, in which nothing is markup."""
    for character in "\\`*_[]<>|#":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.split())


def _verdict(target: str, sentence: str, reasons: Sequence[str], command: str | None) -> str:
    lines = [f"**{escape_markdown(target)}**: {escape_markdown(sentence)}", ""]
    lines += [f"- {escape_markdown(reason)}" for reason in reasons]
    lines += [f"- Measure it: {_code(command)}"] if command else []
    return "\n".join(lines).strip()


def _tradeoff(figures: Figures) -> str:
    subset, metric = figures.subset, figures.metric
    title = describe(metric).title if metric else "accuracy"
    header = ["#", "model", "precision", f"{title} {subset}", "p50 ms", "p99 ms", "size KB", "load ms", "peak MiB"]
    rows = [
        [
            f"{row.number}{'*' if row.pareto else ''}",
            row.label,
            f"{row.precision_title}{' (chosen)' if row.chosen else ''}",
            _format(row.metrics, subset, metric),
            *(format_latency(row.latency_ms.get(subset, {}).get(name), interval=True) for name in ("p50", "p99")),
            format_kilobytes(row.size_bytes),
            format_number(row.load_ms),
            format_number(row.peak_memory_mib),
        ]
        for row in figures.rows
    ]
    return f"{_table(header, rows, 3)}\n\n\\* On the Pareto front: no other row is both faster and more accurate."


def _missing(figures: Figures) -> str:
    subsets = [item.value for item in Subset if any(item.value in row.metrics for row in figures.rows)]
    header = ["#", "model", *subsets, "missing-average"]
    measured = [row for row in figures.rows if row.metrics]
    rows = [
        [
            str(row.number),
            row.label,
            *(_format(row.metrics, subset, figures.metric) for subset in (*subsets, MISSING_AVERAGE)),
        ]
        for row in measured
    ]
    optimum = {name: items.get(figures.metric) for name, items in figures.bayes_optimum.items()}
    if any(value is not None for value in optimum.values()):
        cells = (format_value(Value(value=optimum.get(subset)), figures.metric) for subset in subsets)
        rows.append(["", "Bayes optimum", *cells, ABSENT])
    for name, items in figures.baselines.items():
        cell = format_value(Value(value=items.get(figures.metric)), figures.metric)
        prediction = figures.baseline_predictions.get(name, "")
        title = f"baseline: {name.replace('_', ' ')}{f' ({prediction})' if prediction else ''}"
        rows.append(["", title, *[cell] * len(subsets), ABSENT])
    return (
        f"{describe(figures.metric).title} by available modalities, with 95 % intervals:\n\n{_table(header, rows, 2)}"
    )


def _latency(figures: Figures) -> str:
    subsets = [item.value for item in Subset if any(item.value in row.latency_ms for row in figures.rows)]
    rows = [
        [
            str(row.number),
            row.label,
            *(
                " / ".join(format_latency(row.latency_ms.get(subset, {}).get(name)) for name in ("p50", "p99"))
                for subset in subsets
            ),
        ]
        for row in figures.rows
        if row.latency_ms
    ]
    return _table(["#", "model", *subsets], rows, 2)


def _peers(comparison: PeerComparison) -> str:
    names = list(dict.fromkeys(name for item in comparison.contenders for name in item.metrics))
    titles = [describe(name).title for name in names]
    header = ["model", "backend", "precision", "p50 / ours", "min / ours", *titles]
    rows = [
        [
            f"{item.name}{' (ours)' if item.is_ours else ''}",
            item.backend,
            item.precision,
            format_latency(item.ratio, interval=not item.is_ours),
            format_number(item.min_ratio),
            *(format_value(item.metrics[name], name) if name in item.metrics else ABSENT for name in names),
        ]
        for item in comparison.contenders
    ]
    return _table(header, rows, 3)


def _layers(times: LayerTimes) -> str:
    header = ["layer", "precision", "us", "bound us", "MACs", "bytes"]
    rows = [
        [
            layer.name,
            layer.precision + (", reformat" if layer.is_reformat else ""),
            f"{layer.time_us:.1f}",
            format_number(layer.bound_us),
            f"{layer.macs:,}",
            f"{layer.bytes:,}",
        ]
        for layer in times.layers
    ]
    return _table(header, rows, 2)


def _provenance(figures: Figures) -> Iterator[str]:
    yield f"- edge-msa {escape_markdown(figures.version)}"
    if figures.data is not None:
        yield f"- data: {escape_markdown(figures.data.dataset)}, SHA-256 {figures.data.digest}"
    for name, text in figures.provenance.items():
        yield f"- {escape_markdown(name)}: {escape_markdown(text)}"
    for row in figures.rows:
        for what, command in (("metrics", row.provenance.metrics), ("latency", row.provenance.latency)):
            if command:
                yield f"- {row.number}, {what}: {_code(command)}"


def _format(metrics: Mapping[str, Mapping[str, Value]], subset: str, metric: str) -> str:
    value = metrics.get(subset, {}).get(metric)
    return ABSENT if value is None else format_value(value, metric)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> str:
    rule = ["---"] * left + ["---:"] * (len(header) - left)
    lines = [[*map(escape_markdown, header)], rule, *([*map(escape_markdown, row)] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _code(text: str) -> str:
    fence = "``" if "`" in text else "`"
    return f"{fence}{text}{fence}"
