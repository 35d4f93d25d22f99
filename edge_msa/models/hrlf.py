"""HRLF, the teacher: Li et al., NeurIPS 2024 (arXiv 2411.02793), rebuilt from the paper; its authors released no code.

What the paper leaves open, and what is done here:

- *Transformer*: pre-norm layers (they train at the paper's learning rate without a warm-up), ReLU, feed-forward 2d,
  sinusoidal positions. Queries and keys are normalized, values are not: a layer norm divides a frame by its own size,
  so a mean over frames would depend on whatever else each frame holds (on the embedded data that costs accuracy).
  Number of layers and dropout are recipe fields. Only the last element is read, so the last layer asks with that one
  position alone: the same numbers for a fraction of the work.
- *Z* is the last element, as published (`pooling="last"`). Ours for small corpora is `pooling="max"`: frames go through
  a ReLU behind the convolution, every position asks, and Z is the largest value of each feature over frames. On
  CMU-MOSI's 1,284 utterances a single position that chooses among frames is learned by heart before it is learned.
- *Last element*: the last valid frame. Frames before the first and after the last valid one are padding, hidden from
  attention; frames missing in between are zero vectors that take part, as in the paper. A modality without a valid
  frame is a single zero vector, so its Z is a learned constant and no length leaks in.
- *H in R^{3d}* forces Q and U to be d/2 wide. With n streams (a data set may lack a modality) H is n*d wide and the
  layers are n*d -> 2d -> d -> 2d -> n*d; n = 3 is the paper's network.
- *Multi-scale features*: "concatenated" and "E1 in R^{3d}, E2 in R^{2d}" contradict each other. They are concatenated
  here (6d, 4d, d wide): the networks that read them take any width, and a sum would lose what it adds up.
- *Classifier*: one linear layer on Htilde.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_msa_runtime.modalities import MODALITIES

Pooling = Literal["last", "max"]
POOLINGS: tuple[str, ...] = get_args(Pooling)


@dataclass(frozen=True)
class HrlfConfig:
    """Sizes of an HRLF network; the paper's where it prints them.

    `dims`: features a frame of each modality, which are the network's streams. `d`: width of Z. `heads`: of attention,
    d must be a multiple. `layers`: Transformer layers a stream. `dropout`: in attention's output, the feed-forward
    layers and before the classifier. `outputs`: numbers in an answer. `input_dropout`: of the frames' features.
    `pooling`: what of the Transformer's frames is Z, `last` or `max`.
    """

    dims: Mapping[str, int]
    d: int = 40
    heads: int = 10
    layers: int = 2
    dropout: float = 0.1
    outputs: int = 1
    input_dropout: float = 0.0
    pooling: Pooling = "last"

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise ValueError(f"pooling must be one of {', '.join(POOLINGS)}, not {self.pooling!r}")
        if not self.dims or set(self.dims) - set(MODALITIES):
            raise ValueError(f"dims must name some of {', '.join(MODALITIES)}, not {sorted(self.dims)}")
        if self.d % self.heads or self.d % 2 or self.layers < 1:
            raise ValueError(f"d={self.d} must be even and a multiple of heads={self.heads}; layers at least 1")


@dataclass(frozen=True)
class HrlfFeatures:
    """Everything of one pass that a loss reads, for B samples and n streams.

    `encoded` Z (B, n, d); `relevant` Q and `specific` U (B, n, d/2); `available` (B, n) bool, streams with a valid
    frame; `scales` E1 (B, 2nd), E2 (B, 4d), E3 (B, d); `outputs` (B, outputs).
    """

    encoded: Tensor
    relevant: Tensor
    specific: Tensor
    available: Tensor
    scales: tuple[Tensor, Tensor, Tensor]
    outputs: Tensor


class Hrlf(nn.Module):
    """One network of HRLF: the teacher on complete samples, and the robust one under MSM, have this structure."""

    def __init__(self, config: HrlfConfig) -> None:
        super().__init__()
        self.config = config
        d, streams = config.d, len(config.dims)
        self.encoders = nn.ModuleDict({name: StreamEncoder(dim, config) for name, dim in config.dims.items()})
        self.relevant = nn.ModuleDict({name: _two_layers(d, d // 2) for name in config.dims})
        self.specific = nn.ModuleDict({name: _two_layers(d, d // 2) for name in config.dims})
        self.decoder = _two_layers(d, d)
        widths = (streams * d, 2 * d, d, 2 * d, streams * d)
        self.fusion = nn.ModuleList(nn.Linear(into, out) for into, out in pairwise(widths))
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(streams * d, config.outputs)

    def forward(self, frames: Mapping[str, Tensor], valid: Mapping[str, Tensor]) -> Tensor:
        """Answers of whole samples; the arguments of `features` -> (B, outputs)."""
        return self.features(frames, valid).outputs

    def features(self, frames: Mapping[str, Tensor], valid: Mapping[str, Tensor]) -> HrlfFeatures:
        """One pass; the arguments of `encode`."""
        return self.fuse(*self.encode(frames, valid))

    def encode(self, frames: Mapping[str, Tensor], valid: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Z of every stream, (B, n, d), and which streams have a valid frame, (B, n) bool.

        Args:
            frames: (B, T, dim) by modality, normalized; T may differ; a stream that is left out is missing.
            valid: (B, T) bool by modality, holes allowed.
        """
        batch = next(iter(frames.values()))
        masks = {
            name: valid[name] if name in valid else batch.new_zeros(len(batch), 1).bool() for name in self.encoders
        }
        encoded = {
            name: encoder(
                frames[name] if name in frames else batch.new_zeros(len(batch), 1, self.config.dims[name]), masks[name]
            )
            for name, encoder in self.encoders.items()
        }
        available = torch.stack([mask.any(dim=1) for mask in masks.values()], dim=1)
        return torch.stack(list(encoded.values()), dim=1), available

    def fuse(self, encoded: Tensor, available: Tensor) -> HrlfFeatures:
        """From Z on: `encoded` (B, n, d), `available` (B, n) bool."""
        relevant = self.sentiment(encoded)
        specific = torch.stack([part(encoded[:, i]) for i, part in enumerate(self.specific.values())], dim=1)
        joined = torch.cat([relevant, specific], dim=2).flatten(1)
        first = torch.relu(self.fusion[0](joined))
        second = torch.relu(self.fusion[1](first))
        third = torch.relu(self.fusion[2](second))
        last = torch.relu(self.fusion[3](third))
        scales = (torch.cat([joined, last], dim=1), torch.cat([first, third], dim=1), second)
        return HrlfFeatures(encoded, relevant, specific, available, scales, self.classifier(self.dropout(last)))

    def sentiment(self, encoded: Tensor) -> Tensor:
        """E_S of each stream on its own Z: (..., n, d) -> (..., n, d/2)."""
        return torch.stack([part(encoded[..., i, :]) for i, part in enumerate(self.relevant.values())], dim=-2)

    def exchange(self, features: HrlfFeatures) -> Tensor:
        """Zhat_ab = D_r(Q_a, U_b) for all pairs at once, (B, n, n, d): a on axis 1, b on axis 2."""
        count = features.relevant.shape[1]
        relevant = features.relevant[:, :, None].expand(-1, -1, count, -1)
        specific = features.specific[:, None].expand(-1, count, -1, -1)
        decoded: Tensor = self.decoder(torch.cat([relevant, specific], dim=3))
        return decoded


