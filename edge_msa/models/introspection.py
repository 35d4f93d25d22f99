"""Attention weights and representations of one forward pass.

The networks use fused attention, and ALMT's embedding is computed in a different order than the paper defines, so the
attention weights never exist as tensors. Here, hooks record the inputs of the layers during an ordinary forward pass,
and the weights are recomputed from the layers' parameters: softmax(q k / sqrt(head width)).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from edge_msa.models.almt import AhlAttention, Almt, ModalityEmbedding
from edge_msa.models.almt_layers import split_heads
from edge_msa.models.hrlf import AttentionLayer, Hrlf, HrlfEncoder
from edge_msa.models.student import Student
from edge_msa.models.student_encoder import StudentEncoder, compact_order, find_gaps, rows_of_frames
from edge_msa_runtime.modalities import MODALITIES

GUIDED = ("audio", "vision")
"""The modalities that ALMT's language attends to."""
TensorsByModality = Mapping[str, Tensor]


@dataclass(frozen=True)
class AlmtAttention:
    """Attention weights of one forward pass over B samples; they sum to 1 along the last axis."""

    embedding: dict[str, Tensor]
    """By modality, the weights from each output token to the learned tokens and to the T positions after them,
    (B, heads, tokens, tokens + T)."""
    guided: dict[str, Tensor]
    """For audio and vision, the weights from each language token in each AHL layer, (B, scales, heads, tokens, tokens).
    Empty for a network without AHL."""


@torch.no_grad()
def almt_attention(network: Almt, frames: TensorsByModality, valid: TensorsByModality) -> AlmtAttention:
    """Return the attention weights of ALMT; the arguments are those of its `forward`."""
    embeddings = _embeddings(network)
    ahl = [module for module in network.modules() if isinstance(module, AhlAttention)]
    with _recorded([*embeddings.values(), *ahl]) as calls:
        network(frames, valid)
    batch = len(next(iter(frames.values())))
    embedding = {
        name: _embedding_weights(module, calls[module][0].inputs[0]).expand(batch, -1, -1, -1)
        for name, module in embeddings.items()
    }
    # Scales may share one layer, so the order of the calls is the order of the scales.
    ahl_calls = sorted((call for module in ahl for call in calls[module]), key=lambda call: call.order)
    guided = {
        name: torch.stack([_guided_weights(call, index) for call in ahl_calls], dim=1).expand(batch, -1, -1, -1, -1)
        for index, name in enumerate(GUIDED)
        if ahl_calls
    }
    return AlmtAttention(embedding, guided)


@torch.no_grad()
def hrlf_attention(network: Hrlf, frames: TensorsByModality, valid: TensorsByModality) -> dict[str, Tensor]:
    """Return the weights of the last layer of each modality, (B, heads, T); they sum to 1 along T.

    They are the weights from the last valid frame or, with `pooling="max"`, the mean over all frames. The arguments are
    those of HRLF's `forward`. For an omitted modality T is 1.
    """
    layers = {
        name: cast("AttentionLayer", cast("HrlfEncoder", encoder).layers[-1])
        for name, encoder in network.encoders.items()
    }
    with _recorded(list(layers.values())) as calls:
        network(frames, valid)
    return {name: _last_layer_weights(layer, *calls[layer][0].inputs) for name, layer in layers.items()}


@torch.no_grad()
def student_attention(network: Student, frames: TensorsByModality, valid: TensorsByModality) -> dict[str, Tensor]:
    """Return the pooling weights of each modality in `frames`, (B, tokens, T); they sum to 1 along T.

    The weights of frames that are not valid are 0, also if a sample lacks the modality. A gap frame has its weight at
    the last frame that it replaces. The arguments are those of the student's `forward`.
    """
    encoders = {name: cast("StudentEncoder", network.encoders[name]) for name in frames}
    with _recorded([encoder.score for encoder in encoders.values()]) as calls:
        network(frames, valid)
    return {
        name: _pooling_weights(
            calls[encoder.score][0].output,
            valid[name] | find_gaps(valid[name]) if name in network.config.gap_frames else valid[name],
            encoder.config.stride,
        )
        for name, encoder in encoders.items()
    }


@torch.no_grad()
def joint_representation(network: Hrlf | Almt | Student, frames: TensorsByModality, valid: TensorsByModality) -> Tensor:
    """Return the input of the network's last linear layer, (B, width).

    For HRLF that is Htilde, for ALMT the output of the fusion, for a student the hidden layer of its fusion.
    """
    last = _last_layer(network)
    with _recorded([last]) as calls:
        network(frames, valid)
    return calls[last][0].inputs[0]


