"""Structured pruning of text encoders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from edge_msa.config.students import PruneRecipe
from edge_msa.data.tasks import MOSI
from edge_msa.errors import UsageError
from edge_msa.models.encoder_widths import EncoderWidths, require_prunable_layers
from edge_msa.models.student import Student
from edge_msa.models.text_encoders import TextModel
from edge_msa.training.text.pruning import choose_parts, measure_importance, prune
from edge_msa.training.text.text_input import TextInput, load_text_input_files, write_text_input
from edge_msa.training.text.train import predict_texts
from tests.unit.edge_msa.training.text.toy_text import QUICK, encoder_of, make_encoder_input, make_teacher_input

TEXTS = ("i love it", "not at all", "love it all", "i not it at all")
HALF = PruneRecipe(heads=0.5, neurons=0.5)


def make_model(text_input: TextInput) -> TextModel:
    torch.manual_seed(2)
    return TextModel(text_input.text_encoder, Student(QUICK.network_config(encoder_of(text_input).dim, MOSI))).eval()


def test_importance_is_the_gradient_of_a_factor_on_each_part(toy_encoder: Path) -> None:
    text_input = make_encoder_input(toy_encoder)
    model = make_model(text_input)
    layers = require_prunable_layers(encoder_of(text_input).encoder, "toy")
    importance = measure_importance(model, text_input, TEXTS, layers)

    factors = [
        torch.ones(linear.in_features, requires_grad=True)
        for layer in layers
        for linear in (layer.attention_output, layer.feed_forward_output)
    ]
    linears = [linear for layer in layers for linear in (layer.attention_output, layer.feed_forward_output)]
    hooks = [
        linear.register_forward_pre_hook(lambda _, arguments, factor=factor: (arguments[0] * factor,))
        for linear, factor in zip(linears, factors, strict=True)
    ]
    expected = [torch.zeros(layer.heads if part == 0 else layer.neurons) for layer in layers for part in (0, 1)]
    for ids in text_input.tokenizer.ids(TEXTS):
        gradients = torch.autograd.grad(model(*text_input.batch([ids])).sum(), factors)
        for total, gradient in zip(expected, gradients, strict=True):
            total.add_(gradient.reshape(len(total), -1).sum(dim=1).abs())
    for hook in hooks:
        hook.remove()
    for index, (heads, neurons) in enumerate(importance):
        torch.testing.assert_close(heads, expected[2 * index], rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(neurons, expected[2 * index + 1], rtol=1e-4, atol=1e-6)


def test_least_important_parts_of_all_layers_are_removed() -> None:
    importance = [torch.tensor([4.0, 1.0, 3.0]), torch.tensor([0.1, 0.2, 0.1])]
    assert choose_parts(importance, 0.5) == [[0, 2], [1]]
    assert choose_parts(importance, 0.0) == [[0, 1, 2], [0, 1, 2]]


def test_each_layer_keeps_at_least_one_part_and_multiples() -> None:
    assert choose_parts([torch.arange(1.0, 9.0)], 0.9) == [[7]]
    assert choose_parts([torch.arange(40.0)], 0.5, 16) == [list(range(24, 40))]
    assert choose_parts([torch.arange(8.0)], 0.9, 16) == [list(range(8))]


def test_removed_parts_have_smaller_matrices_and_zeroed_ones_give_the_same_predictions(toy_encoder: Path) -> None:
    text_input = make_encoder_input(toy_encoder)
    model = make_model(text_input)
    before = sum(parameter.numel() for parameter in model.parameters())
    with torch.no_grad():  # the second head and the last neurons contribute nothing
        for layer in require_prunable_layers(encoder_of(text_input).encoder, "toy"):
            layer.attention_output.weight[:, 8:] = 0
            layer.feed_forward_output.weight[:, 16:] = 0
    expected = predict_texts(model, text_input, TEXTS)
    prune(model, text_input, TEXTS, HALF, None, "toy", seed=0)
    assert EncoderWidths.of(encoder_of(text_input).encoder) == EncoderWidths((1, 1), (16, 16))
    assert sum(parameter.numel() for parameter in model.parameters()) < before - 2 * (4 * 16 * 8 + 2 * 16 * 16)
    np.testing.assert_allclose(predict_texts(model, text_input, TEXTS), expected, atol=1e-6)


def test_pruned_encoder_keeps_its_widths_in_a_run(toy_encoder: Path, tmp_path: Path) -> None:
    text_input = make_encoder_input(toy_encoder)
    model = make_model(text_input)
    prune(model, text_input, TEXTS, HALF, 1, "toy", seed=0)
    expected = predict_texts(model, text_input, TEXTS)
    loaded = load_text_input_files(tmp_path, write_text_input(tmp_path, text_input))
    assert encoder_of(loaded).widths == encoder_of(text_input).widths
    assert encoder_of(loaded).layers == 1
    np.testing.assert_array_equal(predict_texts(TextModel(loaded.text_encoder, model.student), loaded, TEXTS), expected)
    encoder_of(loaded).reset_layers(1, seed=0)
    assert encoder_of(loaded).widths == encoder_of(text_input).widths


def test_encoder_with_other_layers_is_refused(toy_encoder: Path) -> None:
    text_input = make_teacher_input(toy_encoder)
    del encoder_of(text_input).encoder.encoder.layer[0].attention.self.attention_head_size
    with pytest.raises(UsageError, match="cannot be removed, because its layers are not built like those of BERT"):
        prune(make_model(text_input), text_input, TEXTS, HALF, None, "other", seed=0)