class StreamEncoder(nn.Module):
    """Frames (B, T, dim) of one modality and their validity (B, T) -> Z (B, d)."""

    def __init__(self, dim: int, config: HrlfConfig) -> None:
        super().__init__()
        self.input_dropout = nn.Dropout(config.input_dropout)
        self.embed = nn.Conv1d(dim, config.d, 3, padding=1)
        self.layers = nn.ModuleList(AttentionLayer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.d)
        self.pooling = config.pooling

    def forward(self, frames: Tensor, valid: Tensor) -> Tensor:
        """Read whole samples."""
        extent, last = _extent(valid)
        there = self.input_dropout(frames * valid[..., None])
        hidden = self.embed(there.transpose(1, 2)).transpose(1, 2)
        if self.pooling == "max":
            hidden = torch.relu(hidden)
        hidden = hidden + positions(hidden.shape[1], hidden.shape[2], hidden.device)
        for layer in list(self.layers)[:-1]:
            hidden = layer(hidden, hidden, extent)
        if self.pooling == "max":
            answers: Tensor = self.layers[-1](hidden, hidden, extent)
            return answers.masked_fill(~extent[..., None], -torch.inf).amax(dim=1)
        question = hidden.gather(1, last[:, None, None].expand(-1, 1, hidden.shape[2]))
        answer: Tensor = self.norm(self.layers[-1](question, hidden, extent))
        return answer[:, 0]


class AttentionLayer(nn.Module):
    """A pre-norm Transformer layer in which some positions ask all positions."""

    def __init__(self, config: HrlfConfig) -> None:
        super().__init__()
        d = config.d
        self.heads = config.heads
        self.norm = nn.LayerNorm(d)
        self.query, self.key, self.value, self.project = (nn.Linear(d, d) for _ in range(4))
        self.forward_norm = nn.LayerNorm(d)
        self.widen = nn.Linear(d, 2 * d)
        self.narrow = nn.Linear(2 * d, d)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, asking: Tensor, hidden: Tensor, extent: Tensor) -> Tensor:
        """One layer.

        Args:
            asking: (B, Q, d), the positions of `hidden` that ask.
            hidden: (B, T, d).
            extent: (B, T) bool, the positions that are attended.

        Returns:
            (B, Q, d).
        """
        normed = self.norm(hidden)
        query = self._split(self.query(normed if asking is hidden else self.norm(asking)))
        key, value = self._split(self.key(normed)), self._split(self.value(hidden))
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=extent[:, None, None, :])
        asking = asking + self.dropout(self.project(attended.transpose(1, 2).flatten(2)))
        wide = torch.relu(self.widen(self.forward_norm(asking)))
        narrow: Tensor = self.dropout(self.narrow(wide))
        return asking + narrow

    def _split(self, values: Tensor) -> Tensor:
        """(B, T, d) -> (B, heads, T, d / heads)."""
        return values.view(*values.shape[:2], self.heads, -1).transpose(1, 2)


def positions(length: int, width: int, device: torch.device) -> Tensor:
    """Sinusoidal positions (Vaswani et al. 2017), (length, width)."""
    rates = torch.exp(torch.arange(0, width, 2, device=device) * (-math.log(10000.0) / width))
    angles = torch.arange(length, device=device)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :width]


def _extent(valid: Tensor) -> tuple[Tensor, Tensor]:
    """From the first to the last valid frame, (B, T) bool, and the last one's place, (B,); frame 0 if none is valid."""
    length = valid.shape[1]
    place = torch.arange(length, device=valid.device)
    last = torch.where(valid, place, 0).amax(dim=1)
    first = torch.where(valid, place, length).amin(dim=1).clamp(max=last)
    return (place >= first[:, None]) & (place <= last[:, None]), last


def _two_layers(into: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(into, into), nn.ReLU(), nn.Linear(into, out))
