"""The result of `edge-msa bench peers`: one row per contender, all compared with ours."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from edge_msa import result_tables
from edge_msa.artifacts.schemas import check_schema
from edge_msa.errors import EdgeMsaError
from edge_msa.evaluation.metrics import describe
from edge_msa.evaluation.metrics.units import describe_unit
from edge_msa.result_tables import Row
from edge_msa.text_tables import ABSENT, format_kilobytes, format_number, text_table

SCHEMA = 2
KIND = "peers"
"""Value of the field `record`."""
_NOISY = 1.5
"""Median divided by the shortest time above which a measurement was disturbed."""
Kind = Literal["student", "teacher", "peer"]
"""`student`: a bundle, or a student in torch. `teacher`: a teacher. `peer`: what another project or tool gives."""


@dataclass(frozen=True)
class Ratio:
    """How many times longer a prediction takes than ours: the ratio of medians, with its 95 % interval."""

    value: float
    """The ratio; above 1 if ours is faster."""
    low: float | None = None
    """Lower end; None if there are too few predictions for an interval."""
    high: float | None = None
    """Upper end."""

    def __str__(self) -> str:
        """Return the ratio with its interval."""
        text = format_number(self.value)
        return text if self.low is None else f"{text} ({format_number(self.low)} to {format_number(self.high)})"


@dataclass(frozen=True)
class Difference:
    """The metric of a contender minus ours, with its 95 % interval, paired by video."""

    value: float
    low: float
    high: float

    def format(self, metric: str) -> str:
        """Return the difference with its interval."""
        name = describe(metric)
        return f"{name.format_signed(self.value)} ({name.format_interval(self.low, self.high)})"


@dataclass(frozen=True)
class PeerRow:
    """One contender."""

    name: str
    """Name of the bundle or run, or of a published network."""
    kind: Kind
    backend: str
    """`torch`, or the backend that ran the graphs."""
    precision: str
    """Precision for people."""
    is_ours: bool
    """Whether this is what the others are compared with."""
    size_bytes: int | None
    """Size of the files that the backend needs; for a teacher or a peer, of the one graph that was measured."""
    latency_ms: Mapping[str, float]
    """The shortest time `min` of one prediction, and the percentiles that the number of predictions allows; empty if it
    was not measured."""
    ratio: Ratio | None
    """Median latency divided by ours; None if it was not measured."""
    min_ratio: float | None
    """Shortest time divided by ours. Unlike the median, other programs on the machine hardly change it."""
    metrics: Mapping[str, float]
    """Metrics by name; empty if it was not measured, or has random weights."""
    differences: Mapping[str, Difference]
    """Metrics minus ours; empty for ours, and if there are samples of one video only."""
    subset: str = ""
    """Modalities that it takes, such as `lav`."""
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """95 % bootstrap intervals (low, high) of the metrics."""
    note: str = ""
    """Why it was not measured, or what is special about it."""


@dataclass(frozen=True, repr=False)
class PeerBenchmark(result_tables.Table):
    """A bundle beside what you could use instead, on the same samples in one run. `print` shows the table."""

    dataset: str
    """Name of the dataset."""
    digest: str
    """SHA-256 of the dataset."""
    split: str
    """Name of the split."""
    samples: int
    """Number of samples that every contender predicted."""
    predictions: int
    """Number of timed predictions of each."""
    unit: str
    """What intervals of metrics are over: `groups` (videos) or `samples`."""
    contenders: tuple[PeerRow, ...]
    """One per network, backend and precision."""
    machine: Mapping[str, str]
    """CPU, system, versions, threads, and the conditions before and after."""
    notes: tuple[str, ...] = ()
    """What you must know to interpret the table."""

    @property
    def is_noisy(self) -> bool:
        """Whether other programs disturbed a measurement, so that the ratios of medians are biased."""
        return any(
            item.latency_ms and item.latency_ms["p50"] > _NOISY * item.latency_ms["min"] for item in self.contenders
        )

    def __repr__(self) -> str:
        """Return what was compared."""
        return f"<PeerBenchmark of {len(self.contenders)} contenders on {self.dataset} {self.split}>"

    def __str__(self) -> str:
        """Return the table for people."""
        return format_peers(self)

    @property
    def rows(self) -> tuple[Row, ...]:
        """One row per contender."""
        return tuple(
            {
                "name": item.name,
                "kind": item.kind,
                "backend": item.backend,
                "precision": item.precision,
                "is_ours": item.is_ours,
                "size_bytes": item.size_bytes,
                **{f"{name}_ms": value for name, value in item.latency_ms.items()},
                "ratio": None if item.ratio is None else item.ratio.value,
                "ratio_low": None if item.ratio is None else item.ratio.low,
                "ratio_high": None if item.ratio is None else item.ratio.high,
                "min_ratio": item.min_ratio,
                **item.metrics,
                "note": item.note,
            }
            for item in self.contenders
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"record": KIND, "schema": SCHEMA, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> PeerBenchmark:
        """Return the benchmark that `to_json` wrote.

        Raises:
            EdgeMsaError: The value is not one of this schema, or a key is missing or unknown.
        """
        check_schema(value, KIND, SCHEMA, title="a comparison with peers", again="Run edge-msa bench peers again")
        fields = {name: item for name, item in value.items() if name not in {"record", "schema"}}
        try:
            fields["contenders"] = _contenders(fields["contenders"])
            fields["notes"] = tuple(fields["notes"])
            return cls(**fields)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise EdgeMsaError(f"The peers record is not valid ({error}). Run edge-msa bench peers again.") from None


def format_peers(benchmark: PeerBenchmark) -> str:
    """Return the table and its notes as text."""
    header, rows = peers_table(benchmark)
    size = f"{benchmark.samples} samples, {benchmark.predictions} timed predictions of each"
    title = f"{benchmark.split} split of {benchmark.dataset}, {size}"
    lines = [
        title,
        "",
        text_table(header, rows, left=3, keys=3),
        *peers_notes(benchmark),
    ]
    return "\n".join(lines)


def peers_table(benchmark: PeerBenchmark) -> tuple[list[str], list[list[str]]]:
    """Return the titles of the columns and the cells. The first three columns are names."""
    metrics = next((list(item.metrics) for item in benchmark.contenders if item.metrics), [])
    header = [
        "model",
        "backend",
        "precision",
        "size KB",
        "p50 ms",
        "p50 / ours",
        "min / ours",
        *(describe(n).title for n in metrics),
    ]
    header += [f"{describe(name).title} - ours" for name in metrics]
    return header, [_cells(item, metrics) for item in benchmark.contenders]


def peers_notes(benchmark: PeerBenchmark) -> Iterator[str]:
    """Yield the lines below the table."""
    yield "* ours: the default of the first bundle"
    yield "p50 / ours: ratio of the medians, with its 95 % interval; above 1, ours is faster"
    yield "min / ours: ratio of the shortest times"
    yield from peers_remarks(benchmark)


def peers_remarks(benchmark: PeerBenchmark) -> Iterator[str]:
    """Yield what you must know to interpret the table: noise, the kind of the intervals, and notes."""
    if benchmark.is_noisy:
        yield (
            "warning: other programs used this machine. They interrupt long predictions more often than short ones, so "
            "the ratios of medians are biased. Compare the shortest times, or measure again on an idle machine."
        )
    if any(item.differences for item in benchmark.contenders):
        yield (
            f"differences: 95 % intervals over {describe_unit(benchmark.unit)}, paired. They compare these trainings, "
            "not the methods."
        )
    yield from benchmark.notes
    for item in benchmark.contenders:
        if item.note:
            yield f"{item.name}, {item.backend} {item.precision}: {item.note}"


def _cells(item: PeerRow, metrics: Sequence[str]) -> list[str]:
    return [
        item.name + ("*" if item.is_ours else ""),
        item.backend,
        item.precision,
        format_kilobytes(item.size_bytes),
        format_number(item.latency_ms.get("p50")),
        ABSENT if item.ratio is None or item.is_ours else str(item.ratio),
        ABSENT if item.is_ours else format_number(item.min_ratio),
        *(describe(name).format(item.metrics[name]) if name in item.metrics else ABSENT for name in metrics),
        *(item.differences[name].format(name) if name in item.differences else ABSENT for name in metrics),
    ]


def _contenders(values: Sequence[Mapping[str, Any]]) -> tuple[PeerRow, ...]:
    rows = tuple(_row(item) for item in values)
    if sum(item.is_ours for item in rows) != 1:
        raise ValueError("one contender must be ours")
    return rows


def _row(value: Mapping[str, Any]) -> PeerRow:
    fields = dict(value)
    fields["ratio"] = None if fields["ratio"] is None else Ratio(**fields["ratio"])
    fields["intervals"] = {name: (low, high) for name, (low, high) in fields["intervals"].items()}
    fields["differences"] = {name: Difference(**item) for name, item in fields["differences"].items()}
    return PeerRow(**fields)
