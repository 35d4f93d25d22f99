"""The teacher ALMT (Zhang et al., EMNLP 2023, arXiv 2310.05804), with the same parameters as the authors' code.

Parameters have the authors' names and shapes, so `load_state_dict` accepts their checkpoints. The network computes only
what affects the prediction; the results differ from the authors' code by rounding only:

- *Embedding*: The embedding layer outputs 8 learned tokens and discards the frames. Queries, output projection and MLP
  are computed for the tokens only. The tokens do not depend on the frames, so all samples share their queries, and the
  weights of keys and values are applied to the few queries instead of the frames
  (`MultiHeadAttention.forward_shared_queries`). No frame is ever projected to keys or values.
- *Fusion*: The positions of the query sequence attend to the hyper-modality and not to each other, so only the position
  of the class token is computed. Consequently the third language scale affects the prediction through the
  hyper-modality only.

The authors' data loader handles some things that this network handles itself:

- *Language* is a sequence of precomputed features. The authors' BERT is not part of this network.
- *Length*: Every modality has a fixed number of positions, `lengths`. Shorter samples are padded with zeros at the end,
  longer samples are truncated. There are no masks: frames that are not valid, and all frames of an absent modality, are
  zeros.
- *A modality that the dataset lacks* still has an embedding, so that the network has all of the authors' tensors. Its
  input is one position with one feature that is always zero.

The ablations of the paper are fields of `AlmtConfig`. The paper leaves some details open. This implementation makes the
following choices:

- *Without AHL*: The features of language (its last scale), audio and vision are concatenated, as in the paper's
  "w/o AHL" (34.40 Acc-7 and .952 MAE on MOSI). A linear layer maps the 384 features of each token to the width of the
  hyper-modality, which the fusion expects. The paper does not state how it restores the width.
- *Fewer scales*: The language encoder has fewer layers, and there are as many AHL layers as scales.
- *Concatenation for fusion*: The mean tokens of the last language scale and of the hyper-modality are concatenated.
- *Token length* of 1 is not offered: attention over a single key ignores the query, so language would not affect the
  prediction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_msa.models.almt_layers import WIDTH, TransformerStack, join_heads, split_heads
from edge_msa_runtime.modalities import MODALITIES

SCALES = 3
"""Number of language scales that guide the hyper-modality: the language tokens and the outputs of two layers."""
FusionName = Literal["cross", "concatenation"]
FUSIONS: tuple[FusionName, ...] = get_args(FusionName)


@dataclass(frozen=True)
class AlmtConfig:
    """Sizes of an ALMT network. The defaults are the authors' for MOSI."""

    dims: Mapping[str, int]
    """Features per frame of each modality of the dataset."""
    lengths: Mapping[str, int]
    """Number of positions of each modality."""
    fusion_depth: int = 2
    """Number of fusion layers: 2 for MOSI, 4 for MOSEI and SIMS."""
    outputs: int = 1
    """Number of values in a prediction."""
    tokens: int = 8
    """Number of tokens that a modality is embedded into."""
    share_ahl: bool = False
    """Whether all scales share one AHL layer."""
    dropout: float = 0.0
    """Dropout rate after attention and in the MLPs; the authors use 0."""
    scales: int = SCALES
    """Number of language scales, 1 to 3 (an ablation of the paper)."""
    ahl: bool = True
    """Whether language guides what is taken from audio and vision (an ablation of the paper)."""
    fusion: FusionName = "cross"
    """How language and the hyper-modality are fused (an ablation of the paper)."""

    def __post_init__(self) -> None:
        if not self.dims or set(self.dims) - set(MODALITIES):
            raise ValueError(f"dims must name some of {', '.join(MODALITIES)}, got {sorted(self.dims)}.")
        if set(self.lengths) != set(self.dims):
            raise ValueError(f"lengths must name {sorted(self.dims)} like dims, got {sorted(self.lengths)}.")
        if min(self.fusion_depth, self.outputs, self.tokens, *self.dims.values(), *self.lengths.values()) < 1:
            raise ValueError("Every size must be at least 1.")
        if not 1 <= self.scales <= SCALES:
            raise ValueError(f"scales must be from 1 to {SCALES}, got {self.scales}.")
        if self.fusion not in FUSIONS:
            raise ValueError(f"fusion must be one of {', '.join(FUSIONS)}, got {self.fusion!r}.")


