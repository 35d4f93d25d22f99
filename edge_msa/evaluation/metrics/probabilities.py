"""Metrics of class probabilities, for many weightings of the samples at once, see `edge_msa.evaluation.metrics.scores`.

The probabilities are the softmax of logits (N, K). Truth is the index of each sample's class, (N,).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_msa.evaluation.metrics.scores import Array, Values, Weights

BINS = 15
"""Bins of confidence, as Guo et al. 2017 ("On calibration of modern neural networks") use."""


def log_softmax(logits: Array) -> NDArray[np.float64]:
    """Return the logarithm of the probability of each class, (N, K)."""
    shifted = np.asarray(logits, dtype=np.float64)
    shifted = shifted - shifted.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def negative_log_likelihood(truth: Array, logits: Array, weights: Weights) -> Values:
    """Return the mean of -log p(class of the sample), (R,), in nats."""
    losses = -log_softmax(logits)[np.arange(len(truth)), np.asarray(truth, dtype=np.int64)]
    return np.asarray(weights @ losses / weights.sum(axis=1))


def expected_calibration_error(truth: Array, logits: Array, weights: Weights) -> Values:
    """Return the expected calibration error (ECE), (R,), in [0, 1].

    The confidence of a prediction is the probability of its most probable class. Predictions are divided into 15 bins
    of equal width by confidence. ECE is the mean over predictions of |accuracy - mean confidence| of their bin.
    """
    confidence = np.exp(log_softmax(logits).max(axis=1))
    excess = (np.argmax(logits, axis=1) == np.asarray(truth)) - confidence
    bins = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)  # (low, high]
    by_bin = weights @ (excess[:, None] * (bins[:, None] == np.arange(BINS)))
    return np.asarray(np.abs(by_bin).sum(axis=1) / weights.sum(axis=1))
