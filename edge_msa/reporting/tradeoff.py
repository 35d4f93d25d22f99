"""The trade-off as cells: one row a point, for a terminal or the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from edge_msa.evaluation.metrics import describe, missing_average
from edge_msa.reporting.points import ReportPoint, front_of, grouped, headline_subset, shared_gate, shown
from edge_msa.text_tables import ABSENT, text_table

MIB = 2**20
NAMES = 4
"""Leading columns that hold names: number, target, backend, precision."""


class _Column(NamedTuple):
    title: str
    cell: Callable[[ReportPoint], str]
    brief: bool = True


def format_tradeoff(points: Sequence[ReportPoint]) -> str:
    """The trade-off as a text table of the main columns, the front marked `*`, then a line for each thing to know."""
    header, rows = tradeoff_rows(points, brief=True)
    remarks = grouped(point.remark for point in points)
    return "\n".join([text_table(header, rows, left=NAMES), "", legend(points), *remarks])


def legend(points: Sequence[ReportPoint]) -> str:
    """What `*` says, and of which rows it says nothing."""
    text = "* nothing measured here is both faster and more accurate"
    if any(point.latency_ms and not point.on_target for point in points):
        text += "; rows that were not measured on their target's kind of machine are left out"
    return text


def tradeoff_rows(points: Sequence[ReportPoint], *, brief: bool = False) -> tuple[list[str], list[list[str]]]:
    """Header and cells; `brief` keeps what fits a terminal. Columns that no point has a value for are left out."""
    subset = headline_subset(points)
    front = front_of(points, subset)
    header = ["#", "target", "backend", "precision"]
    rows = [
        [f"{number}{'*' if point in front else ''}", point.target or point.name, point.backend, _precision(point)]
        for number, point in enumerate(points, 1)
    ]
    for column in _columns(subset, shared_gate(points)):
        cells = [column.cell(point) for point in points]
        if (brief and not column.brief) or all(cell == ABSENT for cell in cells):
            continue
        header.append(column.title)
        rows = [[*row, cell] for row, cell in zip(rows, cells, strict=True)]
    return header, rows


def _precision(point: ReportPoint) -> str:
    return f"{point.precision} (chosen)" if point.chosen else point.precision


def _columns(subset: str, gate: str) -> list[_Column]:
    title = describe(gate).title if gate else "accuracy"
    return [
        _Column(f"{title} {subset}", lambda point: _share(gate, point.accuracy(subset))),
        _Column("missing-average", lambda point: _share(gate, missing_average(point.by_subset).get(gate))),
        _Column(f"MAE {subset}", lambda point: shown(point.by_subset.get(subset, {}).get("mae"))),
        *(_Column(f"{name} ms", _latency(subset, name), brief=name != "p90") for name in ("p50", "p90", "p99")),
        _Column("size MiB", lambda point: shown(None if point.size_bytes is None else point.size_bytes / MIB)),
        _Column("load ms", lambda point: shown(point.load_ms), brief=False),
        _Column("peak MiB", lambda point: shown(point.peak_memory_mib), brief=False),
        _Column("parity", lambda point: shown(point.parity, 2)),
    ]


def _share(gate: str, value: float | None) -> str:
    return ABSENT if value is None else describe(gate).format(value)


def _latency(subset: str, name: str) -> Callable[[ReportPoint], str]:
    return lambda point: shown(point.latency_ms.get(subset, {}).get(name))
