"""The result of a reproduction, as stored in `reproduce.json`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_msa.artifacts.schemas import check_schema
from edge_msa.errors import EdgeMsaError
from edge_msa.evaluation.metrics.units import Unit
from edge_msa.evaluation.reproduction.published import ModelName, PaperName

SCHEMA = 3
NAME = "reproduce.json"

Metrics = Mapping[str, float]


@dataclass(frozen=True)
class SeedSummary:
    """One metric over several seeds."""

    mean: float
    """Mean over the seeds."""
    deviation: float | None
    """Sample standard deviation (n - 1); None with one seed."""
    values: tuple[float, ...]
    """Value of each seed."""

    @classmethod
    def from_values(cls, values: Sequence[float]) -> SeedSummary:
        """Return the summary of one value per seed."""
        deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
        return cls(float(np.mean(values)), deviation, tuple(values))


@dataclass(frozen=True)
class VariantResult:
    """The result of one variant."""

    name: str
    """Name in files."""
    title: str
    """Name in tables."""
    changes: Mapping[str, Any]
    """Changed fields of the recipe."""
    runs: tuple[str, ...]
    """Names of the run folders, one per seed."""
    conditions: Mapping[str, Mapping[str, SeedSummary]]
    """Metrics by the condition's key, then by metric."""
    average: Mapping[str, SeedSummary]
    """Mean over the incomplete subsets, by metric."""


@dataclass(frozen=True)
class Difference:
    """A metric of a variant minus that of a reference, with a 95 % interval, see `edge_msa.evaluation.metrics`."""

    variant: str
    """Name of the variant."""
    reference: str
    """Name of the variant or baseline that it is compared with."""
    condition: str
    """The condition's key, or `average` for the mean over the incomplete subsets."""
    metric: str
    """Key of the metric."""
    value: float
    """Difference of the means over seeds."""
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end of the interval."""
    agreeing_seeds: int
    """Number of seeds whose difference has the sign of `value`."""
    covers_seeds: bool
    """Whether the interval covers the choice of seeds and videos. With one seed, it covers videos only."""
    unit: Unit
    """The independent units of the test split."""

    @property
    def includes_zero(self) -> bool:
        """Whether the interval contains 0, so that the two cannot be distinguished on this split."""
        return self.low <= 0.0 <= self.high

    @property
    def is_significant(self) -> bool:
        """Whether the two differ: the interval covers the choice of seeds and excludes 0."""
        return self.covers_seeds and not self.includes_zero


@dataclass(frozen=True)
class Reproduction:
    """The result. `edge_msa.evaluation.metrics.measure` describes the keys and units of metrics."""

    model: ModelName
    """The method."""
    paper: PaperName
    """The corpus whose published table is shown, or `none`."""
    dataset: str
    """Name of the dataset."""
    digest: str
    """SHA-256 of the dataset."""
    task: str
    """Name of the task."""
    recipe: Mapping[str, Any]
    """Recipe of the full method."""
    seeds: tuple[int, ...]
    """Seeds of the trainings."""
    samples: Mapping[str, int]
    """Samples by split."""
    subsets: tuple[str, ...]
    """Subsets of modalities that the test split has."""
    counts: Mapping[str, int]
    """Evaluated test samples by subset."""
    headline: str
    """The metric of curves and plots."""
    noise: bool
    """Whether noise is shown. It is always measured, so that the test split is predicted only once."""
    variants: tuple[VariantResult, ...]
    """The full method, then its ablations."""
    baselines: Mapping[str, Mapping[str, Metrics]]
    """Metrics of constant predictions by baseline, then by subset and `average`."""
    baseline_constants: Mapping[str, tuple[float, ...]]
    """The constants of the baselines."""
    differences: tuple[Difference, ...] = ()
    """Comparisons of the method with baselines, and of ablations with the method."""
    notes: tuple[str, ...] = ()
    """What a user must know about the result."""

    @property
    def full(self) -> VariantResult:
        """The result of the full method."""
        return self.variants[0]

    @property
    def metrics(self) -> tuple[str, ...]:
        """All metrics of the task: the headline metric, others of its kind, then the rest."""
        known = tuple(self.full.conditions[self.complete])
        kind = self.headline.partition("_")[0]
        return tuple(dict.fromkeys((self.headline, *(name for name in known if name.startswith(kind)), *known)))

    @property
    def tested(self) -> tuple[str, ...]:
        """The metrics in `differences`: the headline metric, and MAE for scores."""
        return tuple(name for name in self.metrics if name in {self.headline, "mae"})

    @property
    def complete(self) -> str:
        """The subset with the most modalities."""
        return max(self.subsets, key=len)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, marked as a reproduction of this schema."""
        return {"record": "reproduction", "schema": SCHEMA, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Reproduction:
        """Return the reproduction that `to_json` wrote.

        Raises:
            EdgeMsaError: The value is not a reproduction of this schema, or a key is missing or unknown.
        """
        check_schema(value, "reproduction", SCHEMA, title="a reproduction", again="Reproduce again")
        fields = {name: item for name, item in value.items() if name not in {"record", "schema"}}
        try:
            fields["variants"] = tuple(_variant(item) for item in fields["variants"])
            fields["differences"] = tuple(Difference(**item) for item in fields["differences"])
            fields["baseline_constants"] = {name: tuple(item) for name, item in fields["baseline_constants"].items()}
            for name in ("seeds", "subsets", "notes"):
                fields[name] = tuple(fields[name])
            return cls(**fields)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise EdgeMsaError(f"Invalid reproduction ({error}). Reproduce again.") from None


def _variant(value: Mapping[str, Any]) -> VariantResult:
    fields = dict(value)
    fields["runs"] = tuple(fields["runs"])
    # JSON has no tuples, and the changes of a recipe have no lists.
    fields["changes"] = {key: tuple(x) if isinstance(x, list) else x for key, x in fields["changes"].items()}
    fields["conditions"] = {key: _metrics(item) for key, item in fields["conditions"].items()}
    fields["average"] = _metrics(fields["average"])
    return VariantResult(**fields)


def _metrics(value: Mapping[str, Any]) -> dict[str, SeedSummary]:
    return {name: SeedSummary(item["mean"], item["deviation"], tuple(item["values"])) for name, item in value.items()}
