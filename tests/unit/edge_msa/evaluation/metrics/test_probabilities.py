from __future__ import annotations

import numpy as np
import pytest

from edge_msa.evaluation.metrics.probabilities import expected_calibration_error, log_softmax, negative_log_likelihood
from edge_msa.evaluation.metrics.scores import equal_weights


def test_log_softmax_sums_to_one_even_for_large_logits() -> None:
    assert np.exp(log_softmax(np.array([[1000.0, 0.0, -1000.0], [1.0, 2.0, 3.0]]))).sum(axis=1) == pytest.approx(1)


def test_negative_log_likelihood_of_equal_logits_is_log_of_the_classes() -> None:
    logits = np.zeros((5, 4))
    assert negative_log_likelihood(np.arange(5) % 4, logits, equal_weights(5)) == pytest.approx(np.log(4))


def test_calibration_error_is_the_gap_of_confidence_and_accuracy() -> None:
    # 10 samples in one bin with confidence .9, of which 6 are right, and 10 with confidence .5, of which 5 are right
    logits = np.log(np.repeat([[0.9, 0.1], [0.5 + 1e-9, 0.5 - 1e-9]], 10, axis=0))
    truth = np.array([0] * 6 + [1] * 4 + [0] * 5 + [1] * 5)
    assert expected_calibration_error(truth, logits, equal_weights(20)) == pytest.approx(0.15, abs=1e-6)


def test_weights_count_samples_as_often_as_resamples_draw_them() -> None:
    rng = np.random.default_rng(0)
    logits, truth, counts = rng.normal(size=(30, 3)), rng.integers(0, 3, 30), rng.integers(0, 4, 30)
    repeated = np.repeat(np.arange(30), counts)
    for metric in (negative_log_likelihood, expected_calibration_error):
        weighted = metric(truth, logits, counts[None].astype(float))
        assert weighted == pytest.approx(metric(truth[repeated], logits[repeated], equal_weights(len(repeated))))
