"""What a ladder found, as `ladder.json` holds it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from edge_msa.errors import EdgeMsaError
from edge_msa.report.points import pareto_front
from edge_msa.study.record import OverSeeds

SCHEMA = 1
NAME = "ladder.json"

Metrics = Mapping[str, float]


@dataclass(frozen=True)
class Rung:
    """One kind of reader: `front` with its first `layers` (None: all of the teacher's, which are then readers too)."""

    name: str
    title: str
    front: Literal["teacher", "encoder", "table"]
    layers: int | None = None


@dataclass(frozen=True)
class Step:
    """One rung at one precision on one engine.

    `metrics`: of the test split, each training's. `latency_ms`: p50, p90, p99 of one utterance of `tokens` tokens from
    raw words, of the first seed's bundle. `size_bytes`: the files that this engine needs at this precision.
    """

    rung: str
    title: str
    precision: str
    engine: str
    parameters: int
    size_bytes: int
    tokens: int
    latency_ms: Metrics
    metrics: Mapping[str, OverSeeds]


@dataclass(frozen=True)
class Ladder:
    """All of it. `floors` are metrics of constants by name; `machine` is where latencies were measured."""

    dataset: str
    samples: int
    seeds: tuple[int, ...]
    target: str
    steps: tuple[Step, ...]
    floors: Mapping[str, Metrics]
    machine: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"record": "ladder", "schema": SCHEMA, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Ladder:
        """What `to_json` made.

        Raises:
            EdgeMsaError: another record or schema, or keys that do not fit.
        """
        if value.get("record") != "ladder" or value.get("schema") != SCHEMA:
            raise EdgeMsaError(f"this is {value.get('record')!r} of schema {value.get('schema')!r}, not a ladder")
        fields = {name: item for name, item in value.items() if name not in {"record", "schema"}}
        try:
            steps = tuple(_step(item) for item in fields.pop("steps"))
            return cls(steps=steps, seeds=tuple(fields.pop("seeds")), **fields)
        except (KeyError, TypeError) as error:
            raise EdgeMsaError(f"this ladder cannot be read ({error}): make it again") from None


def _step(value: Mapping[str, Any]) -> Step:
    metrics = {
        name: OverSeeds(item["mean"], item["deviation"], tuple(item["values"]))
        for name, item in value["metrics"].items()
    }
    return Step(**{**value, "metrics": metrics})


def front(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps that no other beats in p50 and mean MAE together, fastest first."""
    pairs = [(step.latency_ms["p50"], -step.metrics["mae"].mean) for step in steps]
    return tuple(steps[index] for index in pareto_front(pairs))
