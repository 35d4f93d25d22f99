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


@dataclass(frozen=True)
class TemperatureFit:
    """A temperature, and what it changes on the samples that it was fitted on. Values are means over subsets."""

    temperature: float
    """The logits are divided by it."""
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

    Args:
        split: The validation split of a task `classes`.
        logits: Logits by subset, (n, K), for the samples of `sample_rows`.
    """
    pairs = list(_labeled_pairs(split, logits))
    if not pairs:
        return None
    temperature = _minimize(pairs)
    calibrated = [(truth, values / temperature) for truth, values in pairs]
    return TemperatureFit(
        temperature,
        *(
            float(np.mean([metric(truth, values, equal_weights(len(truth)))[0] for truth, values in measured]))
            for metric in (negative_log_likelihood, expected_calibration_error)
            for measured in (pairs, calibrated)
        ),
    )


_Pair = tuple[NDArray[np.int64], NDArray[np.float64]]


def _labeled_pairs(split: Split, logits: Mapping[str, FloatArray]) -> list[_Pair]:
    pairs = []
    for name, values in logits.items():
        labels = split.labels[sample_rows(split, Subset(name))]
        known = np.isfinite(labels)
        if known.any():
            pairs.append((labels[known].astype(np.int64), np.asarray(values, np.float64)[known]))
    return pairs


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
    for truth, logits in pairs:
        expected = (np.exp(log_softmax(factor * logits)) * logits).sum(axis=1)
        slopes.append(float(np.mean(expected - logits[np.arange(len(truth)), truth])))
    return float(np.mean(slopes))
