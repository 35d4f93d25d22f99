from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from edge_msa.data.tasks import EMOTIONS, REGRESSION
from edge_msa.training.initialization import init_bias_to_prior


def test_score_bias_is_the_median_label() -> None:
    layer = nn.Linear(3, 1)
    init_bias_to_prior(layer, np.array([1, 2, 9], np.float32), REGRESSION)
    assert layer(torch.zeros(1, 3)).item() == 2


def test_emotion_bias_is_the_clipped_frequency() -> None:
    layer = nn.Linear(3, 4)
    labels = np.array([[1, 0, 1, 0], [0, 0, 1, 0], [0, 0, 1, 1], [0, 0, 1, 1]], np.float32)
    init_bias_to_prior(layer, labels, EMOTIONS)
    shares = torch.sigmoid(layer(torch.zeros(1, 3)))[0].tolist()
    assert shares == pytest.approx([0.25, 0.01, 0.99, 0.5])
