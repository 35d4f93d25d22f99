"""What goes on inside a network while it answers: where a teacher attention maps, and the vectors that its answer is made of.

The networks compute attention fused, and ALMT's embedding in another order than it is written, so no weight is ever
there to be read. Here hooks note what goes into the layers during one ordinary pass, and the weights are recomputed
from the layers' own parameters: softmax(q k / sqrt(width of a head)).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from edge_msa.models.almt import AhlAttention, Almt, Embedding
from edge_msa.models.almt_layers import split_heads
from edge_msa.models.hrlf import AttentionLayer, Hrlf, StreamEncoder
from edge_msa.models.student import Student
from edge_msa.models.student_encoder import Encoder, rows_of_frames
from edge_msa_runtime.modalities import MODALITIES

GUIDED = ("audio", "vision")
"""The modalities that ALMT's language asks."""
Frames = Mapping[str, Tensor]


@dataclass(frozen=True)
class AlmtAttention:
    """Weights of one pass over B samples; every row of them adds up to 1.

    `embedding` (B, heads, tokens, tokens + T) by modality: what each surviving token hears, the learned tokens first,
    then the network's T positions. `guided` (B, scales, heads, tokens, tokens) of audio and vision: what each language
    token hears in AHL, scale by scale; empty in a network without AHL.
    """

    embedding: dict[str, Tensor]
    guided: dict[str, Tensor]


@torch.no_grad()
def almt_attention(network: Almt, frames: Frames, valid: Frames) -> AlmtAttention:
    """Where ALMT attention maps; the arguments are those of its `forward`."""
    streams = _embeddings(network)
    ahl = [module for module in network.modules() if isinstance(module, AhlAttention)]
    with _noted([*streams.values(), *ahl]) as notes:
        network(frames, valid)
    batch = len(next(iter(frames.values())))
    embedding = {
        name: _embedding_weights(stream, notes[stream][0].given[0]).expand(batch, -1, -1, -1)
        for name, stream in streams.items()
    }
    # Scales may share one layer: the calls' own order is that of the scales.
    calls = sorted((call for module in ahl for call in notes[module]), key=lambda call: call.order)
    guided = {
        name: torch.stack([_guided_weights(call, place) for call in calls], dim=1).expand(batch, -1, -1, -1, -1)
        for place, name in enumerate(GUIDED)
        if calls
    }
    return AlmtAttention(embedding, guided)


@torch.no_grad()
def hrlf_attention(network: Hrlf, frames: Frames, valid: Frames) -> dict[str, Tensor]:
    """What is attended in each stream's last layer, (B, heads, T) by modality; rows add up to 1.

    The last valid frame hears it; where the network pools by the largest value, all frames do, and this is their mean.
    The arguments are those of HRLF's `forward`. Of a stream that is left out T is 1.
    """
    layers = {
        name: cast("AttentionLayer", cast("StreamEncoder", encoder).layers[-1])
        for name, encoder in network.encoders.items()
    }
    with _noted(list(layers.values())) as notes:
        network(frames, valid)
    return {name: _last_frame_weights(layer, *notes[layer][0].given) for name, layer in layers.items()}


@torch.no_grad()
def student_attention(network: Student, frames: Frames, valid: Frames) -> dict[str, Tensor]:
    """What each pooled token hears of each modality that is given, (B, tokens, T); a missing modality's are 0.

    The arguments are those of the student's `forward`. Rows add up to 1; a frame that is not valid is not attended.
    """
    encoders = {name: cast("Encoder", network.encoders[name]) for name in frames}
    with _noted([encoder.score for encoder in encoders.values()]) as notes:
        network(frames, valid)
    return {
        name: _pooling_weights(notes[encoder.score][0].answer, valid[name], encoder.config.stride)
        for name, encoder in encoders.items()
    }


@torch.no_grad()
def read_vectors(network: Hrlf | Almt | Student, frames: Frames, valid: Frames) -> Tensor:
    """The joint representation, (B, width): what the last linear layer makes the answer of.

    Of HRLF that is Htilde, of ALMT the fusion's answer, of a student its fusion's hidden layer.
    """
    last = _last_layer(network)
    with _noted([last]) as notes:
        network(frames, valid)
    return notes[last][0].given[0]


