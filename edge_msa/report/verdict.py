"""The report's summary in words: what a reader would conclude from the tables, and no more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edge_msa.metrics import describe
from edge_msa.report.points import NOT_EXECUTED, ReportPoint, front_of, headline_subset, short_names, shown

NOISE = 0.1
"""Two runs of the same graph differ by about that share of p50."""


def verdicts(points: Sequence[ReportPoint]) -> tuple[str, ...]:
    """One sentence or two on each: the front, the accuracy beside floor and limit, int8 against fp32, what did not run.

    All of the same split; the latency of the fullest subset that was measured.
    """
    if not points:
        return ("Nothing was measured.",)
    subset = headline_subset(points)
    return (*_front(points, subset), *_beside_bounds(points, subset), *_precisions(points, subset), *_gaps(points))


def _front(points: Sequence[ReportPoint], subset: str) -> Iterator[str]:
    front = front_of(points, subset)
    if not front:
        yield "No point has both a latency and an accuracy, so there is no front to draw."
        return
    parts = [f"{_name(point, points)} ({_cost(point, subset)}, {_quality(point, subset)})" for point in front]
    measured = sum(point.p50(subset) is not None and point.accuracy(subset) is not None for point in points)
    if len(parts) == 1:
        yield f"Of {measured} measured, one is both the fastest and the most accurate on {subset}: {parts[0]}."
    else:
        yield f"Of {measured} measured, {len(parts)} are on the front on {subset}, fastest first: {'; '.join(parts)}."


def _beside_bounds(points: Sequence[ReportPoint], subset: str) -> Iterator[str]:
    known = [point for point in points if point.accuracy(subset) is not None]
    if not known:
        return
    best = max(known, key=lambda point: point.accuracy(subset) or 0.0)
    value, gate = best.accuracy(subset) or 0.0, describe(best.gate_metric)
    text = f"The most accurate on {subset} reaches {gate.title} {gate.format(value)}"
    floor = max((row[best.gate_metric] for row in best.floors.values() if best.gate_metric in row), default=None)
    limit = best.limits.get(subset, {}).get(best.gate_metric)
    if floor is not None:
        text += f", beside {gate.format(floor)} for the better of the two constants"
    if limit is not None:
        text += f" and {gate.format(limit)} for the exact limit, what the best possible reader expects"
    yield f"{text}."


def _precisions(points: Sequence[ReportPoint], subset: str) -> Iterator[str]:
    """Every lower precision against fp32 of the same model, target, engine and device."""
    for point in points:
        base = next((other for other in points if _same_place(point, other) and other.precision == "fp32"), None)
        if base is None or point is base:
            continue
        parts = [*_speed(point, base, subset), *_change(point, base)]
        if point.size_bytes and base.size_bytes:
            parts.append(f"{shown(point.size_bytes / base.size_bytes, 2)} times the size")
        if parts:
            place = _name(point, points).rpartition(" · ")[0]
            yield f"{point.precision} against fp32, {place}: {', '.join(parts)}."


def _speed(point: ReportPoint, base: ReportPoint, subset: str) -> Iterator[str]:
    mine, theirs = point.p50(subset), base.p50(subset)
    if mine and theirs:
        ratio = theirs / mine
        speed = f"{shown(ratio, 2)} times as fast" if ratio >= 1 else f"takes {shown(1 / ratio, 2)} times as long"
        if max(ratio, 1 / ratio) < 1 + NOISE:
            speed = "as fast within noise"
        yield f"{speed} on {subset} ({shown(mine)} ms against {shown(theirs)} ms)"


def _change(point: ReportPoint, base: ReportPoint) -> Iterator[str]:
    changes = {
        subset: 100.0 * (after - before)
        for subset in point.by_subset
        if (after := point.accuracy(subset)) is not None and (before := base.accuracy(subset)) is not None
    }
    if changes:
        worst = min(changes, key=lambda subset: changes[subset])
        title = describe(point.gate_metric).title
        yield f"{title} changes by {changes[worst]:+.1f} points at worst (on {worst})"


def _gaps(points: Sequence[ReportPoint]) -> Iterator[str]:
    idle = [_name(point, points) for point in points if not point.executed]
    if idle:
        yield f"Without latency, for it was {NOT_EXECUTED}: {'; '.join(idle)}."


def _same_place(first: ReportPoint, second: ReportPoint) -> bool:
    return (first.name, first.target, first.engine, first.device) == (
        second.name,
        second.target,
        second.engine,
        second.device,
    )


def _name(point: ReportPoint, points: Sequence[ReportPoint]) -> str:
    return short_names(points)[list(points).index(point)]


def _cost(point: ReportPoint, subset: str) -> str:
    return f"p50 {shown(point.p50(subset))} ms"


def _quality(point: ReportPoint, subset: str) -> str:
    gate = describe(point.gate_metric)
    return f"{gate.title} {gate.format(point.accuracy(subset) or 0.0)}"
