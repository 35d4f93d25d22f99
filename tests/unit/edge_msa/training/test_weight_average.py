from __future__ import annotations

import pytest
import torch
from torch import nn

from edge_msa.training.weight_average import WeightAverage


def test_average_follows_the_weights_with_its_decay() -> None:
    layer = nn.Linear(1, 1, bias=False)
    layer.weight.data.fill_(0.0)
    average = WeightAverage(layer, 0.5)
    expected = 0.0
    for step, decay in ((0, 0.1), (1, 2 / 11), (8, 0.5), (100, 0.5)):
        layer.weight.data.fill_(float(step + 1))
        average.update(step)
        expected = decay * expected + (1 - decay) * (step + 1)
        assert average.state_dict()["weight"].item() == pytest.approx(expected)


def test_averaged_weights_are_applied_for_a_context_only() -> None:
    layer = nn.Linear(2, 2)
    layer.bias.requires_grad = False
    average = WeightAverage(layer, 0.9)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    with torch.no_grad():
        layer.weight.add_(1)
        layer.bias.add_(1)
    with average.applied():
        assert torch.equal(layer.weight, before["weight"])
        assert torch.equal(layer.bias, before["bias"] + 1)
    assert torch.equal(layer.weight, before["weight"] + 1)
