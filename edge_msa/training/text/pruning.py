"""Structured pruning: remove the attention heads and feed-forward neurons of a text encoder that matter least.

The importance of a part is the first-order Taylor estimate of how much a prediction changes if the output of the part
becomes zero: the absolute value of the sum over tokens of output times gradient, averaged over texts (Michel et al.
2019, Are Sixteen Heads Really Better than One?; Molchanov et al. 2019). The gradient of an L1 loss is that of the
prediction or its negative. The absolute value is the same, so neither labels nor teachers are needed.

As in Michel et al., the importances of each layer are divided by their norm, and then the parts of all layers are
ranked together. Layers therefore keep different widths. Distillation afterwards trains the encoder that is left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from edge_msa.config.students import PruneRecipe
from edge_msa.console import print_progress
from edge_msa.models.encoder_layers import Layers
from edge_msa.models.encoder_widths import PrunableLayer, require_prunable_layers
from edge_msa.models.text_encoders import TextModel, TransformerTextEncoder
from edge_msa.training.randomness import seed_of
from edge_msa.training.text.text_input import TextInput, batches_by_length

MULTIPLE = 16
"""Kept neurons of a layer are a multiple of this: int8 layers need 16 channels, and kernels compute whole blocks."""
_TEXTS = 512
"""Number of texts that importances are averaged over."""
_BATCH = 16
_SAMPLE = 14


def prune(
    model: TextModel,
    text_input: TextInput,
    texts: Sequence[str],
    recipe: PruneRecipe,
    layers: Layers | None,
    name: str,
    seed: int,
) -> None:
    """Remove layers, heads and neurons of a trained text model's encoder, in place.

    Args:
        model: A text model with a Transformer encoder. Importances are those of its predictions, with all layers.
        text_input: Tokenizer of the model.
        texts: Training texts. Importances are averaged over at most 512 of them.
        recipe: The shares of heads and neurons to remove.
        layers: Layers to keep, as in `TransformerTextEncoder.keep_layers` (default: all).
        name: Name of the model in error messages.
        seed: Seed of the choice of texts.

    Raises:
        UsageError: The encoder does not have these layers, or they are not built like BERT's.
    """
    text_encoder = model.text_encoder
    assert isinstance(text_encoder, TransformerTextEncoder)  # noqa: S101 - the caller checked it
    all_layers = require_prunable_layers(text_encoder.encoder, name)
    chosen = np.random.default_rng(seed_of(seed, _SAMPLE)).permutation(len(texts))[:_TEXTS]
    print_progress(f"Measuring the importance of heads and neurons on {len(chosen)} texts.")
    importance = measure_importance(model, text_input, [texts[row] for row in chosen], all_layers)
    if layers is not None:
        text_encoder.keep_layers(layers, name)
        importance = [importance[index] for index in (range(layers) if isinstance(layers, int) else layers)]
    heads = choose_parts([item[0] for item in importance], recipe.heads)
    neurons = choose_parts([item[1] for item in importance], recipe.neurons, MULTIPLE)
    kept_layers = require_prunable_layers(text_encoder.encoder, name)
    for layer, kept_heads, kept_neurons in zip(kept_layers, heads, neurons, strict=True):
        layer.keep(kept_heads, kept_neurons)
    print_progress(f"The layers keep {_join(heads)} heads and {_join(neurons)} neurons.")


def measure_importance(
    model: TextModel, text_input: TextInput, texts: Sequence[str], layers: Sequence[PrunableLayer]
) -> list[tuple[Tensor, Tensor]]:
    """Return the importance of each head and of each neuron, by layer. `layers` are those of the model's encoder."""
    model.eval().requires_grad_(requires_grad=False)
    sums = [(torch.zeros(layer.heads), torch.zeros(layer.neurons)) for layer in layers]
    maps = [(layer.attention_output, layer.feed_forward_output) for layer in layers]
    ids = text_input.tokenizer.ids(texts)
    for rows in batches_by_length(ids, _BATCH):
        with _inputs_of([module for pair in maps for module in pair]) as inputs:
            predictions = model(*text_input.batch([ids[row] for row in rows]))
        for output in range(predictions.shape[1]):
            gradients = torch.autograd.grad(predictions[:, output].sum(), inputs, retain_graph=True)
            changes = [(values * gradient).sum(dim=1).cpu() for values, gradient in zip(inputs, gradients, strict=True)]
            for index, (heads, neurons) in enumerate(sums):
                of_heads, of_neurons = changes[2 * index].detach(), changes[2 * index + 1].detach()
                heads.add_(of_heads.reshape(len(of_heads), len(heads), -1).sum(dim=2).abs().sum(dim=0))
                neurons.add_(of_neurons.abs().sum(dim=0))
    model.requires_grad_(requires_grad=True)
    return sums


def choose_parts(importance: Sequence[Tensor], share: float, multiple: int = 1) -> list[list[int]]:
    """Return the indices of the parts that each layer keeps, in increasing order.

    Args:
        importance: The importance of each part, by layer.
        share: Share of all parts to remove, from 0 to less than 1.
        multiple: Each layer keeps a multiple of this many parts, rounded to the nearest one, and at least one multiple.
            A layer that has no more parts than that keeps all.
    """
    ranked = [values / values.norm().clamp_min(torch.finfo(values.dtype).tiny) for values in importance]
    total = sum(len(values) for values in ranked)
    removed = round(share * total)
    if not removed:
        return [list(range(len(values))) for values in ranked]
    threshold = torch.cat(ranked).sort().values[removed - 1]
    kept = []
    for values in ranked:
        count = max(1, round(int((values > threshold).sum()) / multiple)) * multiple
        kept.append(sorted(values.topk(min(count, len(values))).indices.tolist()))
    return kept


@contextmanager
def _inputs_of(modules: Sequence[nn.Module]) -> Iterator[list[Tensor]]:
    """Yield the inputs of modules, which are called in this order, as part of the graph of gradients."""
    inputs: list[Tensor] = []

    def keep(_module: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        values = arguments[0] if arguments[0].requires_grad else arguments[0].detach().requires_grad_()
        inputs.append(values)
        return (values, *arguments[1:])

    with ExitStack() as stack:
        for module in modules:
            stack.callback(module.register_forward_pre_hook(keep).remove)
        yield inputs


def _join(parts: Sequence[Sequence[int]]) -> str:
    return ", ".join(str(len(kept)) for kept in parts)
