"""The question that a search answers: is a trial clearly faster than the default recipe and equally accurate?"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edge_msa.architecture_search.record import SearchRecord
from edge_msa.architecture_search.trials import TrialResult, format_params
from edge_msa.evaluation.metrics import seed_interval

MAX_RELATIVE_LATENCY = 0.8
"""Maximum latency of the trial, relative to the default recipe."""
MAX_CANDIDATES = 3
"""Maximum number of candidates that are trained with further seeds."""


@dataclass(frozen=True)
class Answer:
    """The answer of a search.

    Attributes:
        trial: Number of the trial that is faster and equally accurate, or None.
        no_worse: Whether the trial's mean error is at most that of the default recipe. If False, it is within one
            standard deviation.
        relative_latency: The trial's latency relative to the default recipe.
        error: The trial's mean error over seeds.
        default_error: Mean error of the default recipe over seeds.
        default_deviation: Standard deviation of the default recipe's error over seeds.
        seeds: Number of seeds.
        text: The answer as sentences.
    """

    trial: int | None
    no_worse: bool
    relative_latency: float | None
    error: float | None
    default_error: float | None
    default_deviation: float
    seeds: int
    text: str

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def deviation(errors: Sequence[float]) -> float:
    """Return the standard deviation over seeds, 0 for a single seed."""
    return statistics.stdev(errors) if len(errors) > 1 else 0.0


def candidates(record: SearchRecord) -> tuple[TrialResult, ...]:
    """Return up to `MAX_CANDIDATES` trials that are fast enough, and accurate enough with their one seed, best first.

    Only trials on the Pareto front are considered: if any trial qualifies, a trial on the Pareto front does too.
    """
    default = record.default
    if default is None:
        return ()
    max_error = default.costs[0] + deviation(record.errors.get(default.number, ()))
    good = [trial for trial in _fast_trials(record) if trial.costs[0] <= max_error]
    return tuple(sorted(good, key=lambda trial: trial.costs)[:MAX_CANDIDATES])


def find_answer(record: SearchRecord) -> Answer:
    """Return the answer, judged by mean errors over all seeds."""
    default = record.default
    if default is None:
        reasons = "; ".join(dict.fromkeys(trial.failure for trial in record.trials if trial.is_default))
        text = f"No comparison is possible, because the default recipe failed: {reasons}"
        return Answer(None, False, None, None, None, 0.0, 0, text)
    default_errors = record.errors.get(default.number, (default.costs[0],))
    mean, std, seeds = statistics.fmean(default_errors), deviation(default_errors), len(default_errors)
    for trial in candidates(record):
        errors = record.errors.get(trial.number, (trial.costs[0],))
        error = statistics.fmean(errors)
        if len(errors) == seeds and error <= mean + std:
            text = _positive_text(record, trial, default, (error, mean, std), seeds)
            relative_latency = record.relative_latency(trial)
            return Answer(trial.number, error <= mean, relative_latency, error, mean, std, seeds, text)
    text = _negative_text(record, default, (mean, std), seeds)
    return Answer(None, False, None, None, mean, std, seeds, text)


def _fast_trials(record: SearchRecord) -> list[TrialResult]:
    return [trial for trial in record.pareto if (record.relative_latency(trial) or 1.0) <= MAX_RELATIVE_LATENCY]


def _positive_text(
    record: SearchRecord, trial: TrialResult, default: TrialResult, errors: tuple[float, float, float], seeds: int
) -> str:
    error, mean, std = errors
    comparison = "at most" if error <= mean else "within one standard deviation of"
    return (
        f"Yes: trial {trial.number} ({format_params(trial.params)}) takes {record.relative_latency(trial):.0%} of the "
        f"default recipe's latency ({_latency(record, trial)} instead of {_latency(record, default)}). Its validation "
        f"{record.error_name} of {error:.4f} is {comparison} the default's {mean:.4f}{_over_seeds(seeds, std)}."
        f"{_uncertainty(record, trial, default)}"
    )


def _uncertainty(record: SearchRecord, trial: TrialResult, default: TrialResult) -> str:
    """Return the interval of the difference from the default recipe, or that there is none."""
    interval = seed_interval(*(record.errors.get(item.number, ()) for item in (default, trial)))
    if interval is None:
        return " Both were trained with one seed, so the difference may be chance."
    low, high = interval
    zero = "which includes 0, so it may be chance" if low <= 0 <= high else "which excludes 0"
    return (
        f" The 95 % interval of the difference is {low:+.4f} to {high:+.4f}, {zero}. It covers the choice of seeds, "
        "not of validation samples."
    )


def _negative_text(record: SearchRecord, default: TrialResult, errors: tuple[float, float], seeds: int) -> str:
    mean, std = errors
    text = (
        f"No: none of the {len(record.trials)} trials takes at most {MAX_RELATIVE_LATENCY:.0%} of the default recipe's "
        f"latency ({_latency(record, default)}, {default.precision}) and reaches its validation {record.error_name} of "
        f"{mean:.4f}{_over_seeds(seeds, std)}."
    )
    failed_candidates = candidates(record)
    for trial in failed_candidates:
        error = statistics.fmean(record.errors.get(trial.number, (trial.costs[0],)))
        text += f" Trial {trial.number} reached it with its first seed, but its mean over seeds is {error:.4f}."
    others = [trial for trial in _fast_trials(record) if trial not in failed_candidates]
    if others:
        closest = min(others, key=lambda trial: trial.costs[0])
        latency = f"{record.relative_latency(closest):.0%} of the latency"
        text += f" The closest is trial {closest.number} with {closest.costs[0]:.4f} at {latency}."
    return text


def _over_seeds(seeds: int, std: float) -> str:
    if seeds <= 1:
        return ""
    return f" (means over {seeds} seeds; the default's standard deviation is {std:.4f})"


def _latency(record: SearchRecord, trial: TrialResult) -> str:
    return f"{record.final_ms.get(trial.number, trial.p50_ms):.3f} ms"
