"""The report's summary in words: what a reader would conclude from the tables, and no more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edge_msa.evaluation.metrics import describe
from edge_msa.reporting.points import NOT_EXECUTED, ReportPoint, front_of, headline_subset, short_names, shown, undrawn

NOISE = 0.1
"""Two runs of the same graph differ by about that share of p50."""


def verdicts(points: Sequence[ReportPoint]) -> tuple[str, ...]:
    """The front, the accuracy beside its bounds, lower precisions against fp32, int8 that never pays, what did not run.

    A sentence or two on each, all of the same split; the latency of the fullest subset that was measured.
    """
    if not points:
        return ("Nothing was measured.",)
    subset = headline_subset(points)
    return (
        *_front(points, subset),
        *_beside_bounds(points, subset),
        *_precisions(points, subset),
        *_int8_pays(points, subset),
        *_gaps(points),
    )


def _front(points: Sequence[ReportPoint], subset: str) -> Iterator[str]:
    front = front_of(points, subset)
    if not front:
        yield "No point has both a latency and an accuracy, so there is no front to draw."
        return
    parts = [f"{_name(point, points)} ({_cost(point, subset)}, {_quality(point, subset)})" for point in front]
    measured = sum(not undrawn(point, subset) for point in points)
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
    baselines = [row[best.gate_metric] for row in best.baselines.values() if best.gate_metric in row]
    limit = best.limits.get(subset, {}).get(best.gate_metric)
    bounds = []
    if baselines:
        constant = "the better of the two constants" if len(set(baselines)) > 1 else "a constant"
        bounds.append(f"{gate.format(max(baselines))} for {constant}")
    if limit is not None:
        bounds.append(f"{gate.format(limit)} that the best possible reader gets on this very split on average")
    text += f", beside {' and '.join(bounds)}" if bounds else ""
    yield f"{text}; a finite split lets a model land a little above that by luck." if limit is not None else f"{text}."


def _precisions(points: Sequence[ReportPoint], subset: str) -> Iterator[str]:
    """Every lower precision against fp32 of the same model, target, backend and device."""
    for point in points:
        base = _base(point, points)
        if base is None or point is base:
            continue
        parts = [*_speed(point, base, subset), *_change(point, base)]
        if point.size_bytes and base.size_bytes:
            parts.append(f"{shown(point.size_bytes / base.size_bytes, 2)} times the size")
        if parts:
            place = _name(point, points).rpartition(" · ")[0]
            yield f"{point.precision} against fp32, {place}: {', '.join(parts)}."


def _speed(point: ReportPoint, base: ReportPoint, subset: str) -> Iterator[str]:
    ratio = _ratio(point, base, subset)
    if ratio is not None:
        speed = f"{shown(ratio, 2)} times as fast" if ratio >= 1 else f"takes {shown(1 / ratio, 2)} times as long"
        if max(ratio, 1 / ratio) < 1 + NOISE:
            speed = "as fast within noise"
        yield f"{speed} on {subset} ({shown(point.p50(subset))} ms against {shown(base.p50(subset))} ms)"


def _ratio(point: ReportPoint, base: ReportPoint, subset: str) -> float | None:
    """How many times as fast as `base`; None where it was not measured, or on another kind of machine."""
    mine, theirs = point.p50(subset), base.p50(subset)
    return theirs / mine if mine and theirs and point.on_target and base.on_target else None


def _int8_pays(points: Sequence[ReportPoint], subset: str) -> Iterator[str]:
    """A sentence where int8 was timed and is nowhere both smaller and faster than noise."""
    pays = [
        ratio >= 1 + NOISE and (point.size_bytes or 0) < (base.size_bytes or 0)
        for point in points
        if point.precision == "int8"
        and (base := _base(point, points)) is not None
        and (ratio := _ratio(point, base, subset)) is not None
    ]
    if pays and not any(pays):
        yield (
            f"int8 does not pay at this size: nowhere here is it both smaller and at least {NOISE:.0%} faster than "
            "fp32; edge-msa bench long-windows shows where it does."
        )


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


def _base(point: ReportPoint, points: Sequence[ReportPoint]) -> ReportPoint | None:
    return next((other for other in points if _same_place(point, other) and other.precision == "fp32"), None)


def _same_place(first: ReportPoint, second: ReportPoint) -> bool:
    return (first.name, first.target, first.backend, first.device) == (
        second.name,
        second.target,
        second.backend,
        second.device,
    )


def _name(point: ReportPoint, points: Sequence[ReportPoint]) -> str:
    return short_names(points)[list(points).index(point)]


def _cost(point: ReportPoint, subset: str) -> str:
    return f"p50 {shown(point.p50(subset))} ms"


def _quality(point: ReportPoint, subset: str) -> str:
    gate = describe(point.gate_metric)
    return f"{gate.title} {gate.format(point.accuracy(subset) or 0.0)}"
