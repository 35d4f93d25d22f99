"""Tables of a search: the Pareto front for the terminal and the page, and all trials for the page."""

from __future__ import annotations

from edge_msa.architecture_search.record import SearchRecord
from edge_msa.architecture_search.trials import TrialResult, format_params
from edge_msa.text_tables import ABSENT, format_kilobytes, text_table

NAME_COLUMNS = 2
"""Number of leading columns that hold names: trial and recipe."""


def header(record: SearchRecord) -> list[str]:
    """Return the column titles."""
    return ["trial", "recipe", record.error_name, "relative latency", "p50 ms", "size KB"]


def pareto_rows(record: SearchRecord) -> list[list[str]]:
    """Return the Pareto front, fastest first, and the default recipe, with latencies of the final measurement.

    `*` marks the Pareto front.
    """
    numbers = {trial.number for trial in record.pareto}
    default = record.default
    trials = [*record.pareto, *([default] if default is not None and default.number not in numbers else [])]
    return [
        _row(
            trial,
            record.relative_latency(trial),
            record.final_ms.get(trial.number, trial.p50_ms),
            starred=trial.number in numbers,
        )
        for trial in trials
    ]


def trial_rows(record: SearchRecord) -> list[list[str]]:
    """Return all measured trials by number, with the latencies that each trial measured itself."""
    numbers = {trial.number for trial in record.pareto}
    default = record.default
    return [
        _row(
            trial,
            None if default is None else trial.costs[1] / default.costs[1],
            trial.p50_ms,
            starred=trial.number in numbers,
        )
        for trial in record.trials
        if trial.is_measured
    ]


def failure_lines(record: SearchRecord) -> list[str]:
    """Return one line per failed trial."""
    return [f"trial {trial.number} ({format_params(trial.params)}) failed: {trial.failure}" for trial in record.failed]


def format_search(record: SearchRecord) -> str:
    """Return the Pareto front as a text table, its legend, and the failed trials."""
    lines = [
        text_table(header(record), pareto_rows(record), left=NAME_COLUMNS),
        (
            f"* On the Pareto front: no other trial is better in {record.error_name}, latency and size together. "
            f"{record.error_name} is the validation mean over the modality subsets."
        ),
        *failure_lines(record),
    ]
    return "\n".join(lines)


def _row(trial: TrialResult, relative_latency: float | None, p50_ms: float | None, *, starred: bool) -> list[str]:
    error, _, size = trial.costs
    return [
        f"{trial.number}{'*' if starred else ''}",
        format_params(trial.params) + (" (default)" if trial.is_default else ""),
        f"{error:.4f}",
        ABSENT if relative_latency is None else f"{relative_latency:.0%}",
        ABSENT if p50_ms is None else f"{p50_ms:.3f}",
        format_kilobytes(int(size)),
    ]
