"""ALMT, a teacher: Zhang et al., EMNLP 2023 (arXiv 2310.05804), weight for weight the authors' public code.

Tensors have the authors' names and shapes, so that their checkpoints load; what is computed is only what an answer
depends on, which changes nothing but rounding:

- *Embedding*: one layer, of which the 8 learned tokens alone survive. Queries, output projection and MLP are computed
  for those. They ask before they have seen a frame, so their queries are the same for every sample, and the keys' and
  values' weights move from the frames to the few queries: `q . (W_k x) = (W_k^T q) . x`, and what a head hears is
  `W_v` times the mean of x. No frame is projected at all.
- *Fusion*: rows of its query stream hear the hyper-modality and never one another, so the row of the answer is the
  only one computed. (The text's third scale therefore reaches an answer through the hyper-modality alone.)

What the reference leaves to its data loader, and what is done here:

- *Language* is precomputed features; the authors' BERT is not part of this network.
- *Lengths*: every stream has as many positions as `lengths` says; shorter samples are padded behind with zeros, longer
  ones lose their end. There are no masks: a frame that is not valid, and all of an absent modality, are zeros.
- *A modality that the data set lacks* keeps its embedding, so that the tensors stay the authors' in number: one
  position of one feature that is always zero.

The paper's ablations are fields of the config, and what it leaves open is decided here:

- *Without AHL*: text, audio and vision meet unguided, as the sum of their tokens (the text's last scale). Audio and
  vision alone would not do: the fusion hears the language through that stream only (see above), and the paper's own
  "w/o AHL" is far better on MOSI than anything without language.
- *Fewer scales*: a text encoder with fewer layers, and as many AHL layers as it has scales.
- *Concatenation for fusion*: the mean token of the text's last scale and of the hyper-modality, side by side, read by
  the regression layer.
- *Token length*: not 1. An attention over one key hears it whatever is asked, and language would reach no answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_msa.models.almt_layers import WIDTH, Stack, join_heads, split_heads
from edge_msa_runtime.modalities import MODALITIES

SCALES = 3
"""Of the text that guide the hyper-modality: the text encoder's input, then each of its two layers."""
FusionName = Literal["cross", "concatenation"]
FUSIONS: tuple[FusionName, ...] = get_args(FusionName)


@dataclass(frozen=True)
class AlmtConfig:
    """Sizes of an ALMT network; the defaults are the authors' for MOSI.

    `dims`: features a frame of each modality the data set has. `lengths`: positions of each. `fusion_depth`: layers of
    the fusion, 2 for MOSI, 4 for MOSEI and SIMS. `outputs`: numbers in an answer. `tokens`: that survive an embedding.
    `share_ahl`: whether the three scales go through one AHL layer rather than one each. `dropout`: behind attention and
    in the MLPs (the authors' is 0). `scales`: of the text, 1 to 3; `ahl`: whether they guide what is taken from audio
    and vision; `fusion`: what reads the hyper-modality. The last three are the paper's ablations.
    """

    dims: Mapping[str, int]
    lengths: Mapping[str, int]
    fusion_depth: int = 2
    outputs: int = 1
    tokens: int = 8
    share_ahl: bool = False
    dropout: float = 0.0
    scales: int = SCALES
    ahl: bool = True
    fusion: FusionName = "cross"

    def __post_init__(self) -> None:
        if not self.dims or set(self.dims) - set(MODALITIES):
            raise ValueError(f"dims must name some of {', '.join(MODALITIES)}, not {sorted(self.dims)}")
        if set(self.lengths) != set(self.dims):
            raise ValueError(f"lengths must name {sorted(self.dims)} like dims, not {sorted(self.lengths)}")
        if min(self.fusion_depth, self.outputs, self.tokens, *self.dims.values(), *self.lengths.values()) < 1:
            raise ValueError("every size must be at least 1")
        if not 1 <= self.scales <= SCALES:
            raise ValueError(f"scales is {self.scales}; the text has 1 to {SCALES}")
        if self.fusion not in FUSIONS:
            raise ValueError(f"fusion is {self.fusion!r}; it is one of: {', '.join(FUSIONS)}")


