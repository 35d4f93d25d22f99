"""A search as cells: the Pareto set for a terminal and the page, and all trials for the page."""

from __future__ import annotations

from collections.abc import Sequence

from edge_msa.search.points import Point, words_of
from edge_msa.search.record import SearchRecord
from edge_msa.text_tables import ABSENT, text_table

NAMES = 2
"""Leading columns that hold names: the trial, and what was tried."""


def header_of(record: SearchRecord) -> list[str]:
    """Titles of the columns."""
    return ["trial", "what was tried", record.error_name, "of default", "p50 ms", "size KB"]


def pareto_rows(record: SearchRecord) -> list[list[str]]:
    """The Pareto set, fastest first, and the default recipe; `*` marks the set, latencies are of the last run."""
    kept = {point.number for point in record.pareto}
    base = record.baseline
    shown = [*record.pareto, *([base] if base is not None and base.number not in kept else [])]
    return [_row(record, point, starred=point.number in kept, final=True) for point in shown]


def trial_rows(record: SearchRecord) -> list[list[str]]:
    """Every trial that was measured, by number; latencies are as measured then, in turns with the reference."""
    kept = {point.number for point in record.pareto}
    return [_row(record, point, starred=point.number in kept) for point in record.points if point.done]


def failed_lines(record: SearchRecord) -> list[str]:
    """What became of the trials that were not measured."""
    return [f"trial {point.number} ({words_of(point.params)}) failed: {point.reason}" for point in record.failed]


def format_search(record: SearchRecord) -> str:
    """The Pareto set as a text table, and a line for each thing to know."""
    lines = [
        text_table(header_of(record), pareto_rows(record), left=NAMES),
        f"* nothing tried is better in {record.error_name} (validation, mean over subsets), latency and size together",
        *failed_lines(record),
    ]
    return "\n".join(lines)


def bundle_lines(record: SearchRecord, numbers: Sequence[int]) -> list[str]:
    """Where the bundles of those trials are."""
    return [f"trial {number}: {record.bundles[number]}" for number in numbers if number in record.bundles]


def _row(record: SearchRecord, point: Point, *, starred: bool, final: bool = False) -> list[str]:
    base = record.baseline
    if final:
        share, p50 = record.share(point), record.final_ms.get(point.number, point.p50_ms)
    else:
        share, p50 = (point.costs[1] / base.costs[1] if base is not None else None), point.p50_ms
    name = words_of(point.params) + (" (default)" if point.default else "")
    return [
        f"{point.number}{'*' if starred else ''}",
        name,
        f"{point.costs[0]:.4f}",
        ABSENT if share is None else f"{share:.0%}",
        ABSENT if p50 is None else f"{p50:.3f}",
        f"{point.costs[2] / 1e3:.0f}",
    ]
