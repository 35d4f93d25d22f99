from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from edge_msa.data.tasks import EMOTIONS, REGRESSION
from edge_msa.training.initialization import start_at_prior


def test_a_score_starts_at_the_median_of_the_training_labels() -> None:
    layer = nn.Linear(3, 1)
    start_at_prior(layer, np.array([1, 2, 9], np.float32), REGRESSION)
    assert layer(torch.zeros(1, 3)).item() == 2


def test_an_emotion_starts_at_its_share_and_stays_finite_where_it_never_occurs() -> None:
    layer = nn.Linear(3, 4)
    labels = np.array([[1, 0, 1, 0], [0, 0, 1, 0], [0, 0, 1, 1], [0, 0, 1, 1]], np.float32)
    start_at_prior(layer, labels, EMOTIONS)
    shares = torch.sigmoid(layer(torch.zeros(1, 3)))[0].tolist()
    assert shares == pytest.approx([0.25, 0.01, 0.99, 0.5])
