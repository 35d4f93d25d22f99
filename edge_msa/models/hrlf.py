"""The teacher HRLF (Li et al., NeurIPS 2024, arXiv 2411.02793), reimplemented from the paper; there is no public code.

The paper leaves some details open. This implementation makes the following choices:

- *Transformer*: Pre-norm layers, which train at the paper's learning rate without a warm-up, with ReLU, a feed-forward
  width of 2d and sinusoidal positions. Queries and keys are normalized, values are not: a layer norm divides a frame by
  its own magnitude, so a mean over frames would depend on the other contents of each frame, which costs accuracy on the
  synthetic data. The number of layers and the dropout rate are recipe fields. Only the last element is used, so the
  last layer computes the query of that position only, which gives the same result in a fraction of the time.
- *Z* is the last element, as published (`pooling="last"`). The alternative `pooling="max"` is an addition of this
  project for small corpora: frames pass through a ReLU after the convolution, all positions are queries, and Z is the
  maximum of each feature over frames. On the 1,284 training utterances of CMU-MOSI, a single query position overfits.
- *Last element* means the last valid frame. Frames before the first and after the last valid frame are padding and are
  not attended. Missing frames in between are zero vectors that take part, as in the paper. A modality without a valid
  frame is a single zero vector, so its Z is a learned constant and does not depend on the length.
- *H in R^{3d}* implies that Q and U have width d/2. With n modalities (a dataset may lack one) H has width n*d, and the
  fusion layers have the widths n*d -> 2d -> d -> 2d -> n*d; n = 3 is the paper's network.
- *Multi-scale features*: "concatenated" and "E1 in R^{3d}, E2 in R^{2d}" contradict each other. Here they are
  concatenated, with widths 6d, 4d and d: the networks that take them as input accept any width, and a sum would lose
  information.
- *Classifier*: One linear layer on Htilde.
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
    """Sizes of an HRLF network. The defaults are the paper's where it states them."""

    dims: Mapping[str, int]
    """Features per frame of each modality."""
    d: int = 40
    """Width of Z; it must be even and a multiple of `heads`."""
    heads: int = 10
    """Number of attention heads."""
    layers: int = 2
    """Number of Transformer layers per modality."""
    dropout: float = 0.1
    """Dropout rate of the attention output, of the feed-forward layers, and before the classifier."""
    outputs: int = 1
    """Number of values in a prediction."""
    input_dropout: float = 0.0
    """Dropout rate of the input features."""
    pooling: Pooling = "last"
    """How frames become Z: `last` or `max`."""

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise ValueError(f"pooling must be one of {', '.join(POOLINGS)}, got {self.pooling!r}.")
        if not self.dims or set(self.dims) - set(MODALITIES):
            raise ValueError(f"dims must name some of {', '.join(MODALITIES)}, got {sorted(self.dims)}.")
        if self.d % self.heads or self.d % 2 or self.layers < 1:
            raise ValueError(
                "d must be even and a multiple of heads, and layers at least 1, "
                f"got d = {self.d}, heads = {self.heads} and layers = {self.layers}."
            )


@dataclass(frozen=True)
class HrlfFeatures:
    """All features of one forward pass that a loss uses, for B samples and n modalities."""

    encoded: Tensor
    """Z, (B, n, d)."""
    relevant: Tensor
    """Q, the sentiment-relevant part, (B, n, d/2)."""
    specific: Tensor
    """U, the modality-specific part, (B, n, d/2)."""
    available: Tensor
    """Modalities with a valid frame, (B, n) bool."""
    scales: tuple[Tensor, Tensor, Tensor]
    """E1 (B, 2nd), E2 (B, 4d) and E3 (B, d)."""
    outputs: Tensor
    """Predictions, (B, outputs)."""


