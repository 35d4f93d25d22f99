from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from edge_msa.config.students import TextRecipe
from edge_msa.errors import UsageError
from edge_msa.models.text_encoders import TransformerTextEncoder
from edge_msa.training.text.initial_encoders import text_encoder_from_source


def layer_weights(folder: Path, reset_layers: int, seed: int = 0) -> list[dict[str, Tensor]]:
    recipe = TextRecipe(reset_layers=reset_layers)
    text_encoder = text_encoder_from_source(str(folder), [], recipe, None, seed).text_encoder
    assert isinstance(text_encoder, TransformerTextEncoder)
    return [dict(layer.state_dict()) for layer in text_encoder.encoder.encoder.layer]


def test_last_layers_start_with_the_initial_weights_of_the_model(toy_encoder: Path) -> None:
    before, after = layer_weights(toy_encoder, 0), layer_weights(toy_encoder, 1)
    assert all(torch.equal(before[0][name], value) for name, value in after[0].items())
    matrices = [name for name, value in after[1].items() if value.ndim == 2]
    assert len(matrices) == 6
    for name in matrices:
        assert not torch.equal(before[1][name], after[1][name])
        assert float(after[1][name].std()) == pytest.approx(0.02, rel=0.2)  # initializer_range of BERT


def test_reset_layers_depend_on_the_seed(toy_encoder: Path) -> None:
    name = "output.dense.weight"
    first, again, other = (layer_weights(toy_encoder, 2, seed) for seed in (0, 0, 1))
    assert all(torch.equal(first[index][name], again[index][name]) for index in (0, 1))
    assert not any(torch.equal(first[index][name], other[index][name]) for index in (0, 1))


def test_more_reset_layers_than_the_encoder_has_is_an_error(toy_encoder: Path) -> None:
    with pytest.raises(UsageError, match=r"text\.reset_layers must be from 0 to 2 for this encoder, got 3\."):
        layer_weights(toy_encoder, 3)