@torch.no_grad()
def almt_mean_tokens(network: Almt, frames: TensorsByModality, valid: TensorsByModality) -> dict[str, Tensor]:
    """Return the mean token of each modality's embedding and, with AHL, of the `hyper-modality`, (B, 128) each."""
    modules: dict[str, nn.Module] = dict(_embeddings(network))
    if isinstance(hyper := getattr(network, "h_hyper_layer", None), nn.Module):
        modules["hyper-modality"] = hyper
    with _recorded(list(modules.values())) as calls:
        network(frames, valid)
    batch = len(next(iter(frames.values())))
    return {name: calls[module][0].output.mean(dim=1).expand(batch, -1) for name, module in modules.items()}


@dataclass(frozen=True)
class _ModuleCall:
    """One recorded call of a module."""

    module: nn.Module
    order: int
    """Number of recorded calls before this one."""
    inputs: tuple[Tensor, ...]
    output: Tensor


@contextmanager
def _recorded(modules: list[nn.Module]) -> Iterator[dict[nn.Module, list[_ModuleCall]]]:
    """Record the calls of modules while the context is open."""
    calls: dict[nn.Module, list[_ModuleCall]] = defaultdict(list)

    def record(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        order = sum(len(earlier) for earlier in calls.values())
        calls[module].append(_ModuleCall(module, order, inputs, output))

    hooks = [module.register_forward_hook(record) for module in modules]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


def _embeddings(network: Almt) -> dict[str, ModalityEmbedding]:
    """Return the embeddings of the modalities that the network's dataset has."""
    projections = zip(MODALITIES, (network.proj_l, network.proj_a, network.proj_v), strict=True)
    return {name: cast("ModalityEmbedding", item[1]) for name, item in projections if name in network.config.dims}


def _embedding_weights(embedding: ModalityEmbedding, projected: Tensor) -> Tensor:
    tokens, sequence = embedding.sequence(projected)
    attention, _ = embedding.encoder.blocks()[0]
    query = split_heads(attention.fn.to_q(attention.norm_q(tokens)))
    return _attention_weights(query, split_heads(attention.fn.to_k(attention.norm_k(sequence))))


def _guided_weights(call: _ModuleCall, index: int) -> Tensor:
    attention = cast("AhlAttention", call.module)
    text, *attended = call.inputs
    to_key = (attention.to_k_ta, attention.to_k_tv)[index]
    return _attention_weights(split_heads(attention.to_q(text)), split_heads(to_key(attended[index])))


def _last_layer_weights(layer: AttentionLayer, queries: Tensor, hidden: Tensor, extent: Tensor) -> Tensor:
    query, key = layer.query(layer.norm(queries)), layer.key(layer.norm(hidden))
    query, key = (part.view(*part.shape[:2], layer.heads, -1).transpose(1, 2) for part in (query, key))
    weights = _attention_weights(query, key, extent[:, None, None, :])
    if queries.shape[1] == 1:
        return weights[:, :, 0]
    is_query = extent[:, None, :, None].to(weights.dtype)
    return (weights * is_query).sum(dim=2) / is_query.sum(dim=2)


def _pooling_weights(scores: Tensor, valid: Tensor, stride: int) -> Tensor:
    """Return the softmax over the rows of valid frames and gap frames, (B, tokens, T).

    Frames of one row share its weight equally. `scores` is (B, tokens, rows).
    """
    length, count = valid.shape[1], valid.sum(dim=1, keepdim=True)
    row = rows_of_frames(length, stride).to(valid.device)
    complete = torch.arange(scores.shape[2], device=valid.device) < (count + stride - 1) // stride
    weights = torch.softmax(scores.masked_fill(~complete[:, None], -torch.inf), dim=2).nan_to_num(0.0)
    frames_in_row = torch.where(row == 0, 1, stride)  # the first frame is alone in its row
    shared = weights.gather(2, row.clamp(max=scores.shape[2] - 1).expand(*scores.shape[:2], -1)) / frames_in_row
    shared = shared * (row < (count + stride - 1) // stride)[:, None]
    order = compact_order(valid)
    return torch.zeros_like(shared).scatter(2, order[:, None].expand_as(shared), shared)


def _attention_weights(query: Tensor, key: Tensor, attended: Tensor | None = None) -> Tensor:
    """Map (B, heads, Q, w) and (B, heads, T, w) to (B, heads, Q, T)."""
    scores = query @ key.transpose(2, 3) * query.shape[3] ** -0.5
    return torch.softmax(scores if attended is None else scores.masked_fill(~attended, -torch.inf), dim=3)


def _last_layer(network: Hrlf | Almt | Student) -> nn.Module:
    if isinstance(network, Hrlf):
        return network.classifier
    return network.regression_layer if isinstance(network, Almt) else network.fusion.output