class Hrlf(nn.Module):
    """The network that both HRLF's teacher on complete samples and its robust student under MSM use."""

    def __init__(self, config: HrlfConfig) -> None:
        super().__init__()
        self.config = config
        d, count = config.d, len(config.dims)
        self.encoders = nn.ModuleDict({name: HrlfEncoder(dim, config) for name, dim in config.dims.items()})
        self.relevant = nn.ModuleDict({name: _two_layers(d, d // 2) for name in config.dims})
        self.specific = nn.ModuleDict({name: _two_layers(d, d // 2) for name in config.dims})
        self.decoder = _two_layers(d, d)
        widths = (count * d, 2 * d, d, 2 * d, count * d)
        self.fusion = nn.ModuleList(nn.Linear(into, out) for into, out in pairwise(widths))
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(count * d, config.outputs)

    def forward(self, frames: Mapping[str, Tensor], valid: Mapping[str, Tensor]) -> Tensor:
        """Return the predictions of whole samples, (B, outputs); the arguments are those of `encode`."""
        return self.features(frames, valid).outputs

    def features(self, frames: Mapping[str, Tensor], valid: Mapping[str, Tensor]) -> HrlfFeatures:
        """Return all features of one forward pass; the arguments are those of `encode`."""
        return self.fuse(*self.encode(frames, valid))

    def encode(self, frames: Mapping[str, Tensor], valid: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return Z of every modality, (B, n, d), and which modalities have a valid frame, (B, n) bool.

        Args:
            frames: (B, T, dim) by modality, normalized. T may differ between modalities. An omitted modality is absent.
            valid: (B, T) bool by modality; gaps are allowed.
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
        """Return all features computed from Z, `encoded` (B, n, d), and `available` (B, n) bool."""
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
        """Apply each modality's E_S to its own Z: (..., n, d) to (..., n, d/2)."""
        return torch.stack([part(encoded[..., i, :]) for i, part in enumerate(self.relevant.values())], dim=-2)

    def exchange(self, features: HrlfFeatures) -> Tensor:
        """Return Zhat_ab = D_r(Q_a, U_b) of all pairs, (B, n, n, d), with a on axis 1 and b on axis 2."""
        count = features.relevant.shape[1]
        relevant = features.relevant[:, :, None].expand(-1, -1, count, -1)
        specific = features.specific[:, None].expand(-1, count, -1, -1)
        decoded: Tensor = self.decoder(torch.cat([relevant, specific], dim=3))
        return decoded


class HrlfEncoder(nn.Module):
    """The encoder of one modality: frames (B, T, dim) and their validity (B, T) to Z (B, d)."""

    def __init__(self, dim: int, config: HrlfConfig) -> None:
        super().__init__()
        self.input_dropout = nn.Dropout(config.input_dropout)
        self.embed = nn.Conv1d(dim, config.d, 3, padding=1)
        self.layers = nn.ModuleList(AttentionLayer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.d)
        self.pooling = config.pooling

    def forward(self, frames: Tensor, valid: Tensor) -> Tensor:
        """Encode whole samples."""
        extent, last = _extent(valid)
        inputs = self.input_dropout(frames * valid[..., None])
        hidden = self.embed(inputs.transpose(1, 2)).transpose(1, 2)
        if self.pooling == "max":
            hidden = torch.relu(hidden)
        hidden = hidden + positions(hidden.shape[1], hidden.shape[2], hidden.device)
        for layer in list(self.layers)[:-1]:
            hidden = layer(hidden, hidden, extent)
        if self.pooling == "max":
            outputs: Tensor = self.layers[-1](hidden, hidden, extent)
            return outputs.masked_fill(~extent[..., None], -torch.inf).amax(dim=1)
        query = hidden.gather(1, last[:, None, None].expand(-1, 1, hidden.shape[2]))
        output: Tensor = self.norm(self.layers[-1](query, hidden, extent))
        return output[:, 0]


class AttentionLayer(nn.Module):
    """A pre-norm Transformer layer in which a subset of the positions attends to all positions."""

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

    def forward(self, queries: Tensor, hidden: Tensor, extent: Tensor) -> Tensor:
        """Return the output at the query positions, (B, Q, d).

        Args:
            queries: (B, Q, d), some positions of `hidden`.
            hidden: (B, T, d).
            extent: (B, T) bool, the positions that are attended.
        """
        normed = self.norm(hidden)
        query = self._split(self.query(normed if queries is hidden else self.norm(queries)))
        key, value = self._split(self.key(normed)), self._split(self.value(hidden))
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=extent[:, None, None, :])
        queries = queries + self.dropout(self.project(attended.transpose(1, 2).flatten(2)))
        wide = torch.relu(self.widen(self.forward_norm(queries)))
        narrow: Tensor = self.dropout(self.narrow(wide))
        return queries + narrow

    def _split(self, values: Tensor) -> Tensor:
        """Reshape (B, T, d) to (B, heads, T, d / heads)."""
        return values.view(*values.shape[:2], self.heads, -1).transpose(1, 2)


def positions(length: int, width: int, device: torch.device) -> Tensor:
    """Return sinusoidal positions (Vaswani et al. 2017), (length, width)."""
    rates = torch.exp(torch.arange(0, width, 2, device=device) * (-math.log(10000.0) / width))
    angles = torch.arange(length, device=device)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :width]


def _extent(valid: Tensor) -> tuple[Tensor, Tensor]:
    """Return the range from the first to the last valid frame, (B, T) bool, and the last one's index, (B,).

    Without a valid frame the range is frame 0.
    """
    length = valid.shape[1]
    index = torch.arange(length, device=valid.device)
    last = torch.where(valid, index, 0).amax(dim=1)
    first = torch.where(valid, index, length).amin(dim=1).clamp(max=last)
    return (index >= first[:, None]) & (index <= last[:, None]), last


def _two_layers(into: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(into, into), nn.ReLU(), nn.Linear(into, out))