class Almt(nn.Module):
    """The ALMT network without the language model, whose features it takes as input."""

    def __init__(self, config: AlmtConfig) -> None:
        super().__init__()
        self.config = config
        if config.ahl:
            self.h_hyper = nn.Parameter(torch.ones(1, config.tokens, WIDTH))
        self.proj_l, self.proj_a, self.proj_v = (
            nn.Sequential(
                nn.Linear(config.dims.get(name, 1), WIDTH), ModalityEmbedding(config.lengths.get(name, 1), config)
            )
            for name in MODALITIES
        )
        self.l_encoder = LanguageScales(config)
        if config.ahl:
            self.h_hyper_layer = HyperModality(1 if config.share_ahl else config.scales)
        else:
            self.concatenation = nn.Linear(len(MODALITIES) * WIDTH, WIDTH)
        if config.fusion == "cross":
            self.fusion_layer = AlmtFusion(config)
        width = WIDTH if config.fusion == "cross" else 2 * WIDTH
        self.regression_layer = nn.Sequential(nn.Linear(width, config.outputs))

    def forward(self, frames: Mapping[str, Tensor], valid: Mapping[str, Tensor]) -> Tensor:
        """Return the predictions of whole samples, (B, outputs).

        Args:
            frames: (B, T, dim) by modality, normalized. T may differ between modalities. An omitted modality is absent.
            valid: (B, T) bool by modality; gaps are allowed.
        """
        batch = len(next(iter(frames.values())))
        embeddings = zip(MODALITIES, (self.proj_l, self.proj_a, self.proj_v), strict=True)
        language, audio, vision = (embed(self._fixed_length(name, frames, valid)) for name, embed in embeddings)
        scales = self.l_encoder(language.expand(batch, -1, -1))
        hyper = self.hyper_modality(scales, audio, vision)
        fused = self.fusion_layer(hyper) if self.config.fusion == "cross" else concatenate_means(scales[-1], hyper)
        outputs: Tensor = self.regression_layer(fused)
        return outputs

    def hyper_modality(self, scales: Sequence[Tensor], audio: Tensor, vision: Tensor) -> Tensor:
        """Return the hyper-modality, (B, tokens, 128).

        Args:
            scales: Language scales, (B, tokens, 128) each.
            audio: (B, tokens, 128), or (1, tokens, 128) if all samples lack it.
            vision: Likewise.
        """
        if not self.config.ahl:
            parts = [part.expand_as(scales[-1]) for part in (scales[-1], audio, vision)]
            combined: Tensor = self.concatenation(torch.cat(parts, dim=2))
            return combined
        hyper: Tensor = self.h_hyper_layer(scales, audio, vision, self.h_hyper)
        return hyper

    def _fixed_length(self, name: str, frames: Mapping[str, Tensor], valid: Mapping[str, Tensor]) -> Tensor:
        """Return a modality padded or truncated to its length, (B, length, dim); (1, length, dim) if it is absent."""
        length = self.config.lengths.get(name, 1)
        if name not in frames or name not in self.config.dims:
            return self.l_encoder.pos_embedding.new_zeros(1, length, self.config.dims.get(name, 1))
        values = (frames[name] * valid[name][..., None])[:, :length]
        return F.pad(values, (0, 0, 0, length - values.shape[1]))


