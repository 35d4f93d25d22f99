"""The summary of a report: the conclusions that the tables support, as sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edge_msa.evaluation.metrics import Method, compare_methods, describe
from edge_msa.reporting.points import (
    ReportPoint,
    chosen_precision,
    eligible_points,
    headline_subset,
    omission_reason,
    pareto_front_points,
    short_names,
    subset_title,
)
from edge_msa.text_tables import format_number

NOISE = 0.1
"""Two measurements of the same graph can differ by this share of p50."""


def summarize(points: Sequence[ReportPoint]) -> tuple[str, ...]:
    """Return sentences on the main results.

    In this order: models that do not beat a constant, the Pareto front, the best accuracy with the baselines and the
    Bayes optimum, each lower precision compared with fp32, whether int8 has a benefit, and what was not executed.
    Latencies are those of `headline_subset`.
    """
    if not points:
        return ("Nothing was measured.",)
    subset = headline_subset(points)
    return (
        *dict.fromkeys(point.warning for point in points if point.warning),
        *_pareto_front(points, subset),
        *_best_accuracy(points, subset),
        *_precisions(points, subset),
        *_int8_without_benefit(points, subset),
        *_not_executed(points),
    )


def _pareto_front(points: Sequence[ReportPoint], subset: str) -> Iterator[str]:
    best = pareto_front_points(points, subset)
    complete = [point for point in points if not omission_reason(point, subset)]
    measured = [point for point in eligible_points(points) if point in complete]
    if not best:
        yield f"{_missing_pareto_front(points, complete)}, so there is no Pareto front."
        return
    parts = [f"{_name(point, points)} ({_latency(point, subset)}, {_accuracy(point, subset)})" for point in best]
    title, chosen = subset_title(subset), ""
    if any(chosen_precision(point, points) and not point.chosen for point in complete):
        chosen = " with the precision that export chose"
    if len(measured) == 1:
        if len(complete) == 1:
            yield f"Only one row was measured on {title}: {parts[0]}."
        else:
            yield f"Only one of the {len(complete)} rows measured on {title} is considered: {parts[0]}."
    elif len(parts) == 1:
        others = len(measured) - 1
        rows = "the only other measured row" if others == 1 else f"{others} other measured rows"
        yield (
            f"On {title}, one row is both the fastest and the most accurate: {parts[0]}. It was compared with "
            f"{rows}{chosen}."
        )
    else:
        count = f"{len(parts)} of {len(measured)} measured rows{chosen}"
        yield f"{count} are on the Pareto front on {title}, fastest first: {'; '.join(parts)}."


def _missing_pareto_front(points: Sequence[ReportPoint], complete: Sequence[ReportPoint]) -> str:
    """Return why no row can be on the Pareto front."""
    if not complete:
        return "No row has both a latency and an accuracy"
    if all(point.warning for point in complete):
        return "No measured row beats a constant"
    if all(point.warning for point in points if point.chosen):
        return "No row that beats a constant has the precision that export chose"
    return "No row with the precision that export chose has both a latency and an accuracy"


def _best_accuracy(points: Sequence[ReportPoint], subset: str) -> Iterator[str]:
    measured = [point for point in eligible_points(points) if point.accuracy(subset) is not None]
    if not measured:
        return
    best = max(measured, key=lambda point: point.accuracy(subset) or 0.0)
    value, gate = best.accuracy(subset) or 0.0, describe(best.gate_metric)
    references = []
    baselines = [row[best.gate_metric] for row in best.baselines.values() if best.gate_metric in row]
    if baselines:
        references.append(f"the better baseline reaches {gate.format(max(baselines))}")
    optimum = best.bayes_optimum.get(subset, {}).get(best.gate_metric)
    if optimum is not None:
        references.append(f"the Bayes optimum is {gate.format(optimum)}")
    text = f"The best {gate.title} on {subset} among the considered rows is {gate.format(value)}"
    yield f"{text}; {' and '.join(references)}." if references else f"{text}."
    if optimum is not None:
        yield (
            "The Bayes optimum is an expected value for this split. The split is finite, so a model can exceed it "
            "slightly by chance."
        )


def _precisions(points: Sequence[ReportPoint], subset: str) -> Iterator[str]:
    """Compare each lower precision with fp32 of the same model, target, backend and device."""
    for point in points:
        base = _fp32_of(point, points)
        if base is None or point is base:
            continue
        parts = [*_speed(point, base, subset), *_accuracy_change(point, base)]
        if point.size_bytes and base.size_bytes:
            parts.append(f"{format_number(point.size_bytes / base.size_bytes, 2)} times the size")
        chosen = chosen_precision(point, points)
        if parts and chosen:
            parts.append(f"export chose {chosen}")
        if parts:
            where = _name(point, points).rpartition(" · ")[0]
            yield f"{point.short_title} compared with fp32 on {where}: {'; '.join(parts)}."


def _speed(point: ReportPoint, base: ReportPoint, subset: str) -> Iterator[str]:
    ratio = _speed_ratio(point, base, subset)
    if ratio is not None:
        speed = f"{format_number(ratio, 2)} times as fast"
        if ratio < 1:
            speed = f"takes {format_number(1 / ratio, 2)} times as long"
        if max(ratio, 1 / ratio) < 1 + NOISE:
            speed = "equally fast within noise"
        latencies = f"{format_number(point.p50(subset))} ms instead of {format_number(base.p50(subset))} ms"
        yield f"{speed} on {subset} ({latencies})"


def _speed_ratio(point: ReportPoint, base: ReportPoint, subset: str) -> float | None:
    """Return the latency of `base` divided by that of `point`, or None if either was not measured on the target."""
    latency, base_latency = point.p50(subset), base.p50(subset)
    return base_latency / latency if latency and base_latency and point.on_target and base.on_target else None


def _int8_without_benefit(points: Sequence[ReportPoint], subset: str) -> Iterator[str]:
    """Yield a sentence if int8 was timed, but no int8 row is both smaller and faster than fp32."""
    beneficial = [
        ratio >= 1 + NOISE and (point.size_bytes or 0) < (base.size_bytes or 0)
        for point in points
        if point.precision == "int8"
        and point.size_bytes
        and (base := _fp32_of(point, points)) is not None
        and base.size_bytes
        and (ratio := _speed_ratio(point, base, subset)) is not None
    ]
    if beneficial and not any(beneficial):
        yield (
            f"int8 has no benefit for a model of this size: no row is both smaller and at least {NOISE:.0%} faster "
            "than fp32. Run edge-msa bench long-windows to see at which size int8 helps."
        )


def _accuracy_change(point: ReportPoint, base: ReportPoint) -> Iterator[str]:
    changes = {
        subset: 100.0 * (after - before)
        for subset in point.by_subset
        if (after := point.accuracy(subset)) is not None and (before := base.accuracy(subset)) is not None
    }
    if changes:
        worst = min(changes, key=lambda subset: changes[subset])
        title = describe(point.gate_metric).title
        missing = {*point.by_subset, *base.by_subset} - set(changes)
        scope = f"of the compared subsets ({', '.join(changes)})" if missing else "subset"
        if round(changes[worst], 1) >= 0:
            yield f"no loss of {title} on any {scope}"
        else:
            text = f"{title} changes by {changes[worst]:+.1f} points on {worst}, the worst {scope}"
            yield text + _interval(point, base, worst)


def _interval(point: ReportPoint, base: ReportPoint, subset: str) -> str:
    """Return the interval of the difference between two models, or "" if it is unknown."""
    pair = [item.estimates.get(subset, {}).get(item.gate_metric) for item in (base, point)]
    models = [Method([item], depends_on_seed=False) for item in pair if item is not None]
    comparable = all(model.estimates[0].has_variance for model in models)
    if not comparable or len(models) < len(pair) or len({len(item.estimates[0].contributions) for item in models}) > 1:
        return ""
    result = compare_methods(*models)
    zero = ", which includes 0" if result.includes_zero else ""
    interval = describe(point.gate_metric).format_interval(result.low, result.high)
    return f" (95 % interval {interval}{zero})"


def _not_executed(points: Sequence[ReportPoint]) -> Iterator[str]:
    names = [_name(point, points) for point in points if not point.executed]
    if names:
        yield f"Not executed, so latency is unknown: {'; '.join(names)}."


def _fp32_of(point: ReportPoint, points: Sequence[ReportPoint]) -> ReportPoint | None:
    def key(item: ReportPoint) -> tuple[str, str, str, str]:
        return item.name, item.target, item.backend, item.device

    return next((other for other in points if other.precision == "fp32" and key(other) == key(point)), None)


def _name(point: ReportPoint, points: Sequence[ReportPoint]) -> str:
    return short_names(points)[list(points).index(point)]


def _latency(point: ReportPoint, subset: str) -> str:
    return f"p50 {format_number(point.p50(subset))} ms"


def _accuracy(point: ReportPoint, subset: str) -> str:
    gate = describe(point.gate_metric)
    return f"{gate.title} {gate.format(point.accuracy(subset) or 0.0)}"
