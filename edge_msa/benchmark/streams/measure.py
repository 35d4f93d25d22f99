"""Measure the regret of bundles and baselines in scenarios, with intervals over utterances."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_msa.benchmark.streams.playback import Playback, Utterance, play, split_utterances
from edge_msa.benchmark.streams.predictions import (
    HOLD,
    NO_MEMORY,
    PRIOR,
    REPEAT,
    StreamPredictions,
    hold_predictions,
    no_memory_predictions,
    repeat_predictions,
    stream_predictions,
)
from edge_msa.benchmark.streams.regret import Optimum, optimum, prior_prediction
from edge_msa.data.dataset import FloatArray, Split
from edge_msa.data.synthetic.generator import SyntheticConfig, generate_dataset
from edge_msa.data.synthetic.world import Array
from edge_msa.errors import DataError
from edge_msa.evaluation.metrics import Interval, mean_interval, ratio_interval
from edge_msa.text_tables import text_table
from edge_msa_runtime import load
from edge_msa_runtime.bundle.loader import open_bundle
from edge_msa_runtime.modalities import MODALITIES
from edge_msa_runtime.replay.scenarios import Scenario
from edge_msa_runtime.session import Session

SCENARIOS = ("clean", "late-start", "lossy", "bursty", "returning", "lagging")
"""Names of the scenarios that are played by default."""
LAST_VALUE = (HOLD, REPEAT)
"""The baselines that fill in the last value: the last prediction, or the last frame."""


@dataclass(frozen=True)
class StreamRegret:
    """The regret of one model in one scenario, averaged over the moments of each utterance, then over utterances."""

    scenario: str
    model: str
    """Name and precision of a bundle, or name of a baseline."""
    is_baseline: bool
    regret: Interval
    """In the unit of the label, with its 95 % interval over utterances."""
    ratios: Mapping[str, Interval]
    """Of a bundle: its regret divided by that of each baseline in `LAST_VALUE`, where something is missing."""
    coverage: Interval | None
    """Of a bundle with intervals: share of labels in its 90 % intervals, 0 to 1, expected under the posterior."""
    by_time: tuple[tuple[float, float], ...]
    """Mean regret at each moment: seconds since the start of the utterance, regret."""
    optimal_error: float
    """Expected absolute error of the optimal predictions."""
    moments: int
    """Number of predictions."""


@dataclass(frozen=True)
class StreamModel:
    """A bundle at one precision."""

    path: Path
    precision: str
    name: str
    """Name for tables."""


def stream_models(paths: Sequence[Path], backend: str) -> list[StreamModel]:
    """Return every bundle at fp32 and int8, as far as it has them. fp16 predicts nearly the same as fp32.

    Raises:
        BundleError: A path is no bundle.
        DataError: A bundle was not made for the synthetic data.
        BackendUnavailableError: No backend of a bundle is available.
    """
    models = []
    folders = [path.resolve().name for path in paths]
    for path, folder in zip(paths, folders, strict=True):
        _check_synthetic(path)
        name = folder if folders.count(folder) == 1 else str(path)
        with load(path, backend) as session:
            precisions = [item for item in session.bundle.precisions(session.backend) if item != "fp16"]
        models += [StreamModel(path, precision, f"{name} {precision}") for precision in precisions]
    return models


def synthetic_utterances(count: int) -> Split:
    """Return the first utterances of the test split of the synthetic data, not normalized."""
    return generate_dataset(SyntheticConfig(train=1, valid=1, test=count)).split("test")


def measure_scenario(
    models: Sequence[StreamModel], scenario: Scenario, split: Split, *, backend: str, seed: int
) -> list[StreamRegret]:
    """Return the regret of each model and baseline in one scenario. The baselines use the first model.

    Args:
        models: At least one model.
        scenario: The scenario.
        split: Utterances of the synthetic data, not normalized.
        backend: Backend of the bundles.
        seed: Seed of the scenario.
    """
    utterances = split_utterances(split)
    playback = play(utterances, scenario, seed)
    best = optimum(split, playback.rows, playback.seen)
    predictions: dict[str, StreamPredictions] = {}
    baselines: dict[str, Array] = {}
    for model in models:
        with load(model.path, backend, precision=model.precision) as session:
            predictions[model.name] = stream_predictions(session, playback)
            baselines = baselines or _baselines(
                session, playback, predictions[model.name].scores, _mean_frames(utterances)
            )
    return list(results_of(playback, best, predictions, baselines))


def results_of(
    playback: Playback, best: Optimum, predictions: Mapping[str, StreamPredictions], baselines: Mapping[str, Array]
) -> Iterator[StreamRegret]:
    """Yield the results of models, then those of baselines.

    Args:
        playback: What was predicted.
        best: The optimum at its moments.
        predictions: Predictions of each model.
        baselines: Predictions of each baseline, (M,).
    """
    rows, times = playback.rows, playback.times
    groups = [str(row) for row in range(len(playback.utterances))]
    moments = np.bincount(rows)
    scores = {name: values.scores for name, values in predictions.items()} | dict(baselines)
    by_model = {name: best.regret(values) for name, values in scores.items()}
    by_utterance = {name: np.bincount(rows, weights=values) / moments for name, values in by_model.items()}
    # Where nothing is missing, there is no last value to fill in.
    compared = () if playback.is_complete.all() else LAST_VALUE
    for name, regret in by_model.items():
        own = by_utterance[name]
        is_baseline = name in baselines
        ratios = {other: ratio_interval(own, by_utterance[other], groups) for other in compared if not is_baseline}
        yield StreamRegret(
            scenario=playback.scenario.name,
            model=name,
            is_baseline=is_baseline,
            regret=mean_interval(own, groups),
            ratios=ratios,
            coverage=None if is_baseline else _coverage(playback, best, predictions[name].intervals),
            by_time=tuple((round(float(time), 6), float(regret[times == time].mean())) for time in np.unique(times)),
            optimal_error=float((np.bincount(rows, weights=best.error) / moments).mean()),
            moments=len(rows),
        )


def format_regrets(results: Sequence[StreamRegret]) -> str:
    """Return tables of models by scenarios: regrets, those relative to last values, and coverage."""
    scenarios = list(dict.fromkeys(item.scenario for item in results))
    cells = {(item.model, item.scenario): item for item in results}
    models = list(dict.fromkeys(item.model for item in results))
    regrets = [[model, *(_plus_minus(cells[model, name].regret) for name in scenarios)] for model in models]
    regrets.append(["(error of the optimum)", *(f"{cells[models[0], name].optimal_error:.3f}" for name in scenarios)])
    text = text_table(["regret", *scenarios], regrets)
    missing = [name for name in scenarios if cells[models[0], name].ratios]
    ratios = [
        [model, baseline, *(_with_interval(cells[model, name].ratios[baseline]) for name in missing)]
        for model in models
        if not cells[model, scenarios[0]].is_baseline
        for baseline in LAST_VALUE
    ]
    tables = [text]
    if missing:
        tables.append(text_table(["regret relative to", "", *missing], ratios, left=2))
    covered = [
        [model, *(_percent(cells[model, name].coverage) for name in scenarios)]
        for model in models
        if any(cells[model, name].coverage is not None for name in scenarios)
    ]
    if covered:
        tables.append(text_table(["% of labels in 90 % intervals", *scenarios], covered))
    return "\n\n".join(tables)


def _coverage(playback: Playback, best: Optimum, intervals: Array) -> Interval | None:
    """Return the mean over utterances of the share of labels in the intervals; None if there are none."""
    known = ~np.isnan(intervals).any(axis=1)
    if not known.any():
        return None
    inside = best.coverage(intervals[:, 0], intervals[:, 1])[known]
    rows, counts = np.unique(playback.rows[known], return_counts=True)
    shares = np.bincount(playback.rows[known], weights=inside)[rows] / counts
    return mean_interval(shares, [str(row) for row in rows])


def _baselines(
    session: Session, playback: Playback, predictions: Array, start: Mapping[str, FloatArray]
) -> dict[str, Array]:
    return {
        HOLD: hold_predictions(playback, predictions),
        REPEAT: repeat_predictions(session, playback, start),
        NO_MEMORY: no_memory_predictions(session, playback),
        PRIOR: np.full(len(predictions), prior_prediction()),
    }


def _mean_frames(utterances: Sequence[Utterance]) -> dict[str, FloatArray]:
    return {name: np.concatenate([item.frames[name] for item in utterances]).mean(axis=0) for name in MODALITIES}


def _check_synthetic(path: Path) -> None:
    features = generate_dataset(SyntheticConfig(train=1, valid=1, test=1)).features
    manifest = open_bundle(path).manifest
    extractors = {name: spec.features.extractor for name, spec in manifest.modalities.items()}
    if not manifest.task.is_score or extractors != {name: source.extractor for name, source in features.items()}:
        raise DataError(
            f"{path} is not a bundle for the synthetic data, whose optimum is known. "
            "Pass a bundle of a student that was trained on --data synthetic."
        )


def _plus_minus(interval: Interval) -> str:
    return f"{interval.value:.3f} ±{(interval.high - interval.low) / 2:.3f}"


def _percent(interval: Interval | None) -> str:
    return "-" if interval is None else f"{100 * interval.value:.1f} ±{50 * (interval.high - interval.low):.1f}"


def _with_interval(interval: Interval) -> str:
    return f"{interval.value:.2f} [{interval.low:.2f}, {interval.high:.2f}]"