class ModalityEmbedding(nn.Module):
    """The embedding of a modality: projected frames (B, T, 128) to tokens (B, tokens, 128)."""

    def __init__(self, length: int, config: AlmtConfig) -> None:
        super().__init__()
        self.pos_embedding = nn.Parameter(torch.randn(1, length + config.tokens, WIDTH))
        self.extra_token = nn.Parameter(torch.zeros(1, config.tokens, WIDTH))
        self.encoder = TransformerStack(1, config.dropout)

    def forward(self, frames: Tensor) -> Tensor:
        """Embed `frames`, which has the modality's fixed length."""
        tokens, sequence = self.sequence(frames)
        attention, mlp = self.encoder.blocks()[0]
        embedded: Tensor = mlp(attention.forward_shared_queries(tokens, sequence))
        return embedded

    def sequence(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Return the input tokens (1, tokens, 128), and the sequence that begins with them, (B, tokens + T, 128)."""
        count = self.extra_token.shape[1]
        tokens = self.extra_token + self.pos_embedding[:, :count]
        return tokens, torch.cat([tokens.expand(len(frames), -1, -1), frames + self.pos_embedding[:, count:]], dim=1)


class LanguageScales(nn.Module):
    """The Transformer that turns language tokens (B, tokens, 128) into scales, each (B, tokens, 128)."""

    def __init__(self, config: AlmtConfig) -> None:
        super().__init__()
        self.pos_embedding = nn.Parameter(torch.randn(1, config.tokens, WIDTH))
        self.encoder = TransformerStack(config.scales - 1, config.dropout)

    def forward(self, tokens: Tensor) -> list[Tensor]:
        """Return the tokens with positions, then the output of each layer."""
        scales = [tokens + self.pos_embedding]
        for attention, mlp in self.encoder.blocks():
            scales.append(mlp(attention(scales[-1], scales[-1])))
        return scales


class HyperModality(nn.Module):
    """AHL: guided by one language scale after the other, the hyper-modality attends to audio and vision."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.ModuleList([AhlLayer()]) for _ in range(layers))

    def forward(self, scales: Sequence[Tensor], audio: Tensor, vision: Tensor, hyper: Tensor) -> Tensor:
        """Return the updated hyper-modality. All tensors are (B, tokens, 128), or (1, tokens, 128) if shared."""
        layers = [cast("nn.ModuleList", layer)[0] for layer in self.layers]
        for index, scale in enumerate(scales):
            hyper = layers[min(index, len(layers) - 1)](scale, audio, vision, hyper)
        return hyper


class AhlLayer(nn.Module):
    """One layer of AHL. The residual is the normalized hyper-modality, as in the authors' code."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3, self.norm4 = (nn.LayerNorm(WIDTH) for _ in range(4))
        self.fn = AhlAttention()

    def forward(self, text: Tensor, audio: Tensor, vision: Tensor, hyper: Tensor) -> Tensor:
        """Return LN(hyper) + W_o(Att_a + Att_v)."""
        attended = self.fn(self.norm1(text), self.norm2(audio), self.norm3(vision))
        result: Tensor = self.norm4(hyper) + attended
        return result


class AhlAttention(nn.Module):
    """Attention from language to audio and to vision, which share one query: 8 heads of width 16."""

    def __init__(self) -> None:
        super().__init__()
        self.to_q, self.to_k_ta, self.to_k_tv, self.to_v_ta, self.to_v_tv = (
            nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(5)
        )
        self.to_out = nn.Sequential(nn.Linear(WIDTH, WIDTH))

    def forward(self, text: Tensor, audio: Tensor, vision: Tensor) -> Tensor:
        """Return the projected sum of both attention outputs, (B, tokens, 128). The arguments have the same shape."""
        query = split_heads(self.to_q(text))
        attended = self._attend(query, self.to_k_ta(audio), self.to_v_ta(audio))
        attended = attended + self._attend(query, self.to_k_tv(vision), self.to_v_tv(vision))
        output: Tensor = self.to_out(join_heads(attended))
        return output

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attend from `query` (B, heads, tokens, 16) to one modality, whose batch size may be 1 for all samples."""
        key, value = (split_heads(part).expand_as(query) for part in (key, value))
        return F.scaled_dot_product_attention(query, key, value)


class AlmtFusion(nn.Module):
    """The cross-modality fusion: the hyper-modality (B, tokens, 128) to the fused vector (B, 128)."""

    def __init__(self, config: AlmtConfig) -> None:
        super().__init__()
        self.pos_embedding_s, self.pos_embedding_t = (
            nn.Parameter(torch.randn(1, config.tokens + 1, WIDTH)) for _ in range(2)
        )
        self.extra_token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.CrossTransformerEncoder = TransformerStack(config.fusion_depth, config.dropout)

    def forward(self, hyper: Tensor) -> Tensor:
        """Return the output at the position of the class token, the only one that is computed."""
        source = torch.cat([self.extra_token.expand(len(hyper), -1, -1), hyper], dim=1) + self.pos_embedding_s
        row = (self.extra_token + self.pos_embedding_t[:, :1]).expand(len(hyper), -1, -1)
        for attention, mlp in self.CrossTransformerEncoder.blocks():
            row = mlp(attention(row, source))
        return row[:, 0]


def concatenate_means(text: Tensor, hyper: Tensor) -> Tensor:
    """Return the concatenated mean tokens of two (B, tokens, 128) tensors, (B, 256): the ablation of the fusion."""
    return torch.cat([text.mean(dim=1), hyper.mean(dim=1).expand(len(text), -1)], dim=1)
