from __future__ import annotations

import numpy as np
import pytest

from edge_msa.benchmark.streams import measure
from edge_msa.benchmark.streams.measure import StreamRegret, format_regrets
from edge_msa.benchmark.streams.playback import play, split_utterances
from edge_msa.benchmark.streams.predictions import HOLD, NO_MEMORY, PRIOR, REPEAT, StreamPredictions
from edge_msa.benchmark.streams.regret import optimum
from edge_msa_runtime.replay.scenarios import PRESETS

SAMPLES = measure.synthetic_utterances(20)


def results(name: str) -> list[StreamRegret]:
    """Return the results of a model that is half as far from the optimum as holding the prior."""
    playback = play(split_utterances(SAMPLES), PRESETS[name], 0)
    best = optimum(SAMPLES, playback.rows, playback.seen)
    zeros = np.zeros(len(playback.rows))
    baselines = {HOLD: zeros, REPEAT: zeros + 1, NO_MEMORY: zeros, PRIOR: zeros}
    wide, unknown = (np.full((len(zeros), 2), ends) for ends in ((-3.0, 3.0), (np.nan, np.nan)))
    predictions = {
        "optimum fp32": StreamPredictions(best.prediction, wide),
        "bundle int8": StreamPredictions(zeros, unknown),
    }
    return list(measure.results_of(playback, best, predictions, baselines))


def test_ratios_are_those_of_the_mean_regrets() -> None:
    perfect, bundle, hold, repeat, *_ = results("lossy")
    assert perfect.regret.value == pytest.approx(0)
    assert perfect.ratios[HOLD].high == pytest.approx(0)
    assert bundle.ratios[HOLD].value == pytest.approx(1)
    assert bundle.ratios[REPEAT].value == pytest.approx(bundle.regret.value / repeat.regret.value)
    assert not hold.ratios
    assert hold.regret.low < hold.regret.value < hold.regret.high


def test_nothing_is_compared_where_nothing_is_missing() -> None:
    assert not any(item.ratios for item in results("clean"))


def test_regret_over_time_has_every_moment() -> None:
    prior = results("lagging")[-1]
    times, regrets = zip(*prior.by_time, strict=True)
    assert times[:3] == (0.4, 0.8, 1.2)
    assert len(times) == 10
    assert regrets[-1] > regrets[0] > 0


def test_coverage_is_that_of_the_intervals() -> None:
    perfect, bundle, *baselines = results("lossy")
    assert perfect.coverage is not None
    assert perfect.coverage.value == pytest.approx(1)
    assert [item.coverage for item in (bundle, *baselines)] == [None] * 5


def test_tables_have_a_row_per_model_and_baseline() -> None:
    text = format_regrets([*results("clean"), *results("lossy")])
    regrets, ratios, coverage = text.split("\n\n")
    assert [line.split("  ")[0] for line in regrets.splitlines()[2:]] == [
        "optimum fp32",
        "bundle int8",
        HOLD,
        REPEAT,
        NO_MEMORY,
        PRIOR,
        "(error of the optimum)",
    ]
    assert len(ratios.splitlines()) == 2 + 2 * 2
    assert "clean" not in ratios
    assert [line.split()[:2] for line in coverage.splitlines()[2:]] == [["optimum", "fp32"]]
