from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edge_msa.data.dataset import FloatArray, Frames, Split
from edge_msa.evaluation.metrics.probabilities import log_softmax
from edge_msa.evaluation.temperature import fit_temperature


def drawn_split(samples: int = 4000) -> tuple[Split, FloatArray]:
    """Return samples whose classes are drawn from the softmax of logits, and the logits."""
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=2.0, size=(samples, 3))
    truth = (np.exp(log_softmax(logits)).cumsum(axis=1) > rng.random((samples, 1))).argmax(axis=1)
    ids = tuple(f"v{row}" for row in range(samples))
    frames = Frames(np.ones((samples, 1), np.bool_), np.zeros((samples, 1, 1), np.float32))
    labels = truth.astype(np.float32)
    return Split(ids, ids, labels, {"language": frames, "audio": frames}), logits.astype(np.float32)


@pytest.mark.parametrize("factor", [0.4, 1.0, 3.0])
def test_the_temperature_undoes_a_factor_of_the_logits(factor: float) -> None:
    split, logits = drawn_split()
    fit = fit_temperature(split, {"l": (factor * logits).astype(np.float32)})
    assert fit is not None
    assert fit.temperature == pytest.approx(factor, rel=0.1)
    assert fit.nll <= fit.nll_before
    assert fit.ece < 0.02


def test_one_temperature_serves_all_subsets_and_ignores_samples_without_a_label() -> None:
    split, logits = drawn_split()
    split.labels[:100] = np.nan
    values = {"l": logits.astype(np.float32), "la": (2 * logits).astype(np.float32)}
    fit = fit_temperature(split, values)
    assert fit is not None
    assert 1.0 < fit.temperature < 2.0


def test_a_temperature_that_does_not_help_other_videos_is_not_used() -> None:
    split, logits = drawn_split()
    half = len(logits) // 2
    split = dataclasses.replace(split, groups=("first",) * half + ("second",) * half)
    logits[:half] *= 3.0  # the first video needs the temperature 3, and the second one 1 / 3
    logits[half:] /= 3.0
    fit = fit_temperature(split, {"l": logits})
    assert fit is not None
    assert fit.temperature == 1.0
    assert fit.fitted != pytest.approx(1.0, rel=0.1)
    assert (fit.nll, fit.ece) == (fit.nll_before, fit.ece_before)


def test_predictions_without_errors_do_not_determine_a_temperature() -> None:
    split, logits = drawn_split(200)
    right = np.eye(3, dtype=np.float32)[split.labels.astype(int)]
    fit = fit_temperature(split, {"l": right + 0 * logits})
    assert fit is not None
    assert fit.temperature == 1.0


def test_one_video_is_not_enough_for_a_temperature() -> None:
    split, logits = drawn_split(200)
    split = dataclasses.replace(split, groups=("one",) * 200)
    fit = fit_temperature(split, {"l": 3 * logits})
    assert fit is not None
    assert fit.temperature == 1.0


def test_there_is_no_temperature_without_labels() -> None:
    split, logits = drawn_split(20)
    split.labels[:] = np.nan
    assert fit_temperature(split, {"l": logits.astype(np.float32)}) is None