@torch.no_grad()
def almt_streams(network: Almt, frames: Frames, valid: Frames) -> dict[str, Tensor]:
    """The mean token of each modality's embedding and, where there is AHL, of the `hyper-modality`: (B, 128) each."""
    streams: dict[str, nn.Module] = dict(_embeddings(network))
    if isinstance(hyper := getattr(network, "h_hyper_layer", None), nn.Module):
        streams["hyper-modality"] = hyper
    with _noted(list(streams.values())) as notes:
        network(frames, valid)
    batch = len(next(iter(frames.values())))
    return {name: notes[module][0].answer.mean(dim=1).expand(batch, -1) for name, module in streams.items()}


@dataclass(frozen=True)
class _Call:
    """One call of a module: how many of the noted calls came before, what went in, what came out."""

    module: nn.Module
    order: int
    given: tuple[Tensor, ...]
    answer: Tensor


@contextmanager
def _noted(modules: list[nn.Module]) -> Iterator[dict[nn.Module, list[_Call]]]:
    """The calls of those modules while the context is open."""
    notes: dict[nn.Module, list[_Call]] = defaultdict(list)

    def note(module: nn.Module, given: tuple[Any, ...], answer: Any) -> None:
        order = sum(len(calls) for calls in notes.values())
        notes[module].append(_Call(module, order, given, answer))

    hooks = [module.register_forward_hook(note) for module in modules]
    try:
        yield notes
    finally:
        for hook in hooks:
            hook.remove()


def _embeddings(network: Almt) -> dict[str, Embedding]:
    """Of the modalities that the network's data has, by name."""
    streams = zip(MODALITIES, (network.proj_l, network.proj_a, network.proj_v), strict=True)
    return {name: cast("Embedding", stream[1]) for name, stream in streams if name in network.config.dims}


def _embedding_weights(stream: Embedding, projected: Tensor) -> Tensor:
    tokens, sequence = stream.sequence(projected)
    attention, _ = stream.encoder.pairs()[0]
    query = split_heads(attention.fn.to_q(attention.norm_q(tokens)))
    return _weights(query, split_heads(attention.fn.to_k(attention.norm_k(sequence))))


def _guided_weights(call: _Call, place: int) -> Tensor:
    attention = cast("AhlAttention", call.module)
    text, *attended = call.given
    to_key = (attention.to_k_ta, attention.to_k_tv)[place]
    return _weights(split_heads(attention.to_q(text)), split_heads(to_key(attended[place])))


def _last_frame_weights(layer: AttentionLayer, asking: Tensor, hidden: Tensor, extent: Tensor) -> Tensor:
    query, key = layer.query(layer.norm(asking)), layer.key(layer.norm(hidden))
    query, key = (part.view(*part.shape[:2], layer.heads, -1).transpose(1, 2) for part in (query, key))
    weights = _weights(query, key, extent[:, None, None, :])
    if asking.shape[1] == 1:
        return weights[:, :, 0]
    askers = extent[:, None, :, None].to(weights.dtype)
    return (weights * askers).sum(dim=2) / askers.sum(dim=2)


def _pooling_weights(scores: Tensor, valid: Tensor, stride: int) -> Tensor:
    """Softmax over the rows of valid frames (B, tokens, rows), shared by a row's frames, put back where they were."""
    length, count = valid.shape[1], valid.sum(dim=1, keepdim=True)
    row = rows_of_frames(length, stride).to(valid.device)
    ready = torch.arange(scores.shape[2], device=valid.device) < (count + stride - 1) // stride
    weights = torch.softmax(scores.masked_fill(~ready[:, None], -torch.inf), dim=2).nan_to_num(0.0)
    members = torch.where(row == 0, 1, stride)  # the first frame has a row of its own
    shared = weights.gather(2, row.clamp(max=scores.shape[2] - 1).expand(*scores.shape[:2], -1)) / members
    shared = shared * (row < (count + stride - 1) // stride)[:, None]
    order = torch.argsort((~valid).to(torch.uint8), dim=1, stable=True)
    return torch.zeros_like(shared).scatter(2, order[:, None].expand_as(shared), shared)


def _weights(query: Tensor, key: Tensor, attended: Tensor | None = None) -> Tensor:
    """(B, heads, Q, w) and (B, heads, T, w) -> (B, heads, Q, T)."""
    match = query @ key.transpose(2, 3) * query.shape[3] ** -0.5
    return torch.softmax(match if attended is None else match.masked_fill(~attended, -torch.inf), dim=3)


def _last_layer(network: Hrlf | Almt | Student) -> nn.Module:
    if isinstance(network, Hrlf):
        return network.classifier
    return network.regression_layer if isinstance(network, Almt) else network.fusion.read
