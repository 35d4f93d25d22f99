"""Fit the temperature of class probabilities on the validation split (Guo et al. 2017).

Probabilities are the softmax of logits / temperature. One positive temperature changes how sure a model is, but not
which class is most probable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import FloatArray, Split
from edge_msa.evaluation.metrics.probabilities import (
    expected_calibration_error,
    log_softmax,
    negative_log_likelihood,
)
from edge_msa.evaluation.metrics.scores import equal_weights
from edge_msa.evaluation.subsets import sample_rows
from edge_msa_runtime.modalities import Subset

_LOWEST, _HIGHEST = 0.05, 20.0
_STEPS = 60
"""Bisections of the range, which leave less than float64 can distinguish."""
_MARGIN = 1.01
"""A fitted temperature that is closer to an end of the range by this factor is not determined by the data: without a
wrong prediction, for example, the lowest one is the best."""
_FOLDS = 10
"""Maximum number of parts that the videos are split into for the check on videos that were left out."""


@dataclass(frozen=True)
class TemperatureFit:
    """A temperature, and what it changes on the samples that it was fitted on. Values are means over subsets."""

    temperature: float
    """The logits are divided by it. 1 if the fitted one does not help on videos that were left out."""
    fitted: float
    """The temperature with the lowest negative log-likelihood on all samples."""
    nll_before: float
    """Negative log-likelihood with temperature 1, in nats."""
    nll: float
    """The same with the temperature."""
    ece_before: float
    """Expected calibration error with temperature 1, in [0, 1]."""
    ece: float
    """The same with the temperature."""


def fit_temperature(split: Split, logits: Mapping[str, FloatArray]) -> TemperatureFit | None:
    """Return the temperature with the lowest negative log-likelihood, the mean over subsets; None without labels.

    Temperatures are also fitted without some of the videos. If these do not lower the negative log-likelihood of the
    videos that were left out, the result is 1: with few videos, a fitted temperature can make probabilities worse. It
    is also 1 if the data do not determine it, because no prediction is wrong.

    Args:
        split: The validation split of a task `classes`.
        logits: Logits by subset, (n, K), for the samples of `sample_rows`.
    """
    pairs = list(_labeled_pairs(split, logits))
    if not pairs:
        return None
    fitted = _minimize(pairs)
    is_inside = _LOWEST * _MARGIN < fitted < _HIGHEST / _MARGIN
    temperature = fitted if is_inside and _helps_other_videos(pairs) else 1.0
    return TemperatureFit(
        temperature,
        fitted,
        *(
            float(np.mean([metric(pair.truth, pair.logits / factor, pair.weights)[0] for pair in pairs]))
            for metric in (negative_log_likelihood, expected_calibration_error)
            for factor in (1.0, temperature)
        ),
    )


@dataclass(frozen=True)
class _Pair:
    """The labeled samples of one subset."""

    truth: NDArray[np.int64]
    """(n,)."""
    logits: NDArray[np.float64]
    """(n, K)."""
    folds: NDArray[np.int64]
    """Number of the part that the sample's video belongs to, (n,)."""

    @property
    def weights(self) -> NDArray[np.float64]:
        """Equal weights, (1, n)."""
        return equal_weights(len(self.truth))

    def select(self, chosen: NDArray[np.bool_]) -> _Pair:
        """Return some of the samples."""
        return _Pair(self.truth[chosen], self.logits[chosen], self.folds[chosen])


def _labeled_pairs(split: Split, logits: Mapping[str, FloatArray]) -> list[_Pair]:
    pairs = []
    videos = {video: index % _FOLDS for index, video in enumerate(sorted(set(split.groups)))}
    folds = np.array([videos[video] for video in split.groups], np.int64)
    for name, values in logits.items():
        rows = sample_rows(split, Subset(name))
        known = np.isfinite(split.labels[rows])
        if known.any():
            truth = split.labels[rows][known].astype(np.int64)
            pairs.append(_Pair(truth, np.asarray(values, np.float64)[known], folds[rows][known]))
    return pairs


def _helps_other_videos(pairs: list[_Pair]) -> bool:
    """Return whether temperatures that were fitted without some of the videos lower the loss of those videos."""
    change = 0.0
    for fold in np.unique(np.concatenate([pair.folds for pair in pairs])):
        rest = [part for pair in pairs if len((part := pair.select(pair.folds != fold)).truth)]
        if not rest:
            return False  # a single video
        temperature = _minimize(rest)
        for pair in pairs:
            left_out = pair.select(pair.folds == fold)
            if len(left_out.truth):
                losses = [
                    negative_log_likelihood(left_out.truth, left_out.logits / factor, left_out.weights)[0]
                    for factor in (1.0, temperature)
                ]
                change += float(losses[1] - losses[0]) * len(left_out.truth) / len(pair.truth)
    return change < 0


def _minimize(pairs: list[_Pair]) -> float:
    """Return the temperature with the lowest loss. The loss is convex in 1 / temperature, so its slope has one zero."""
    low, high = 1 / _HIGHEST, 1 / _LOWEST
    for _ in range(_STEPS):
        middle = float(np.sqrt(low * high))
        low, high = (low, middle) if _slope(pairs, middle) > 0 else (middle, high)
    return 1 / float(np.sqrt(low * high))


def _slope(pairs: list[_Pair], factor: float) -> float:
    """Return the derivative of the loss by a factor of the logits: expected logit minus that of the true class."""
    slopes = []
    for pair in pairs:
        expected = (np.exp(log_softmax(factor * pair.logits)) * pair.logits).sum(axis=1)
        slopes.append(float(np.mean(expected - pair.logits[np.arange(len(pair.truth)), pair.truth])))
    return float(np.mean(slopes))
