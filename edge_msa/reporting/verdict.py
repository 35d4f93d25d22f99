"""What to ship for each target, by a fixed rule that claims no difference within the noise.

Among the rows of a target that ran on its architecture, beat a constant, and have the precision that export chose:

1. Keep those that are as accurate as the most accurate one: the 95 % interval of their difference, paired by video,
   includes 0. Without intervals, only rows with the same accuracy are kept.
2. Among these, keep those that are as fast as the fastest one: the benchmark compared them and found neither faster.
   If it did not compare them, the interval of the ratio of their p50 includes 1. Without intervals, latencies within
   10 % count as equal.
3. Among these, prefer the smallest, then the one with the lowest p99.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence

from edge_msa.evaluation.metrics import Method, compare_methods, describe
from edge_msa.reporting.commands import unmeasured_accuracy_command
from edge_msa.reporting.figures import Value, Verdict
from edge_msa.reporting.points import (
    NOT_EXECUTED,
    OTHER_MACHINE,
    ReportPoint,
    eligible_points,
    omission_reason,
    point_ids,
)
from edge_msa.reporting.values import format_difference, format_differences, format_latency, format_value
from edge_msa.text_tables import ABSENT, format_kilobytes, format_number
from edge_msa_runtime.backend_info import BACKEND_INFO
from edge_msa_runtime.benchmark.bench import ComparedWith
from edge_msa_runtime.benchmark.latency_statistics import FASTER, SLOWER
from edge_msa_runtime.modalities import Subset

NOISE = 0.1
"""Two measurements of the same graph can differ by this share of p50."""
RULE = (
    "Rule: of the rows that ran on the target, beat a constant and have the precision that export chose, the most "
    "accurate; among those that do not differ from it (95 % interval of the paired difference includes 0), the fastest "
    f"by p50; among those that are as fast (the benchmark found neither faster, or their intervals overlap; without "
    f"intervals, within {NOISE:.0%}), the smallest."
).replace("10%", "10 %")
_SUBSET = re.compile(rf"\bof ({'|'.join(item.value for item in Subset)})\b")
_MISSING = (("vision", "the camera"), ("audio", "the microphone"), ("language", "the words"))
"""Modalities in the order in which a verdict names them as missing, and what then is missing."""


def find_verdicts(points: Sequence[ReportPoint], subset: str) -> tuple[Verdict, ...]:
    """Return one verdict per target, in the order of the points.

    Args:
        points: All rows of the report, the reference included.
        subset: Subset whose accuracy and latency decide.
    """
    targets = dict.fromkeys(point.target for point in points if point.target)
    return tuple(_find_verdict(target, points, subset) for target in targets)


def _find_verdict(target: str, points: Sequence[ReportPoint], subset: str) -> Verdict:
    rows = [point for point in points if point.target == target]
    measured = [point for point in rows if not omission_reason(point, subset)]
    candidates = [point for point in eligible_points(points) if point in measured]
    if candidates:
        return _ship(candidates, points, subset)
    if measured and all(point.warning for point in measured):
        return Verdict(
            target=target,
            decision="do not ship",
            row=None,
            headline=f"Do not ship {join_words(dict.fromkeys(point.name for point in measured))}",
            facts=["no better than a constant prediction"],
            reasons=[*dict.fromkeys(point.warning for point in measured), *_not_measured(rows, subset)],
        )
    return _cannot_tell(target, rows, subset)


def _cannot_tell(target: str, rows: Sequence[ReportPoint], subset: str) -> Verdict:
    command = None
    if not any(point.p50(subset) is not None and point.on_target for point in rows):
        facts = ["nothing was run on this target"]
        command = f"{shlex.join(['edge-msa', 'bench', rows[0].name])} --host USER@DEVICE --output FILE.json"
    elif all(point.accuracy(subset) is None for point in rows):
        facts = [f"no accuracy was measured on {subset}"]
        first = rows[0]
        command = unmeasured_accuracy_command(first.name, first.backend, first.precision)
    else:
        facts = [f"no row with the precision that export chose has both an accuracy and a latency on {subset}"]
    chosen = [point for point in rows if point.chosen and point.accuracy(subset) is not None and not point.warning]
    if chosen:
        gate = describe(chosen[0].gate_metric)
        choices = (f"{_title(point)} ({gate.title} {gate.format(point.accuracy(subset) or 0.0)})" for point in chosen)
        facts.append(f"export chose {join_words(choices)}")
    return Verdict(
        target=target,
        decision="cannot tell",
        row=None,
        headline="Cannot tell yet",
        facts=facts,
        reasons=list(_not_measured(rows, subset)),
        command=command,
    )


def _ship(candidates: Sequence[ReportPoint], points: Sequence[ReportPoint], subset: str) -> Verdict:
    gate = candidates[0].gate_metric
    best = max(candidates, key=lambda point: _gain(point.accuracy(subset) or 0.0, gate))
    accurate = [point for point in candidates if _is_as_accurate(point, best, subset)]
    fastest = min(accurate, key=lambda point: point.p50(subset) or math.inf)
    fast = [point for point in accurate if _is_as_fast(point, fastest, subset)]
    winner = min(fast, key=lambda point: (point.size_bytes or math.inf, _p99(point, subset) or math.inf))
    reference = next((point for point in points if point.reference and point is not winner), None)
    speedup = _speedup(winner, reference, subset)
    difference = None if reference is None else compare_points(reference, winner, subset, gate)
    without = dict(_without(winner, subset))
    facts = [_speed_fact(winner, reference, speedup, subset), _accuracy_fact(winner, difference, subset)]
    if winner.size_bytes:
        facts.append(f"{format_kilobytes(winner.size_bytes)} KB")
    tail = next((name for name in ("p99", "p95", "p90") if winner.latency(subset, name) is not None), None)
    if tail is not None:
        facts.append(f"{tail} {format_latency(winner.latency(subset, tail))} ms")
    facts += list(_missing_facts(without, gate))[:1]
    # The latency of a candidate that is too inaccurate decides nothing.
    deciding = [*accurate, *([reference] if reference is not None and speedup is not None else [])]
    noise = list(dict.fromkeys(text for point in deciding for text in _noise_on(point, subset)))
    if noise:
        facts.append("the machine was noisy, so measure the latency again")
    rows = [point for point in points if point.target == winner.target]
    names = {point.name for point in rows}
    verb = "Provisionally ship" if noise else "Ship"
    return Verdict(
        target=winner.target,
        decision="ship",
        row=point_ids(points)[points.index(winner)],
        headline=f"{verb} {_title(winner)}{f' ({winner.name})' if len(names) > 1 else ''}",
        facts=facts,
        reasons=[*_comparisons(winner, best, candidates, subset), *noise, *_not_measured(rows, subset)],
        command=winner.latency_command if noise else None,
        speedup=speedup,
        difference=difference,
        without=without,
    )


def _noise_on(point: ReportPoint, subset: str) -> Iterator[str]:
    """Yield what makes the latency on a subset less reliable: that of the machine, and of the row with its name."""
    for text in point.noise:
        named = _SUBSET.search(text)
        if named is None:
            yield text
        elif named[1] == subset:
            yield f"{_title(point)}: {text}"


def _gain(value: float, metric: str) -> float:
    """Return a metric with the sign for which higher is better."""
    return value if describe(metric).higher_is_better else -value


def _p99(point: ReportPoint, subset: str) -> float | None:
    value = point.latency(subset, "p99")
    return None if value is None else value.value


def compare_points(first: ReportPoint, second: ReportPoint, subset: str, metric: str) -> Value | None:
    """Return the difference of a metric of two models, second minus first, paired by video.

    It has no interval if the videos of the models are unknown or too few. None if a model lacks the metric.
    """
    before, after = (point.by_subset.get(subset, {}).get(metric) for point in (first, second))
    if before is None or after is None or not math.isfinite(after - before):
        return None
    estimates = [point.estimates.get(subset, {}).get(metric) for point in (first, second)]
    methods = [Method([item], depends_on_seed=False) for item in estimates if item is not None and item.has_variance]
    if len(methods) < 2 or len({len(method.estimates[0].contributions) for method in methods}) > 1:
        return Value(value=after - before)
    result = compare_methods(*methods)
    return Value(value=after - before, low=result.low, high=result.high)


def _is_as_accurate(point: ReportPoint, best: ReportPoint, subset: str) -> bool:
    """Return whether no loss of accuracy from the best row is certain. Without an interval, any loss counts."""
    if point is best:
        return True
    change = compare_points(best, point, subset, best.gate_metric)
    if change is None or change.value is None:
        return False
    return change.includes_zero if change.has_interval else _gain(change.value, best.gate_metric) >= 0


def _is_as_fast(point: ReportPoint, fastest: ReportPoint, subset: str) -> bool:
    """Return whether no difference of p50 is certain. A paired comparison of the benchmark counts first."""
    for first, second in ((point, fastest), (fastest, point)):
        compared = _find_comparison(first, second, subset)
        if compared is not None:
            return compared.verdict not in {FASTER, SLOWER}
    ratio = _ratio(point.latency(subset, "p50"), fastest.latency(subset, "p50"))
    return ratio is not None and _is_equal_speed(ratio)


def _find_comparison(point: ReportPoint, other: ReportPoint, subset: str) -> ComparedWith | None:
    """Return how the benchmark compared a model with another one, if it measured both interleaved."""
    key = (other.name, other.backend, other.precision, subset)
    return next(
        (item for item in point.comparisons if (item.bundle, item.backend, item.precision, item.subset) == key), None
    )


def _is_equal_speed(ratio: Value) -> bool:
    """Return whether a ratio of latencies is 1 within its interval, or within the noise if it has none."""
    if ratio.low is not None and ratio.high is not None:
        return ratio.low <= 1.0 <= ratio.high
    return ratio.value is not None and max(ratio.value, 1 / ratio.value) <= 1 + NOISE


def _ratio(latency: Value | None, other: Value | None) -> Value | None:
    """Return one latency divided by another. The interval contains the ratio of any two values in their intervals."""
    if latency is None or other is None or not latency.value or not other.value:
        return None
    value = latency.value / other.value
    if latency.low is None or latency.high is None or not other.low or not other.high:
        return Value(value=value)
    return Value(value=value, low=latency.low / other.high, high=latency.high / other.low)


def _speedup(winner: ReportPoint, reference: ReportPoint | None, subset: str) -> Value | None:
    """Return how many times as fast as the reference a row is; None if they were not measured on one machine."""
    if reference is None or reference.machine.get("machine") != winner.machine.get("machine"):
        return None
    return _ratio(reference.latency(subset, "p50"), winner.latency(subset, "p50"))


def _speed_fact(winner: ReportPoint, reference: ReportPoint | None, speedup: Value | None, subset: str) -> str:
    if reference is None or speedup is None or speedup.value is None:
        return f"p50 {format_latency(winner.latency(subset, 'p50'))} ms"
    teacher = f"the teacher in {backend_title(reference.backend)}"
    if _is_equal_speed(speedup):
        return f"as fast as {teacher} within {_noise(speedup)}"
    interval = "no interval"
    if speedup.has_interval:
        interval = f"95 % interval {format_number(speedup.low, 2)} to {format_number(speedup.high, 2)}"
    return f"{format_number(speedup.value, 2)}x as fast as {teacher} ({interval})"


def _noise(ratio: Value) -> str:
    return "the intervals" if ratio.has_interval else f"{NOISE:.0%}, no interval".replace("%", " %")


def _accuracy_fact(winner: ReportPoint, difference: Value | None, subset: str) -> str:
    metric = winner.gate_metric
    gate = describe(metric)
    if difference is None or difference.value is None:
        return f"{gate.title} {_format_expected(winner, subset)}"
    unit = " points" if gate.percent else ""
    parts = [f"{format_difference(metric, difference.value)}{unit} from the teacher"]
    if difference.low is None or difference.high is None:
        parts.append("no interval")
    else:
        noise = ": within noise" if difference.includes_zero else ""
        parts.append(f"95 % interval {format_differences(metric, difference.low, difference.high)}{noise}")
    return f"{gate.title} {gate.format(winner.accuracy(subset) or 0.0)} ({', '.join(parts)})"


def _without(winner: ReportPoint, subset: str) -> Iterator[tuple[str, Value]]:
    """Yield each modality of the subset with the gate metric if it is missing."""
    for modality, _ in _MISSING:
        rest = "".join(letter for letter in subset if letter != modality[0])
        value = winner.metric(rest, winner.gate_metric)
        if modality[0] in subset and rest and value is not None:
            yield modality, value


def _missing_facts(without: Mapping[str, Value], metric: str) -> Iterator[str]:
    for modality, words in _MISSING:
        if modality in without:
            yield f"without {words} expect {format_value(without[modality], metric)}"


def _comparisons(
    winner: ReportPoint, best: ReportPoint, candidates: Sequence[ReportPoint], subset: str
) -> Iterator[str]:
    """Yield why each other candidate is not preferred."""
    gate = winner.gate_metric
    for point in candidates:
        if point is winner:
            continue
        change = compare_points(winner, point, subset, gate)
        value = ABSENT if change is None or change.value is None else format_difference(gate, change.value)
        if change is not None and change.low is not None and change.high is not None:
            value += f", 95 % interval {format_differences(gate, change.low, change.high)}"
        else:
            value += ", no interval"
        if not _is_as_accurate(point, best, subset):
            yield f"{_title(point)} is less accurate ({value})."
            continue
        within = " within noise" if change is not None and change.has_interval else ""
        accuracy = f"is as accurate{within} ({value})"
        if not _is_as_fast(point, winner, subset):
            yield f"{_title(point)} {accuracy}, but slower (p50 {format_latency(point.latency(subset, 'p50'))} ms)."
            continue
        p50, other = point.latency(subset, "p50"), winner.latency(subset, "p50")
        compared = _find_comparison(point, winner, subset) or _find_comparison(winner, point, subset)
        noise = "noise" if compared or not (ratio := _ratio(p50, other)) else _noise(ratio)
        speed = f"as fast within {noise} (p50 {format_latency(p50)} and {format_latency(other)} ms)"
        if (point.size_bytes or 0) > (winner.size_bytes or 0):
            sizes = f"{format_kilobytes(point.size_bytes)} KB instead of {format_kilobytes(winner.size_bytes)} KB"
            yield f"{_title(point)} {accuracy} and {speed}, but larger ({sizes})."
        else:
            yield f"{_title(point)} {accuracy} and {speed}, and has the same size, but a higher p99."


def _not_measured(rows: Sequence[ReportPoint], subset: str) -> Iterator[str]:
    """Yield which rows of the target say nothing about it, with the reason."""
    groups: dict[str, list[str]] = {}
    for point in rows:
        reason = omission_reason(point, subset)
        if reason == NOT_EXECUTED:
            reason = f"was {point.remark}"
        elif reason == OTHER_MACHINE:
            reason = "was measured on a machine of another architecture, which says nothing about the speed here"
        elif reason:
            reason = f"has {reason}"
        if reason:
            groups.setdefault(reason, []).append(_title(point))
    for reason, names in groups.items():
        subject = join_words(names)
        yield f"Not compared: {subject} {reason if len(names) == 1 else _plural(reason)}."


def _plural(reason: str) -> str:
    return re.sub("^was ", "were ", re.sub("^has ", "have ", reason))


def _title(point: ReportPoint) -> str:
    return f"{point.short_title} on {backend_title(point.backend)}"


def backend_title(backend: str) -> str:
    """Return the name of a backend for people."""
    info = BACKEND_INFO.get(backend)
    return info.title if info else "PyTorch" if backend == "torch" else backend


def _format_expected(point: ReportPoint, subset: str) -> str:
    value = point.metric(subset, point.gate_metric)
    return ABSENT if value is None else format_value(value, point.gate_metric)


def join_words(words: Iterable[str]) -> str:
    """Return words with commas and `and`."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
