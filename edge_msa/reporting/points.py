"""One point of the trade-off: a model at one precision on one backend, with what it costs and what it gets right."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from edge_msa.benchmark.records import BenchRecord, Records
from edge_msa.errors import RunError
from edge_msa.evaluation.evaluate import Evaluation
from edge_msa.text_tables import format_number
from edge_msa_runtime.modalities import Subset

Metrics = Mapping[str, float]
NOT_EXECUTED = "not executed on a GPU"
ELSEWHERE = "latency of this machine, which is not of the target's kind"
_IMPORT = re.compile(r"^(\S+) cannot be imported \(No module named [^)]*\)$")


@dataclass(frozen=True)
class ReportPoint:
    """What was measured of one (model, target, backend, precision, device).

    `by_subset`, `baselines` and `limits` are metrics as `edge_msa.evaluation.metrics.measure` keys them; `gate_metric` is the one
    that pictures and verdicts use, "" where no accuracy was measured. `latency_ms` has p50, p90, p99 in milliseconds
    by subset, and is empty for what no device here could execute: then `executed` is False. `on_target` is False where
    the machine that was measured is not of the target's kind: such latencies are shown and are part of no front.
    `parity` is the largest |graph - torch fp32| of a prediction. `chosen` marks what the gate chose for its backend. None
    is what was not measured.
    """

    name: str
    target: str
    backend: str
    precision: str
    device: str
    gate_metric: str
    by_subset: Mapping[str, Metrics] = field(default_factory=dict)
    latency_ms: Mapping[str, Metrics] = field(default_factory=dict)
    size_bytes: int | None = None
    load_ms: float | None = None
    peak_memory_mib: float | None = None
    parity: float | None = None
    baselines: Mapping[str, Metrics] = field(default_factory=dict)
    limits: Mapping[str, Metrics] = field(default_factory=dict)
    chosen: bool = False
    executed: bool = True
    on_target: bool = True
    note: str = ""

    @property
    def remark(self) -> str:
        """What a reader must know beside the numbers, "" if nothing."""
        # What the runtime says goes on with what to do about it; a row needs no more than the reason.
        reason = _IMPORT.sub(r"\1 is not installed here", self.note.partition(";")[0].strip())
        if not self.executed:
            return ": ".join(part for part in (NOT_EXECUTED, reason) if part)
        return ", ".join(part for part in ("" if self.on_target else ELSEWHERE, reason) if part)

    def accuracy(self, subset: str) -> float | None:
        """The gate's metric of that subset."""
        return self.by_subset.get(subset, {}).get(self.gate_metric)

    def p50(self, subset: str) -> float | None:
        """Median latency of that subset, ms."""
        return self.latency_ms.get(subset, {}).get("p50")


def pareto_front(points: Iterable[tuple[float, float]]) -> tuple[int, ...]:
    """Indices of the (cost, quality) pairs that no other beats, cheapest first.

    Lower cost and higher quality are better. A pair is beaten by one that is at least as good in both and better in
    one; of equal pairs all stay.
    """
    pairs = list(points)

    def beaten(cost: float, quality: float) -> bool:
        return any(c <= cost and q >= quality and (c < cost or q > quality) for c, q in pairs)

    front = [index for index, pair in enumerate(pairs) if not beaten(*pair)]
    return tuple(sorted(front, key=lambda index: pairs[index]))


def front_of(points: Sequence[ReportPoint], subset: str) -> tuple[ReportPoint, ...]:
    """The points on the front of p50 against the gate's metric, fastest first.

    Points without either, and those that were not measured on their target's kind of machine, are no part of it.
    """
    known = [point for point in points if not undrawn(point, subset)]
    pairs = [(point.p50(subset) or 0.0, point.accuracy(subset) or 0.0) for point in known]
    return tuple(known[index] for index in pareto_front(pairs))


def undrawn(point: ReportPoint, subset: str) -> str:
    """Why a point has no place in the trade-off picture and its front, "" where it has one."""
    if not point.executed:
        return NOT_EXECUTED
    if point.p50(subset) is None:
        return f"no latency of {subset} was measured"
    if not point.on_target:
        return ELSEWHERE
    return "" if point.accuracy(subset) is not None else f"no accuracy of {subset} was measured"


def grouped(texts: Iterable[str]) -> list[str]:
    """Texts of the rows of a table, equal ones once and after their numbers, empty ones left out: `8, 9: why`."""
    rows: dict[str, list[str]] = {}
    for number, text in enumerate(texts, 1):
        if text:
            rows.setdefault(text, []).append(str(number))
    return [f"{', '.join(numbers)}: {text}" for text, numbers in rows.items()]


def headline_subset(points: Sequence[ReportPoint]) -> str:
    """The fullest subset that most points were measured on: what the trade-off is told by; `lav` if there is none."""

    def support(subset: Subset) -> tuple[int, int]:
        held = sum(subset.value in point.by_subset or subset.value in point.latency_ms for point in points)
        return held, len(subset.value)

    return max(Subset, key=support).value


def short_names(points: Sequence[ReportPoint]) -> tuple[str, ...]:
    """What tells the points apart, in their order: the model's name only where the target does not already say it."""
    targets, names = {point.target for point in points}, {(point.name, point.target) for point in points}
    named = len(names) > len(targets)

    def parts(point: ReportPoint) -> tuple[str, ...]:
        return (point.name if named or not point.target else "", point.target, point.backend, point.precision)

    return tuple(" · ".join(part for part in parts(point) if part) for point in points)


def shared_gate(points: Sequence[ReportPoint]) -> str:
    """The gate's metric of the points whose accuracy was measured, "" where none was."""
    return next((point.gate_metric for point in points if point.by_subset), "")


shown = format_number


def join_points(records: Records) -> tuple[ReportPoint, ...]:
    """A point for each bench, then one for each evaluation that no bench belongs to.

    A bench takes its accuracy from the evaluation of the same name, backend and precision; of several, the last.

    Raises:
        RunError: the evaluations are of different data, splits or tasks, which one picture cannot compare.
    """
    text_input = dict.fromkeys(
        f"{item.dataset} {item.split} ({item.digest[:8]}, {item.task})" for item in records.evaluations
    )
    if len(text_input) > 1:
        raise RunError(
            f"these evaluations cannot be compared, they are of {', '.join(text_input)}: make a report for each"
        )
    measured = {
        _key(item.source.name, item.source.backend, item.source.precision): item for item in records.evaluations
    }
    benched = [_key(item.name, item.backend, item.precision) for item in records.benches]
    points = [_point(bench, measured.get(key)) for bench, key in zip(records.benches, benched, strict=True)]
    alone = (item for key, item in measured.items() if key not in benched)
    return (*points, *(_point(_unbenched(item), item) for item in alone))


def _key(name: str, backend: str, precision: str) -> tuple[str, str, str]:
    return name, backend, precision


def _unbenched(evaluation: Evaluation) -> BenchRecord:
    source = evaluation.source
    return BenchRecord(source.name, "", source.backend, source.precision, source.device)


def _point(bench: BenchRecord, evaluation: Evaluation | None) -> ReportPoint:
    cost = {name: getattr(bench, name) for name in _SHARED}
    if evaluation is None:
        return ReportPoint(gate_metric="", **cost)
    return ReportPoint(
        gate_metric=evaluation.gate_metric,
        by_subset=evaluation.by_subset,
        baselines=evaluation.baselines,
        limits=evaluation.limits,
        **cost,
    )


_SHARED = tuple(
    {item.name for item in dataclasses.fields(BenchRecord)} & {f.name for f in dataclasses.fields(ReportPoint)}
)
