"""Which layers of a BERT-like encoder are kept."""

from __future__ import annotations

from typing import Any

from torch import nn

from edge_msa.errors import UsageError

Layers = int | tuple[int, ...]
"""The first N layers, or the layers with these indices, counted from 0 and increasing."""


def layer_stack(model: Any) -> Any:
    """Return the list of layers of a model of the transformers package, or None if it is not built like BERT."""
    return getattr(getattr(model, "encoder", None), "layer", None)


def keep_layers(model: Any, layers: Layers, source: str) -> None:
    """Remove all other layers of a model of the transformers package.

    Args:
        model: The model, changed in place.
        layers: The layers to keep.
        source: Name of the model in error messages.

    Raises:
        UsageError: The model does not have these layers, or is not built like BERT.
    """
    stack = layer_stack(model)
    if stack is None:
        raise UsageError(
            f"The layers of {source} cannot be selected, because the model has no encoder.layer. Omit --layers."
        )
    if isinstance(layers, int):
        if not 1 <= layers <= len(stack):
            raise UsageError(f"--layers must be from 1 to {len(stack)} for {source}, got {layers}.")
        layers = tuple(range(layers))
    elif layers[-1] >= len(stack):
        listed = ",".join(map(str, layers))
        raise UsageError(f"--layers must be layers from 0 to {len(stack) - 1} for {source}, got {listed}.")
    model.encoder.layer = nn.ModuleList(stack[index] for index in layers)
    model.config.num_hidden_layers = len(layers)
