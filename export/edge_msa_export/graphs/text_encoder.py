"""The graphs of a text encoder, one per length."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import cast

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge_msa_export.errors import ExportError
from edge_msa_export.graphs.onnx_export import ExportableModule, export_onnx
from edge_msa_export.text import TextGraph, bucket_lengths
from edge_msa_runtime.bundle.manifest import GraphKey

Frames = NDArray[np.float32]


def export_text_encoders(text: TextGraph, lengths: Sequence[int] | None = None) -> dict[GraphKey, onnx.ModelProto]:
    """Export the graphs of a text encoder: `ids` and `valid` (1, L) -> `frames` (1, L, d).

    Args:
        text: the text encoder.
        lengths: lengths L to export (default: `bucket_lengths` up to the maximum number of tokens).

    Raises:
        ExportError: torch cannot export the module, or it returns frames of another shape.
    """
    return {key: export_onnx(module) for key, module in build_text_encoder_modules(text, lengths).items()}


def build_text_encoder_modules(
    text: TextGraph, lengths: Sequence[int] | None = None
) -> dict[GraphKey, ExportableModule]:
    """Return the module of each text encoder graph, on the CPU.

    Raises:
        ExportError: the module returns frames of another shape.
    """
    text_encoder = _TextEncoderModule(copy.deepcopy(text.module).cpu().eval())
    return {
        GraphKey.text_encoder(length): _build(text_encoder, length, text.dim)
        for length in lengths or bucket_lengths(text.max_tokens)
    }


def encode_with_torch(text: TextGraph, ids: list[int]) -> Frames:
    """Return the frames (n, d) that the torch module computes for n token ids."""
    with torch.no_grad():
        frames = text.module(torch.tensor([ids], dtype=torch.int64), torch.ones(1, len(ids)))
    return np.asarray(frames[0].numpy(), dtype=np.float32)


class _TextEncoderModule(nn.Module):
    """Adds the prefix `text_encoder.` to the name of every weight."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.text_encoder = module

    def forward(self, ids: Tensor, valid: Tensor) -> Tensor:
        return cast("Tensor", self.text_encoder(ids, valid))


def _build(text_encoder: _TextEncoderModule, length: int, dim: int) -> ExportableModule:
    inputs = {"ids": torch.zeros(1, length, dtype=torch.int64), "valid": torch.ones(1, length)}
    with torch.no_grad():
        shape = tuple(text_encoder(*inputs.values()).shape)
    if shape != (1, length, dim):
        raise ExportError(f"The text encoder must return shape {(1, length, dim)} for {length} tokens, got {shape}.")
    return ExportableModule(text_encoder, inputs, ("frames",))
