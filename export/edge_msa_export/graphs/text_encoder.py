"""From a torch encoder of texts to its text encoder graphs, one a length."""

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
from edge_msa_export.graphs.export import Part, to_onnx
from edge_msa_export.text import TextGraph, buckets
from edge_msa_runtime.bundle.manifest import GraphKey

Frames = NDArray[np.float32]


class _TextEncoder(nn.Module):
    """Gives every weight its prefix `text_encoder.`."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.text_encoder = module

    def forward(self, ids: Tensor, valid: Tensor) -> Tensor:
        return cast("Tensor", self.text_encoder(ids, valid))


def export_text_encoders(text: TextGraph, lengths: Sequence[int] | None = None) -> dict[GraphKey, onnx.ModelProto]:
    """The text encoder graphs, `ids` and `valid` (1, L) -> `frames` (1, L, d), of those lengths, or all that are baseline check one.

    Raises:
        ExportError: torch cannot export the module, or it gives frames of another shape.
    """
    return {key: to_onnx(*part) for key, part in text_encoder_parts(text, lengths).items()}


def text_encoder_parts(text: TextGraph, lengths: Sequence[int] | None = None) -> dict[GraphKey, Part]:
    """The module of each text encoder graph, on the CPU.

    Raises:
        ExportError: it gives frames of another shape.
    """
    text_encoder = _TextEncoder(copy.deepcopy(text.module).cpu().eval())
    return {
        GraphKey.text_encoder(length): _part(text_encoder, length, text.dim)
        for length in lengths or buckets(text.max_tokens)
    }


def torch_frames(text: TextGraph, ids: list[int]) -> Frames:
    """What the module itself makes of some ids, (n, d)."""
    with torch.no_grad():
        frames = text.module(torch.tensor([ids], dtype=torch.int64), torch.ones(1, len(ids)))
    return np.asarray(frames[0].numpy(), dtype=np.float32)


def _part(text_encoder: _TextEncoder, length: int, dim: int) -> Part:
    inputs = {"ids": torch.zeros(1, length, dtype=torch.int64), "valid": torch.ones(1, length)}
    with torch.no_grad():
        shape = tuple(text_encoder(*inputs.values()).shape)
    if shape != (1, length, dim):
        raise ExportError(f"the encoder of texts gives {shape} for {length} tokens, wanted is {(1, length, dim)}")
    return Part(text_encoder, inputs, ("frames",))
