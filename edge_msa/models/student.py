"""The edge student: causal, streaming, state explicit, an absent modality skipped.

Each modality has an encoder of causal dilated convolutions whose frames are pooled into a few tokens by an online
softmax; a small fusion, guided by language, reads whichever modalities' tokens there are. Everything recurrent is
carried frame by frame, so any chunking of the same frames gives the same tokens.

Masked frames never enter: callers drop them first (`compact`), and `valid` then says how many frames of the chunk
are real. That keeps convolutions dense and makes "a masked frame leaves all state unchanged" true by construction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from edge_msa_runtime.modalities import MODALITIES

# What the peak of scores starts from. Far below any score, and still a finite float16.
NO_PEAK = -1e4


@dataclass(frozen=True)
class StudentConfig:
    """Sizes of a student.

    `dims`: features a frame of each modality. `width`: channels C of every encoder. `blocks`: convolutions a modality,
    block i dilated by 2**i. `kernel`: their taps. `tokens`: pooled vectors M a modality. `hidden`: width of the fusion.
    `outputs`: numbers in a reading. `dropout`: on tokens, in training alone.
    """

    dims: Mapping[str, int]
    width: int = 32
    blocks: int = 3
    kernel: int = 3
    tokens: int = 4
    hidden: int = 64
    outputs: int = 1
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if not self.dims or set(self.dims) - set(MODALITIES):
            raise ValueError(f"dims must name some of {', '.join(MODALITIES)}, not {sorted(self.dims)}")


@dataclass(frozen=True)
class EncoderState:
    """What one encoder remembers of the frames so far, for a batch of B.

    `convs[i]`: inputs of block i that later frames still need, (B, C, (kernel - 1) * 2**i). `peak` (B, M, 1): the
    largest score yet. `mass` (B, M, 1): the sum of exp(score - peak). `tokens` (B, M, C): the weighted mean so far.
    """

    convs: tuple[Tensor, ...]
    peak: Tensor
    mass: Tensor
    tokens: Tensor

    def named(self) -> dict[str, Tensor]:
        """The tensors by the names that step graphs give them."""
        convs = {f"conv{index}": conv for index, conv in enumerate(self.convs)}
        return convs | {"peak": self.peak, "mass": self.mass, "tokens": self.tokens}

    @classmethod
    def from_named(cls, named: Mapping[str, Tensor]) -> EncoderState:
        """The state whose `named` this is."""
        convs = tuple(named[f"conv{index}"] for index in range(len(named) - 3))
        return cls(convs, named["peak"], named["mass"], named["tokens"])


class Encoder(nn.Module):
    """One modality's encoder: frames (B, T, d) and the state -> the next state, whose tokens are the result."""

    def __init__(self, dim: int, config: StudentConfig) -> None:
        super().__init__()
        width = config.width
        self.embed = nn.Conv1d(dim, width, 1)
        self.blocks = nn.ModuleList(
            nn.Conv1d(width, width, config.kernel, dilation=2**index) for index in range(config.blocks)
        )
        self.score = nn.Conv1d(width, config.tokens, 1)
        self.memories = tuple((config.kernel - 1) * 2**index for index in range(config.blocks))

    def initial(self, batch: int) -> EncoderState:
        """The state before the first frame."""
        weight = self.score.weight
        tokens, width = weight.shape[:2]
        return EncoderState(
            tuple(weight.new_zeros(batch, width, memory) for memory in self.memories),
            weight.new_full((batch, tokens, 1), NO_PEAK),
            weight.new_zeros(batch, tokens, 1),
            weight.new_zeros(batch, tokens, width),
        )

    def forward(self, frames: Tensor, valid: Tensor, state: EncoderState) -> EncoderState:
        """Read one chunk.

        Args:
            frames: (B, T, d), normalised, valid frames first.
            valid: (B, T) float, 1 for the frames that are real and 0 behind them.
            state: what `initial` or the chunk before gave.
        """
        count = valid.sum(dim=1, keepdim=True).to(torch.int64)
        features = torch.relu(self.embed(frames.transpose(1, 2)))
        convs = []
        for block, memory in zip(self.blocks, state.convs, strict=True):
            seen = torch.cat([memory, features], dim=2)
            convs.append(_last_valid(seen, count, memory.shape[2]))
            features = features + torch.relu(block(seen))
        return self._pool(features, valid[:, None, :], tuple(convs), state)

    def _pool(self, features: Tensor, valid: Tensor, convs: tuple[Tensor, ...], state: EncoderState) -> EncoderState:
        """Softmax-weighted mean over all frames so far (online softmax, Milakov and Gimelshein 2018)."""
        scores = self.score(features) * valid + state.peak * (1 - valid)
        peak = torch.maximum(state.peak, scores.amax(dim=2, keepdim=True))
        weights = torch.exp(scores - peak) * valid
        kept = state.mass * torch.exp(state.peak - peak)
        mass = kept + weights.sum(dim=2, keepdim=True)
        total = state.tokens * kept + torch.matmul(weights, features.transpose(1, 2))
        return EncoderState(convs, peak, mass, total / mass.clamp(min=1e-6))


