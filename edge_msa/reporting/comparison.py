"""Compare two reports: what changed, and whether by more than noise.

Metrics of the same samples are compared paired by video if both reports come from records. From pages and JSON files,
only the interval of each value is known. The difference then counts as noise unless the intervals have no value in
common, which is stricter. Latencies were measured in different runs: a difference counts only if every ratio within the
intervals exceeds the noise between runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from edge_msa import result_tables
from edge_msa.errors import UsageError
from edge_msa.evaluation.evaluate import MISSING_AVERAGE
from edge_msa.evaluation.metrics import describe
from edge_msa.reporting.figures import Figures, Row, Value
from edge_msa.reporting.points import ReportPoint
from edge_msa.reporting.values import format_latency, format_value
from edge_msa.reporting.verdict import NOISE, compare_points
from edge_msa.text_tables import format_kilobytes, text_table
from edge_msa_runtime.wording import format_count

Outcome = Literal["better", "worse", "same", "within noise", "cannot tell"]
"""`same`: equal values. `cannot tell`: without intervals, or on other machines."""
Points = Mapping[str, ReportPoint]
"""The points of a report by the id of their row; empty if it was loaded from a page."""
_SIZE = "size"
_RUNS = "runs"


@dataclass(frozen=True)
class Change:
    """One figure in both reports."""

    row: str
    """Id of the row."""
    figure: str
    """Name for people, such as `MAE on lav`."""
    before: str
    """The value in the first report, as text with its interval."""
    after: str
    """The value in the second report."""
    difference: str
    """What changed, as text with its interval."""
    outcome: Outcome


@dataclass(frozen=True, repr=False)
class ReportComparison(result_tables.Table):
    """What changed between two reports. `print` shows the changes beyond noise, and counts the others."""

    changes: tuple[Change, ...]
    """One per figure that both reports have."""
    added: tuple[str, ...]
    """Ids of rows that only the second report has."""
    removed: tuple[str, ...]
    """Ids of rows that only the first report has."""
    verdicts: tuple[tuple[str, str, str], ...]
    """Target, and what the first and the second report say to ship, where that changed."""
    notes: tuple[str, ...]
    """What could not be compared."""

    def __repr__(self) -> str:
        """Return the number of figures that got better and worse."""
        return f"<ReportComparison: {self.summary}>"

    @property
    def regressions(self) -> tuple[Change, ...]:
        """The figures that got worse by more than noise."""
        return tuple(item for item in self.changes if item.outcome == "worse")

    @property
    def summary(self) -> str:
        """How many figures got worse and better, and how many did not."""
        counts = {name: sum(item.outcome == name for item in self.changes) for name in _ORDER}
        return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "nothing to compare"

    def __str__(self) -> str:
        """Return the changes for people."""
        shown = [item for item in self.changes if item.outcome in {"better", "worse"}]
        header = ["row", "figure", "before", "after", "difference", ""]
        rows = [[item.row, item.figure, item.before, item.after, item.difference, item.outcome] for item in shown]
        lines = [text_table(header, rows, left=2, texts=1)] if rows else ["No figure changed by more than noise."]
        lines += [f"{format_count(len(self.changes), 'figure')}: {self.summary}"]
        lines += [f"{target}: the verdict was {before!r}, and is {after!r}" for target, before, after in self.verdicts]
        lines += [f"only in the first report: {name}" for name in self.removed]
        lines += [f"only in the second report: {name}" for name in self.added]
        return "\n".join([*lines, *self.notes])

    @property
    def rows(self) -> tuple[result_tables.Row, ...]:
        """One row per figure that both reports have."""
        return tuple(vars(item) for item in self.changes)

    def to_json(self) -> dict[str, object]:
        """Return plain JSON values."""
        return {
            "changes": [dict(vars(item)) for item in self.changes],
            "added": list(self.added),
            "removed": list(self.removed),
            "verdicts": [list(item) for item in self.verdicts],
            "notes": list(self.notes),
        }


_ORDER: tuple[Outcome, ...] = ("worse", "better", "within noise", "same", "cannot tell")


def compare_figures(
    before: Figures, after: Figures, points_before: Points | None = None, points_after: Points | None = None
) -> ReportComparison:
    """Compare two reports, row by row.

    The gate metric and MAE, the median latency, the size, and whether the graphs ran are compared.

    Args:
        before: The first report.
        after: The second report.
        points_before: The points of the first report, for paired intervals.
        points_after: The points of the second report.

    Raises:
        UsageError: The reports have no row in common.
    """
    first, second = ({row.id: row for row in item.rows} for item in (before, after))
    common = [name for name in first if name in second]
    if not common and first and second:
        raise UsageError(
            f"The reports must have a row in common, got {', '.join(first)} and {', '.join(second)}. "
            "Pass two reports of the same models."
        )
    same_data = _data_key(before) == _data_key(after)
    notes = [] if same_data else ["The reports use different data, so their accuracies are not compared."]
    changes: list[Change] = []
    for name in common:
        pair = (points_before or {}).get(name), (points_after or {}).get(name)
        if same_data:
            changes += _metric_changes(first[name], second[name], before.metric, *pair)
        changes += _cost_changes(first[name], second[name])
    if any(_machine(first[name]) != _machine(second[name]) for name in common):
        notes.append("The machine or versions of some rows differ, so the latencies of these rows are not compared.")
    return ReportComparison(
        tuple(changes),
        tuple(name for name in second if name not in first),
        tuple(name for name in first if name not in second),
        tuple(_verdict_changes(before, after)),
        tuple(notes),
    )


def latency_outcome(before: Value, after: Value) -> tuple[Outcome, str]:
    """Return whether a latency changed, and the ratio as text."""
    if not before.value or not after.value:
        return "cannot tell", ""
    ratio = after.value / before.value
    if before.value == after.value:
        return "same", "1.00 x"
    if not (before.low and before.high and after.low and after.high):
        return ("within noise" if _is_noise(ratio) else "cannot tell"), f"{ratio:.2f} x"
    low, high = after.low / before.high, after.high / before.low
    text = f"{ratio:.2f} x ({low:.2f} to {high:.2f})"
    if low > 1 and not _is_noise(ratio):
        return "worse", text
    return ("better" if high < 1 and not _is_noise(ratio) else "within noise"), text


def _is_noise(ratio: float) -> bool:
    return max(ratio, 1 / ratio) < 1 + NOISE / 2


def _metric_changes(
    before: Row, after: Row, gate: str, point_before: ReportPoint | None, point_after: ReportPoint | None
) -> Iterator[Change]:
    for subset, items in before.metrics.items():
        for name in dict.fromkeys(item for item in (gate, "mae") if item in items):
            old, new = items[name], after.metrics.get(subset, {}).get(name)
            if new is None or old.value is None or new.value is None:
                continue
            paired = None
            if point_before is not None and point_after is not None and subset != MISSING_AVERAGE:
                paired = compare_points(point_before, point_after, subset, name)
            outcome, text = _metric_outcome(old, new, paired, name)
            title = f"{describe(name).title} on {subset.replace('_', ' ')}"
            yield Change(before.id, title, format_value(old, name), format_value(new, name), text, outcome)


def _metric_outcome(old: Value, new: Value, paired: Value | None, name: str) -> tuple[Outcome, str]:
    metric, change = describe(name), (new.value or 0.0) - (old.value or 0.0)
    if change == 0.0:
        return "same", metric.format_signed(0.0)
    text, is_noise = metric.format_signed(change), None
    if paired is not None and paired.low is not None and paired.high is not None:
        text += f" ({metric.format_interval(paired.low, paired.high)})"
        is_noise = paired.includes_zero
    elif old.low is not None and old.high is not None and new.low is not None and new.high is not None:
        is_noise = old.low <= new.high and new.low <= old.high
    if is_noise is None:
        return "cannot tell", text
    if is_noise:
        return "within noise", text
    return ("better" if (change > 0) == metric.higher_is_better else "worse"), text


def _cost_changes(before: Row, after: Row) -> Iterator[Change]:
    if before.executed != after.executed:
        states = {True: "yes", False: "no"}
        outcome: Outcome = "better" if after.executed else "worse"
        yield Change(before.id, _RUNS, states[before.executed], states[after.executed], "", outcome)
    if before.size_bytes and after.size_bytes:
        old, new = before.size_bytes, after.size_bytes
        outcome = "same" if old == new else "better" if new < old else "worse"
        sizes = f"{format_kilobytes(old)} KB", f"{format_kilobytes(new)} KB"
        yield Change(before.id, _SIZE, *sizes, f"{new / old - 1:+.1%}".replace("%", " %"), outcome)
    same_machine = _machine(before) == _machine(after)
    for subset, items in before.latency_ms.items():
        other = after.latency_ms.get(subset, {}).get("p50")
        if "p50" not in items or other is None:
            continue
        outcome, text = latency_outcome(items["p50"], other)
        texts = format_latency(items["p50"], interval=True), format_latency(other, interval=True)
        yield Change(before.id, f"p50 on {subset}, ms", *texts, text, outcome if same_machine else "cannot tell")


def _verdict_changes(before: Figures, after: Figures) -> Iterator[tuple[str, str, str]]:
    old = {item.target: item for item in before.verdicts}
    for item in after.verdicts:
        earlier = old.get(item.target)
        if earlier is not None and (earlier.decision, earlier.row) != (item.decision, item.row):
            yield item.target, earlier.headline, item.headline


def _data_key(figures: Figures) -> tuple[str, str, str] | None:
    data = figures.data
    return None if data is None else (data.digest, data.split, data.task)


def _machine(row: Row) -> dict[str, str]:
    """Return what latencies depend on: all but the conditions, which change during a measurement."""
    names = ("machine", "system", "threads", row.backend)
    return {name: row.machine[name] for name in names if name in row.machine}


def is_close(first: float, second: float, relative: float) -> bool:
    """Return whether two values agree up to rounding, relative to the larger one or to 1."""
    return math.isclose(first, second, rel_tol=relative, abs_tol=relative)