class Almt(nn.Module):
    """The whole network behind the language encoder; `load_state_dict` takes the authors' tensors."""

    def __init__(self, config: AlmtConfig) -> None:
        super().__init__()
        self.config = config
        if config.ahl:
            self.h_hyper = nn.Parameter(torch.ones(1, config.tokens, WIDTH))
        self.proj_l, self.proj_a, self.proj_v = (
            nn.Sequential(nn.Linear(config.dims.get(name, 1), WIDTH), Embedding(config.lengths.get(name, 1), config))
            for name in MODALITIES
        )
        self.l_encoder = TextEncoder(config)
        if config.ahl:
            self.h_hyper_layer = HyperModality(1 if config.share_ahl else config.scales)
        if config.fusion == "cross":
            self.fusion_layer = Fusion(config)
        width = WIDTH if config.fusion == "cross" else 2 * WIDTH
        self.regression_layer = nn.Sequential(nn.Linear(width, config.outputs))

    def forward(self, frames: Mapping[str, Tensor], valid: Mapping[str, Tensor]) -> Tensor:
        """Answers of whole samples.

        Args:
            frames: (B, T, dim) by modality, normalized; T may differ; a stream that is left out is missing.
            valid: (B, T) bool by modality, holes allowed.

        Returns:
            (B, outputs).
        """
        batch = len(next(iter(frames.values())))
        streams = zip(MODALITIES, (self.proj_l, self.proj_a, self.proj_v), strict=True)
        language, audio, vision = (proj(self._fitted(name, frames, valid)) for name, proj in streams)
        scales = self.l_encoder(language.expand(batch, -1, -1))
        hyper = self.hyper_modality(scales, audio, vision)
        fused = self.fusion_layer(hyper) if self.config.fusion == "cross" else side_by_side(scales[-1], hyper)
        outputs: Tensor = self.regression_layer(fused)
        return outputs

    def hyper_modality(self, scales: Sequence[Tensor], audio: Tensor, vision: Tensor) -> Tensor:
        """What is taken from audio and vision, by AHL or without; all (B, tokens, 128), or one sample for all."""
        if not self.config.ahl:
            return scales[-1] + audio + vision
        hyper: Tensor = self.h_hyper_layer(scales, audio, vision, self.h_hyper)
        return hyper

    def _fitted(self, name: str, frames: Mapping[str, Tensor], valid: Mapping[str, Tensor]) -> Tensor:
        """A stream at its number of positions, (B, length, dim); of a missing one, one sample stands for all."""
        length = self.config.lengths.get(name, 1)
        if name not in frames or name not in self.config.dims:
            return self.l_encoder.pos_embedding.new_zeros(1, length, self.config.dims.get(name, 1))
        there = (frames[name] * valid[name][..., None])[:, :length]
        return F.pad(there, (0, 0, 0, length - there.shape[1]))


