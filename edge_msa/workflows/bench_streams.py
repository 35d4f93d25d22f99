"""`edge-msa bench streams`: the regret of predictions while streams lose data, against the exact optimum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edge_msa.arguments import AnyPath, check_count, check_seed, paths_of
from edge_msa.benchmark.streams.measure import (
    LAST_VALUE,
    SCENARIOS,
    StreamRegret,
    format_regrets,
    measure_scenario,
    stream_models,
    synthetic_utterances,
)
from edge_msa.console import report_progress
from edge_msa.errors import UsageError
from edge_msa.result_tables import Cell, Row, Table
from edge_msa.workflows.api import OnProgress, api
from edge_msa.workflows.export import DEFAULT_MODEL, export
from edge_msa_runtime.backends import check_backend_name
from edge_msa_runtime.replay.scenarios import Scenario, open_scenario

DEFAULT_BUNDLE = DEFAULT_MODEL.parent / "bundle-laptop"
"""The bundle that is measured if none is passed. `edge-msa pipeline` makes it too."""


@dataclass(frozen=True, repr=False)
class StreamBenchmark(Table):
    """The regret of bundles and baselines in scenarios."""

    results: tuple[StreamRegret, ...]
    """One per model and scenario."""

    def __repr__(self) -> str:
        """Return what was measured."""
        scenarios = dict.fromkeys(item.scenario for item in self.results)
        models = dict.fromkeys(item.model for item in self.results if not item.is_baseline)
        return f"<StreamBenchmark of {', '.join(models)}: {', '.join(scenarios)}>"

    def __str__(self) -> str:
        """Return the tables for people."""
        return format_regrets(self.results)

    @property
    def rows(self) -> tuple[Row, ...]:
        """One row per model and scenario."""
        return tuple(_row(item) for item in self.results)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values. Each result has the mean regret at every moment in addition."""
        by_time = [[{"time": time, "regret": regret} for time, regret in item.by_time] for item in self.results]
        return {"streams": [{**row, "by_time": curve} for row, curve in zip(self.rows, by_time, strict=True)]}


def _row(item: StreamRegret) -> Row:
    ratios: dict[str, Cell] = {}
    for name in LAST_VALUE:
        ratio, key = item.ratios.get(name), f"relative_to_{name.replace(' ', '_')}"
        for column, end in ((key, "value"), (f"{key}_low", "low"), (f"{key}_high", "high")):
            ratios[column] = None if ratio is None else getattr(ratio, end)
    return {
        "scenario": item.scenario,
        "model": item.model,
        "baseline": item.is_baseline,
        "regret": item.regret.value,
        "low": item.regret.low,
        "high": item.regret.high,
        "optimal_error": item.optimal_error,
        "predictions": item.moments,
        "coverage_90": None if item.coverage is None else item.coverage.value,
        **ratios,
    }


def _check_names(scenarios: Sequence[Scenario]) -> None:
    names = [scenario.name for scenario in scenarios]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"Scenarios must have different names, got {name!r} twice. Change the name in a file.")


@api
def bench_streams(
    bundles: AnyPath | Sequence[AnyPath] | None = None,
    *,
    scenarios: AnyPath | Sequence[AnyPath] | None = None,
    backend: str = "auto",
    utterances: int = 1000,
    seed: int = 0,
    verbose: bool = False,
    on_progress: OnProgress | None = None,
) -> StreamBenchmark:
    """Measure how much worse predictions are than the optimum while streams start late, lag, lose data and return.

    Plays scenarios for utterances of the synthetic test split through streams of the runtime. Every 0.4 s, each model
    predicts from what has arrived. The optimal prediction is known exactly. The regret of a prediction is its expected
    absolute error minus that of the optimal one.

    Args:
        bundles: Bundles of students that were trained on the synthetic data (default: the default student; it is
            trained in `runs` if it does not exist).
        scenarios: Names of scenarios, or JSON files (default: `clean`, `late-start`, `lossy`, `bursty`, `returning` and
            `lagging`).
        backend: Backend of the bundles (default: the first that is available).
        utterances: Number of test utterances to play, 2 to 4000.
        seed: Seed of the scenarios.
        verbose: Whether to print progress.
        on_progress: Called after each scenario.

    Returns:
        One row per model and scenario. Every precision of a bundle is a model. The others are baselines, which use the
        first model: `hold prediction`, `repeat frame`, `no memory` and `prior`.

    Raises:
        UsageError: An argument is invalid, or a scenario is unknown.
        BundleError: A path is no bundle.
        DataError: A bundle is not for the synthetic data.
        BackendUnavailableError: No backend of a bundle is available here.

    Examples:
        >>> print(em.bench_streams("bundle-laptop", scenarios=["lossy", "bursty"]))
    """
    paths = None if bundles is None else paths_of(bundles, "bundles", "a bundle, or a list of bundles")
    check_count(utterances, "utterances", least=2, most=4000)
    check_seed(seed)
    if backend != "auto":
        check_backend_name(backend)
    names = SCENARIOS if scenarios is None else paths_of(scenarios, "scenarios", "a name or a path, or a list of them")
    played = [open_scenario(str(name)) for name in names]
    _check_names(played)
    paths = None if paths is None else list(dict.fromkeys(paths))
    if not paths:
        paths = [export(target="laptop", output_dir=DEFAULT_BUNDLE).path]
    models = stream_models(paths, backend)
    split = synthetic_utterances(utterances)
    results: list[StreamRegret] = []
    for number, scenario in enumerate(played, 1):
        results += measure_scenario(models, scenario, split, backend=backend, seed=seed)
        report_progress("scenario", number, len(played), f"{scenario.name}: {results[-1].moments} predictions each")
    return StreamBenchmark(tuple(results))
