"""What a sweep found, as `sweep.json` holds it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from edge_msa.errors import EdgeMsaError
from edge_msa.evaluation.reproduction.record import OverSeeds
from edge_msa.reporting.points import pareto_front

SCHEMA = 1
NAME = "sweep.json"

Metrics = Mapping[str, float]


@dataclass(frozen=True)
class SweepVariant:
    """One kind of reader: `text_encoder` with its first `layers` (None: all of the teacher's, which are then readers too)."""

    name: str
    title: str
    text_encoder: Literal["teacher", "encoder", "table"]
    layers: int | None = None


@dataclass(frozen=True)
class SweepPoint:
    """One variant at one precision on one backend.

    `metrics`: of the test split, each training's. `latency_ms`: p50, p90, p99 of one utterance of `tokens` tokens from
    raw words, of the first seed's bundle. `size_bytes`: the files that this backend needs at this precision.
    """

    variant: str
    title: str
    precision: str
    backend: str
    parameters: int
    size_bytes: int
    tokens: int
    latency_ms: Metrics
    metrics: Mapping[str, OverSeeds]


@dataclass(frozen=True)
class TextSweep:
    """All of it. `baselines` are metrics of constants by name; `machine` is where latencies were measured."""

    dataset: str
    samples: int
    seeds: tuple[int, ...]
    target: str
    steps: tuple[SweepPoint, ...]
    baselines: Mapping[str, Metrics]
    machine: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"record": "sweep", "schema": SCHEMA, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TextSweep:
        """What `to_json` made.

        Raises:
            EdgeMsaError: another record or schema, or keys that do not fit.
        """
        if value.get("record") != "sweep" or value.get("schema") != SCHEMA:
            raise EdgeMsaError(f"this is {value.get('record')!r} of schema {value.get('schema')!r}, not a sweep")
        fields = {name: item for name, item in value.items() if name not in {"record", "schema"}}
        try:
            steps = tuple(_step(item) for item in fields.pop("steps"))
            return cls(steps=steps, seeds=tuple(fields.pop("seeds")), **fields)
        except (KeyError, TypeError) as error:
            raise EdgeMsaError(f"this sweep cannot be read ({error}): make it again") from None


def _step(value: Mapping[str, Any]) -> SweepPoint:
    metrics = {
        name: OverSeeds(item["mean"], item["deviation"], tuple(item["values"]))
        for name, item in value["metrics"].items()
    }
    return SweepPoint(**{**value, "metrics": metrics})


def front(steps: Sequence[SweepPoint]) -> tuple[SweepPoint, ...]:
    """The steps that no other beats in p50 and mean MAE together, fastest first."""
    pairs = [(step.latency_ms["p50"], -step.metrics["mae"].mean) for step in steps]
    return tuple(steps[index] for index in pareto_front(pairs))
