"""The widths of the layers of a BERT-like encoder: attention heads and feed-forward neurons, which pruning removes.

A pruned layer has smaller matrices, so it computes less on every backend. The hidden states between layers keep their
width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from edge_msa.errors import UsageError
from edge_msa.models.encoder_layers import layer_stack


@dataclass(frozen=True)
class EncoderWidths:
    """The number of attention heads and of feed-forward neurons of each layer."""

    heads: tuple[int, ...]
    neurons: tuple[int, ...]

    @classmethod
    def of(cls, model: Any) -> EncoderWidths | None:
        """Return the widths of a model of the transformers package, or None if its layers are not built like BERT's."""
        layers = prunable_layers(model)
        if layers is None:
            return None
        return cls(tuple(layer.heads for layer in layers), tuple(layer.neurons for layer in layers))

    def apply(self, model: Any) -> None:
        """Give the layers of a new model these widths, which are at most its own.

        Raises:
            ValueError: The model has another number of layers, or layers that are not built like BERT's.
        """
        layers = prunable_layers(model)
        if layers is None:
            raise ValueError("the model has no layers that are built like BERT's")
        for layer, heads, neurons in zip(layers, self.heads, self.neurons, strict=True):
            layer.keep(range(heads), range(neurons))


class PrunableLayer:
    """One layer of a BERT-like model, whose heads and neurons can be removed."""

    def __init__(self, layer: Any) -> None:
        self._attention, self._layer = layer.attention.self, layer

    @property
    def head_width(self) -> int:
        """Features per attention head."""
        return int(self._attention.attention_head_size)

    @property
    def heads(self) -> int:
        """Number of attention heads."""
        return int(self._attention.query.out_features) // self.head_width

    @property
    def neurons(self) -> int:
        """Number of feed-forward neurons."""
        return int(self._layer.intermediate.dense.out_features)

    @property
    def attention_output(self) -> nn.Linear:
        """The linear map of the heads' outputs, with `heads * head_width` inputs."""
        output: nn.Linear = self._layer.attention.output.dense
        return output

    @property
    def feed_forward_output(self) -> nn.Linear:
        """The linear map of the activated neurons, with `neurons` inputs."""
        output: nn.Linear = self._layer.output.dense
        return output

    def keep(self, heads: Sequence[int], neurons: Sequence[int]) -> None:
        """Remove all other heads and neurons, in place."""
        attention, output = self._attention, self._layer.attention.output
        features = [head * self.head_width + offset for head in heads for offset in range(self.head_width)]
        for name in ("query", "key", "value"):
            setattr(attention, name, _select(getattr(attention, name), outputs=features))
        output.dense = _select(output.dense, inputs=features)
        attention.num_attention_heads, attention.all_head_size = len(heads), len(features)
        layer = self._layer
        layer.intermediate.dense = _select(layer.intermediate.dense, outputs=neurons)
        layer.output.dense = _select(layer.output.dense, inputs=neurons)


def prunable_layers(model: Any) -> list[PrunableLayer] | None:
    """Return the layers of a model of the transformers package, or None if they are not built like BERT's."""
    stack = layer_stack(model)
    if stack is None or not all(_is_prunable(layer) for layer in stack):
        return None
    return [PrunableLayer(layer) for layer in stack]


def require_prunable_layers(model: Any, source: str) -> list[PrunableLayer]:
    """Return the layers of a model of the transformers package.

    Raises:
        UsageError: They are not built like BERT's.
    """
    layers = prunable_layers(model)
    if layers is None:
        raise UsageError(
            f"The heads and neurons of {source} cannot be removed, because its layers are not built like those of "
            "BERT. Omit text.prune."
        )
    return layers


def _is_prunable(layer: Any) -> bool:
    return hasattr(getattr(getattr(layer, "attention", None), "self", None), "attention_head_size") and all(
        isinstance(module, nn.Linear) for module in _linear_maps(layer)
    )


def _linear_maps(layer: Any) -> Iterator[Any]:
    for name in ("query", "key", "value"):
        yield getattr(layer.attention.self, name, None)
    for module in (getattr(layer.attention, "output", None), getattr(layer, "intermediate", None)):
        yield getattr(module, "dense", None)
    yield getattr(getattr(layer, "output", None), "dense", None)


def _select(linear: nn.Linear, inputs: Sequence[int] | None = None, outputs: Sequence[int] | None = None) -> nn.Linear:
    """Return a linear map with these inputs and outputs of another one, in increasing order; None keeps all."""
    kept_inputs = linear.in_features if inputs is None else len(inputs)
    kept_outputs = linear.out_features if outputs is None else len(outputs)
    if (kept_inputs, kept_outputs) == (linear.in_features, linear.out_features):
        return linear
    result = nn.Linear(kept_inputs, kept_outputs, bias=linear.bias is not None).to(linear.weight)
    with torch.no_grad():
        result.weight.copy_(_rows(_rows(linear.weight, outputs).T, inputs).T)
        if linear.bias is not None:
            result.bias.copy_(_rows(linear.bias, outputs))
    return result


def _rows(values: Tensor, indices: Sequence[int] | None) -> Tensor:
    return values if indices is None else values[list(indices)]
