"""Trials of a search: the parameters to try, and the measured result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edge_msa.architecture_search.space import PRECISION, Params


@dataclass(frozen=True)
class ClaimedTrial:
    """A trial that this worker has to run."""

    number: int
    params: Params
    is_default: bool
    """Whether the parameters are those of the default recipe."""


@dataclass(frozen=True)
class TrialResult:
    """The result of a trial. All measurements are None if the trial failed.

    Attributes:
        number: Number of the trial.
        params: Parameters by name, including the precision.
        is_default: Whether the parameters are those of the default recipe.
        error: Validation error, averaged over the modality subsets. Lower is better.
        latency_ratio: p50 latency, relative to the default recipe in fp32 in an interleaved measurement.
        size_bytes: Size of the files that the backend needs at this precision.
        p50_ms: The measured p50 latency in milliseconds. Not comparable between trials.
        failure: Why the trial failed, "" if it succeeded.
        student: Name of the folder with the trial's runs.
        host: Name of the machine that measured the trial.
    """

    number: int
    params: Params
    is_default: bool
    error: float | None = None
    latency_ratio: float | None = None
    size_bytes: int | None = None
    p50_ms: float | None = None
    failure: str = ""
    student: str = ""
    host: str = ""

    @property
    def is_measured(self) -> bool:
        """Whether the trial succeeded."""
        return None not in {self.error, self.latency_ratio, self.size_bytes}

    @property
    def costs(self) -> tuple[float, float, float]:
        """Error, latency ratio and size in bytes of a measured trial. Lower is better in all three.

        Raises:
            ValueError: The trial failed.
        """
        if self.error is None or self.latency_ratio is None or self.size_bytes is None:
            raise ValueError(f"Trial {self.number} has no measurements.")
        return self.error, self.latency_ratio, float(self.size_bytes)

    @property
    def precision(self) -> str:
        """Precision of the graphs."""
        return str(self.params[PRECISION])

    @property
    def bundle_name(self) -> str:
        """Name of the trial's bundle."""
        return f"trial-{self.number:04d}-{self.precision}"

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TrialResult:
        """Return the result that `to_json` wrote."""
        return cls(**value)


def pareto_set(trials: Iterable[TrialResult]) -> tuple[TrialResult, ...]:
    """Return the measured trials that no other trial dominates in error, latency and size, fastest first.

    A trial is dominated by a trial that is at least as good in all three and better in one. Equal trials do not
    dominate each other.
    """
    measured = [trial for trial in trials if trial.is_measured]
    best = [trial for trial in measured if not any(_dominates(other, trial) for other in measured)]
    return tuple(sorted(best, key=lambda trial: (trial.costs[1], trial.costs[0], trial.number)))


def _dominates(one: TrialResult, other: TrialResult) -> bool:
    pairs = list(zip(one.costs, other.costs, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def format_params(params: Params) -> str:
    """Return parameters as text, with the precision last: `width 16, blocks 2, int8`."""
    sizes = [f"{name} {_format_value(value)}" for name, value in params.items() if name != PRECISION]
    return ", ".join([*sizes, str(params[PRECISION])])


def _format_value(value: float | str | bool) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