class Fusion(nn.Module):
    """Tokens of the available modalities -> the reading, (B, outputs).

    Language guides what is taken from audio and vision, as in ALMT: its tokens ask, theirs answer. Without language a
    learned question takes its place. Each modality's contribution is added only where it is available.
    """

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        width, flat = config.width, config.tokens * config.width
        self.scale = width**-0.5
        self.contribute = nn.ModuleDict({name: nn.Linear(flat, config.hidden) for name in config.dims})
        guided = [name for name in config.dims if name != "language"]
        self.ask = nn.Linear(flat, width) if "language" in config.dims else None
        self.default_question = nn.Parameter(torch.randn(1, width) * self.scale)
        self.keys = nn.ModuleDict({name: nn.Linear(width, width, bias=False) for name in guided})
        self.answers = nn.ModuleDict({name: nn.Linear(width, config.hidden, bias=False) for name in guided})
        self.mix = nn.Linear(config.hidden, config.hidden)
        self.read = nn.Linear(config.hidden, config.outputs)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, tokens: Mapping[str, Tensor], available: Tensor) -> Tensor:
        """Read.

        Args:
            tokens: (B, M, C) by modality; a modality that is left out is absent for the whole batch.
            available: (B, 3) float 0/1, in the order language, audio, vision.
        """
        reading: Tensor = self.read(self.represent(tokens, available))
        return reading

    def represent(self, tokens: Mapping[str, Tensor], available: Tensor) -> Tensor:
        """The fused representation the reading is made from, (B, hidden)."""
        question = self._question(tokens, available)
        total: Tensor | None = None
        for name in self.contribute:
            if name not in tokens:
                continue
            own = self.dropout(tokens[name])
            part = self.contribute[name](own.flatten(1))
            if name in self.keys:
                part = part + self.answers[name](self._attend(name, own, question))
            part = part * _column(available, name)
            total = part if total is None else total + part
        if total is None:
            raise ValueError("a reading needs the tokens of at least one modality")
        hidden = torch.relu(total)
        return hidden + torch.relu(self.mix(hidden))

    def _question(self, tokens: Mapping[str, Tensor], available: Tensor) -> Tensor:
        if self.ask is None or "language" not in tokens:
            return self.default_question
        there = _column(available, "language")
        asked: Tensor = self.ask(tokens["language"].flatten(1))
        return asked * there + self.default_question * (1 - there)

    def _attend(self, name: str, tokens: Tensor, question: Tensor) -> Tensor:
        match = (self.keys[name](tokens) * question[:, None, :]).sum(dim=2, keepdim=True)
        return (torch.softmax(match * self.scale, dim=1) * tokens).sum(dim=1)


class Student(nn.Module):
    """Encoders and fusion together; what a device runs."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.config = config
        self.encoders = nn.ModuleDict({name: Encoder(dim, config) for name, dim in config.dims.items()})
        self.fusion = Fusion(config)

    def forward(self, frames: Mapping[str, Tensor], valid: Mapping[str, Tensor]) -> Tensor:
        """Reading of whole samples.

        Args:
            frames: (B, T, d) by modality, normalised; T may differ between modalities; a modality may be left out.
            valid: (B, T) bool by modality, holes allowed; a row without a valid frame lacks the modality.

        Returns:
            (B, outputs).
        """
        reading: Tensor = self.fusion(*self.encode(frames, valid))
        return reading

    def encode(self, frames: Mapping[str, Tensor], valid: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        """Tokens by modality and their availability (B, 3): what `Fusion` reads."""
        tokens: dict[str, Tensor] = {}
        columns: list[Tensor] = []
        batch = next(iter(frames.values()))
        for name in MODALITIES:
            if name not in frames:
                columns.append(batch.new_zeros(len(batch)))
                continue
            packed, prefix = compact(frames[name], valid[name])
            encoder = cast("Encoder", self.encoders[name])
            tokens[name] = encoder(packed, prefix, encoder.initial(len(packed))).tokens
            columns.append(prefix[:, 0])
        return tokens, torch.stack(columns, dim=1)


def untrained_student(config: StudentConfig, seed: int) -> Student:
    """A student with random weights, in evaluation mode: for measurements that do not ask what was learned."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Student(config).eval()


def compact(frames: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Move the valid frames of each sample to the front, order kept; the rest becomes zero.

    Args:
        frames: (B, T, d).
        valid: (B, T) bool.

    Returns:
        frames (B, T, d), and the mask (B, T) as float with its ones first.
    """
    order = torch.argsort((~valid).to(torch.uint8), dim=1, stable=True)
    prefix = valid.gather(1, order).to(frames.dtype)
    return frames.gather(1, order[:, :, None].expand_as(frames)) * prefix[:, :, None], prefix


def _last_valid(seen: Tensor, count: Tensor, memory: int) -> Tensor:
    """The `memory` frames of `seen` (B, C, memory + T) that end with the last of `count` (B, 1) valid ones."""
    index = count + torch.arange(memory, device=seen.device)
    if len(seen) == 1:
        # Gather along one axis: the only form that every engine of the targets reads well.
        return torch.index_select(seen, 2, index[0])
    return seen.gather(2, index[:, None, :].expand(-1, seen.shape[1], -1))


def _column(available: Tensor, name: str) -> Tensor:
    position = MODALITIES.index(name)
    return available[:, position : position + 1]