class Embedding(nn.Module):
    """A modality's embedding: projected frames (B, T, 128) -> the surviving tokens (B, tokens, 128)."""

    def __init__(self, length: int, config: AlmtConfig) -> None:
        super().__init__()
        self.pos_embedding = nn.Parameter(torch.randn(1, length + config.tokens, WIDTH))
        self.extra_token = nn.Parameter(torch.zeros(1, config.tokens, WIDTH))
        self.encoder = Stack(1, config.dropout)

    def forward(self, frames: Tensor) -> Tensor:
        """Read all positions; `frames` has as many as the network."""
        tokens, sequence = self.sequence(frames)
        attention, mlp = self.encoder.pairs()[0]
        attended: Tensor = mlp(attention.ask_alike(tokens, sequence))
        return attended

    def sequence(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """The tokens before the layer (1, tokens, 128), and the whole sequence they begin (B, tokens + T, 128)."""
        count = self.extra_token.shape[1]
        tokens = self.extra_token + self.pos_embedding[:, :count]
        return tokens, torch.cat([tokens.expand(len(frames), -1, -1), frames + self.pos_embedding[:, count:]], dim=1)


class TextEncoder(nn.Module):
    """Language tokens (B, tokens, 128) -> their scales, three unless fewer are wanted, each (B, tokens, 128)."""

    def __init__(self, config: AlmtConfig) -> None:
        super().__init__()
        self.pos_embedding = nn.Parameter(torch.randn(1, config.tokens, WIDTH))
        self.encoder = Stack(config.scales - 1, config.dropout)

    def forward(self, tokens: Tensor) -> list[Tensor]:
        """The input with its positions, then what each layer makes of it."""
        scales = [tokens + self.pos_embedding]
        for attention, mlp in self.encoder.pairs():
            scales.append(mlp(attention(scales[-1], scales[-1])))
        return scales


class HyperModality(nn.Module):
    """AHL: the text's scales, one after another, choose what the hyper-modality takes from audio and vision."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.ModuleList([AhlLayer()]) for _ in range(layers))

    def forward(self, scales: Sequence[Tensor], audio: Tensor, vision: Tensor, hyper: Tensor) -> Tensor:
        """All (B, tokens, 128), or one sample that stands for all; so is the result."""
        layers = [cast("nn.ModuleList", layer)[0] for layer in self.layers]
        for index, scale in enumerate(scales):
            hyper = layers[min(index, len(layers) - 1)](scale, audio, vision, hyper)
        return hyper


class AhlLayer(nn.Module):
    """One scale of AHL; the residual is the normalized hyper-modality, as in the authors' code."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3, self.norm4 = (nn.LayerNorm(WIDTH) for _ in range(4))
        self.fn = AhlAttention()

    def forward(self, text: Tensor, audio: Tensor, vision: Tensor, hyper: Tensor) -> Tensor:
        """LN(hyper) + W_o(Att_a + Att_v)."""
        attended = self.fn(self.norm1(text), self.norm2(audio), self.norm3(vision))
        result: Tensor = self.norm4(hyper) + attended
        return result


class AhlAttention(nn.Module):
    """Text asks audio and vision with one query: 8 heads of 16."""

    def __init__(self) -> None:
        super().__init__()
        self.to_q, self.to_k_ta, self.to_k_tv, self.to_v_ta, self.to_v_tv = (
            nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(5)
        )
        self.to_out = nn.Sequential(nn.Linear(WIDTH, WIDTH))

    def forward(self, text: Tensor, audio: Tensor, vision: Tensor) -> Tensor:
        """All (B, tokens, 128)."""
        query = split_heads(self.to_q(text))
        attended = self._attended(query, self.to_k_ta(audio), self.to_v_ta(audio))
        attended = attended + self._attended(query, self.to_k_tv(vision), self.to_v_tv(vision))
        joined: Tensor = self.to_out(join_heads(attended))
        return joined

    def _attended(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """What the queries (B, heads, tokens, 16) hear in one stream, whose one sample may stand for all."""
        key, value = (split_heads(part).expand_as(query) for part in (key, value))
        return F.scaled_dot_product_attention(query, key, value)


class Fusion(nn.Module):
    """The hyper-modality (B, tokens, 128) -> the vector that is read, (B, 128): see the module's word on fusion."""

    def __init__(self, config: AlmtConfig) -> None:
        super().__init__()
        self.pos_embedding_s, self.pos_embedding_t = (
            nn.Parameter(torch.randn(1, config.tokens + 1, WIDTH)) for _ in range(2)
        )
        self.extra_token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.CrossTransformerEncoder = Stack(config.fusion_depth, config.dropout)

    def forward(self, hyper: Tensor) -> Tensor:
        """Read the row of the CLS token."""
        source = torch.cat([self.extra_token.expand(len(hyper), -1, -1), hyper], dim=1) + self.pos_embedding_s
        row = (self.extra_token + self.pos_embedding_t[:, :1]).expand(len(hyper), -1, -1)
        for attention, mlp in self.CrossTransformerEncoder.pairs():
            row = mlp(attention(row, source))
        return row[:, 0]


def side_by_side(text: Tensor, hyper: Tensor) -> Tensor:
    """Concatenation instead of the fusion: the mean tokens of two (B, tokens, 128) -> (B, 256)."""
    return torch.cat([text.mean(dim=1), hyper.mean(dim=1).expand(len(text), -1)], dim=1)
