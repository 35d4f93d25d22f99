"""One trial of a search as a point: what was tried, how good it is, what it costs; and which points no other beats."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edge_msa.search.space import PRECISION, Params


@dataclass(frozen=True)
class Point:
    """One trial.

    `error`: on validation, lower is better, the mean over subsets. `ratio`: p50 latency as a multiple of the default
    recipe's fp32 graphs, measured in turns with it; `p50_ms` is what the clock said. `size_bytes`: the files that the
    backend needs at this precision. `reason` says why a trial failed; then the numbers are None. `student` names the
    folder of its runs, `host` the machine that measured it.
    """

    number: int
    params: Params
    default: bool
    error: float | None = None
    ratio: float | None = None
    size_bytes: int | None = None
    p50_ms: float | None = None
    reason: str = ""
    student: str = ""
    host: str = ""

    @property
    def done(self) -> bool:
        """Whether it was measured."""
        return None not in {self.error, self.ratio, self.size_bytes}

    @property
    def costs(self) -> tuple[float, float, float]:
        """Error, latency ratio and bytes of a point that is done: lower is better in all three."""
        if self.error is None or self.ratio is None or self.size_bytes is None:
            raise ValueError(f"trial {self.number} was not measured")
        return self.error, self.ratio, float(self.size_bytes)

    @property
    def precision(self) -> str:
        """Of its graphs."""
        return str(self.params[PRECISION])

    @property
    def name(self) -> str:
        """Of its bundle."""
        return f"trial-{self.number:04d}-{self.precision}"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Point:
        """What `to_json` gave."""
        return cls(**value)


def pareto_set(points: Iterable[Point]) -> tuple[Point, ...]:
    """The points that no other beats in error, latency and size together, fastest first.

    A point is beaten by one that is at least as good in all three and better in one; of equal points all stay.
    """
    done = [point for point in points if point.done]
    kept = [point for point in done if not any(_beats(other, point) for other in done)]
    return tuple(sorted(kept, key=lambda point: (point.costs[1], point.costs[0], point.number)))


def _beats(one: Point, other: Point) -> bool:
    pairs = list(zip(one.costs, other.costs, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def words_of(params: Params) -> str:
    """What was tried, for people: `width 16, blocks 2, int8`; sizes first, the precision last."""
    sizes = [f"{name} {_number(value)}" for name, value in params.items() if name != PRECISION]
    return ", ".join([*sizes, str(params[PRECISION])])


def _number(value: float | str | bool) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
