"""What a search found, as one record that its table, its page and its JSON are made from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edge_msa.search.points import Point, pareto_set

NAME = "search.json"
NOISE = 0.1
"""Share of fp32's latency that a lower precision must save to stand for the default recipe, as `edge-msa export` has
it: less is within what two runs of the same graph differ by."""


@dataclass(frozen=True)
class SearchRecord:
    """A search that ended.

    `bundles`: by trial number, the folder of its bundle. `final_ms`: by trial number, p50 of that bundle in the last
    measurement, in which all of them took turns. `errors`: by trial number, the error of its recipe at each of the
    first seeds, of those trials that were trained more than once. `facts` are lines for people: machine, seed, epochs.
    """

    data: str
    target: str
    backend: str
    error_name: str
    subset: str
    points: Sequence[Point]
    bundles: Mapping[int, str] = field(default_factory=dict)
    final_ms: Mapping[int, float] = field(default_factory=dict)
    errors: Mapping[int, Sequence[float]] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def pareto(self) -> tuple[Point, ...]:
        """The points that no other beats in error, latency and size, fastest first."""
        return pareto_set(self.points)

    @property
    def failed(self) -> tuple[Point, ...]:
        """Trials without numbers."""
        return tuple(point for point in self.points if not point.done)

    @property
    def baseline(self) -> Point | None:
        """What all is compared with; see `baseline_of`."""
        return baseline_of(self.points)

    def share(self, point: Point) -> float | None:
        """The point's latency over the baseline's, from the last measurement where both are in it."""
        base = self.baseline
        if base is None or base.ratio is None or point.ratio is None:
            return None
        if {base.number, point.number} <= set(self.final_ms):
            return self.final_ms[point.number] / self.final_ms[base.number]
        if base.number == point.number:
            return 1.0
        # A trial is timed in turns with the default recipe at fp32. Where that is the baseline, its own trial is but
        # one more noisy measurement, by which all others would be wrong alike.
        return point.ratio if base.precision == "fp32" else point.ratio / base.ratio

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        own = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        return own | {
            "points": [point.to_json() for point in self.points],
            "pareto": [point.number for point in self.pareto],
            "baseline": None if self.baseline is None else self.baseline.number,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SearchRecord:
        """What `to_json` gave, after a way through JSON.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: it is something else.
        """
        own = {item.name: value[item.name] for item in dataclasses.fields(cls)}
        numbered = {name: {int(key): item for key, item in own[name].items()} for name in _NUMBERED}
        return cls(**(own | numbered | {"points": tuple(Point.from_json(item) for item in own["points"])}))


_NUMBERED = ("bundles", "final_ms", "errors")


def baseline_of(points: Sequence[Point]) -> Point | None:
    """The default recipe at the precision that an export would choose; None where it failed at all of them."""
    tried = [point for point in points if point.default and point.done]
    if not tried:
        return None
    fastest = min(tried, key=lambda point: point.costs[1])
    full = next((point for point in tried if point.precision == "fp32"), fastest)
    return fastest if fastest.costs[1] <= full.costs[1] * (1 - NOISE) else full
