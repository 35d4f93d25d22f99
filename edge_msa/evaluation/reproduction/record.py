"""What a reproduction found, as `reproduce.json` holds it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_msa.errors import EdgeMsaError
from edge_msa.evaluation.reproduction.published import ModelName, PaperName

SCHEMA = 1
NAME = "reproduce.json"

Metrics = Mapping[str, float]


@dataclass(frozen=True)
class OverSeeds:
    """One metric of every training, and its mean; `deviation` (n - 1) is None where there is one training alone."""

    mean: float
    deviation: float | None
    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> OverSeeds:
        """The summary of those."""
        deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
        return cls(float(np.mean(values)), deviation, tuple(values))


@dataclass(frozen=True)
class VariantResult:
    """One variant: `conditions` by key, then by metric; `average` is over the incomplete subsets."""

    name: str
    title: str
    changes: Mapping[str, Any]
    runs: tuple[str, ...]
    conditions: Mapping[str, Mapping[str, OverSeeds]]
    average: Mapping[str, OverSeeds]


@dataclass(frozen=True)
class Difference:
    """A metric of `what` minus that of `against` under a condition, with its 95 % interval over videos.

    The interval is of these very trainings. `agree`: how many seeds' own differences have the sign of `value`, which
    says whether other trainings would differ likewise.
    """

    what: str
    against: str
    condition: str
    metric: str
    value: float
    low: float
    high: float
    agree: int

    @property
    def holds_zero(self) -> bool:
        """Whether this split cannot tell the two apart."""
        return self.low <= 0.0 <= self.high


@dataclass(frozen=True)
class Reproduction:
    """All of it. Metrics are keyed and scaled as `edge_msa.evaluation.metrics.measure` gives them.

    `paper`: which corpus's printed table stands beside ours, or `none`. `samples`: of each split. `subsets`: that the
    test split has, with the samples read from each in `counts`. `baselines`: by baseline, then by subset and `average`, on
    the samples of that subset, of the constants in `baseline_constants`. `headline`: the metric of curves and pictures.
    `noise`: whether noise is shown; it is measured anyway, so that test is not read again when it is wanted.
    `interval_unit`: `groups` (videos) or `samples`.
    """

    model: ModelName
    paper: PaperName
    dataset: str
    digest: str
    task: str
    recipe: Mapping[str, Any]
    seeds: tuple[int, ...]
    samples: Mapping[str, int]
    subsets: tuple[str, ...]
    counts: Mapping[str, int]
    headline: str
    noise: bool
    variants: tuple[VariantResult, ...]
    baselines: Mapping[str, Mapping[str, Metrics]]
    baseline_constants: Mapping[str, tuple[float, ...]]
    differences: tuple[Difference, ...] = ()
    interval_unit: str = ""
    notes: tuple[str, ...] = ()

    @property
    def whole(self) -> VariantResult:
        """The method itself."""
        return self.variants[0]

    @property
    def metrics(self) -> tuple[str, ...]:
        """All of the task's: the headline one, the others of its kind, then the rest."""
        known = tuple(self.whole.conditions[self.complete])
        kind = self.headline.partition("_")[0]
        return tuple(dict.fromkeys((self.headline, *(name for name in known if name.startswith(kind)), *known)))

    @property
    def tested(self) -> tuple[str, ...]:
        """Those that differences are made of: the headline one, and MAE where predictions are scores."""
        return tuple(name for name in self.metrics if name in {self.headline, "mae"})

    @property
    def complete(self) -> str:
        """The subset with the most modalities."""
        return max(self.subsets, key=len)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, marked as a reproduction of this schema."""
        return {"record": "reproduction", "schema": SCHEMA, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Reproduction:
        """What `to_json` made, after a way through JSON text or not.

        Raises:
            EdgeMsaError: another record or schema, or a key that is missing or unknown.
        """
        if value.get("record") != "reproduction" or value.get("schema") != SCHEMA:
            found = f"{value.get('record')!r} of schema {value.get('schema')!r}"
            raise EdgeMsaError(f"this is {found}, not a reproduction of schema {SCHEMA}: reproduce again")
        fields = {name: item for name, item in value.items() if name not in {"record", "schema"}}
        try:
            fields["variants"] = tuple(_variant(item) for item in fields["variants"])
            fields["differences"] = tuple(Difference(**item) for item in fields["differences"])
            fields["baseline_constants"] = {name: tuple(item) for name, item in fields["baseline_constants"].items()}
            for name in ("seeds", "subsets", "notes"):
                fields[name] = tuple(fields[name])
            return cls(**fields)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise EdgeMsaError(f"this reproduction cannot be read ({error}): reproduce again") from None


def _variant(value: Mapping[str, Any]) -> VariantResult:
    fields = dict(value)
    fields["runs"] = tuple(fields["runs"])
    # JSON has no tuples; a recipe's changes have no lists.
    fields["changes"] = {key: tuple(x) if isinstance(x, list) else x for key, x in fields["changes"].items()}
    fields["conditions"] = {key: _metrics(item) for key, item in fields["conditions"].items()}
    fields["average"] = _metrics(fields["average"])
    return VariantResult(**fields)


def _metrics(value: Mapping[str, Any]) -> dict[str, OverSeeds]:
    return {name: OverSeeds(item["mean"], item["deviation"], tuple(item["values"])) for name, item in value.items()}
