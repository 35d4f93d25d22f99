"""The trade-off table of accuracy, latency and size for the terminal: one row per point."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from edge_msa.evaluation.metrics import describe, missing_average
from edge_msa.reporting.points import (
    ReportPoint,
    chosen_precision,
    headline_subset,
    merge_remarks,
    pareto_front_points,
    shared_gate_metric,
)
from edge_msa.text_tables import ABSENT, format_kilobytes, format_number, text_table

NAME_COLUMNS = 4
"""Number of leading columns that hold names: row number, target, backend, precision."""


SPEEDUP_TITLE = "x teacher"


class _Column(NamedTuple):
    title: str
    cell: Callable[[ReportPoint], str]


def format_tradeoff(points: Sequence[ReportPoint]) -> str:
    """Return the main columns as a text table, followed by the legend and one line per remark."""
    header, rows = _tradeoff_rows(points)
    remarks = merge_remarks(point.remark for point in points)
    return "\n".join(
        [text_table(header, rows, left=NAME_COLUMNS, keys=1), "", f"* {tradeoff_legend(points)}", *remarks]
    )


def tradeoff_legend(points: Sequence[ReportPoint]) -> str:
    """Return the meaning of the mark `*`, and which rows cannot have it."""
    text = "On the Pareto front: no other row is both faster and more accurate."
    if any(point.latency_ms and not point.on_target for point in points):
        text += " Rows measured on a machine with another architecture than the target are not considered."
    if any(chosen_precision(point, points) and not point.chosen for point in points):
        text += " Only the chosen precision of each bundle can have a star."
    if any(point.reference for point in points):
        text += f" {SPEEDUP_TITLE}: how many times as fast as the teacher in ONNX Runtime, by p50."
    if any(point.warning for point in points):
        text += " Models that do not beat a constant are not considered."
    return text


def _tradeoff_rows(points: Sequence[ReportPoint]) -> tuple[list[str], list[list[str]]]:
    """Return the header and the cells of the table, with `*` after the number of each row on the Pareto front.

    Columns without any value are left out.
    """
    subset = headline_subset(points)
    best = pareto_front_points(points, subset)
    header = ["#", "target", "backend", "precision"]
    rows = [
        [f"{number}{'*' if point in best else ''}", _target(point, points), point.backend, _precision(point)]
        for number, point in enumerate(points, 1)
    ]
    for column in _columns(subset, shared_gate_metric(points), points):
        cells = [column.cell(point) for point in points]
        if all(cell == ABSENT for cell in cells):
            continue
        header.append(column.title)
        rows = [[*row, cell] for row, cell in zip(rows, cells, strict=True)]
    return header, rows


def _target(point: ReportPoint, points: Sequence[ReportPoint]) -> str:
    """Return the target, with the bundle's name if there are several bundles for it, or the name of a run."""
    if not point.target:
        return point.name
    is_only = all(other.name == point.name for other in points if other.target == point.target)
    return point.target if is_only else f"{point.target} ({point.name})"


def _precision(point: ReportPoint) -> str:
    return f"{point.title} (chosen)" if point.chosen else point.title


def _columns(subset: str, gate: str, points: Sequence[ReportPoint]) -> list[_Column]:
    title = describe(gate).title if gate else "accuracy"
    teacher = min((point.p50(subset) or 0.0 for point in points if point.reference), default=0.0)
    return [
        _Column(f"{title} {subset}", lambda point: _gate_cell(gate, point.accuracy(subset))),
        _Column(f"{title} missing-average", lambda point: _gate_cell(gate, missing_average(point.by_subset).get(gate))),
        _Column(f"MAE {subset}", lambda point: format_number(point.by_subset.get(subset, {}).get("mae"))),
        *(_Column(f"{name} ms", _latency_cell(subset, name)) for name in ("p50", "p99")),
        _Column(SPEEDUP_TITLE, lambda point: _speedup(point, subset, teacher)),
        _Column("size KB", lambda point: format_kilobytes(point.size_bytes)),
        _Column("parity", lambda point: format_number(point.parity, 2)),
    ]


def _speedup(point: ReportPoint, subset: str, teacher: float) -> str:
    """Return how many times as fast a row is as the teacher, whose p50 is `teacher` milliseconds; 0 is unknown."""
    p50 = point.p50(subset)
    return f"{teacher / p50:.1f}" if teacher and p50 and point.on_target else ABSENT


def _gate_cell(gate: str, value: float | None) -> str:
    return ABSENT if value is None else describe(gate).format(value)


def _latency_cell(subset: str, name: str) -> Callable[[ReportPoint], str]:
    return lambda point: format_number(point.latency_ms.get(subset, {}).get(name))
