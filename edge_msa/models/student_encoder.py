"""The student's encoder of one modality: causal, its state explicit, any chunking of the same frames alike.

Frames may be stacked, `stride` at a time, into one row; rows go through causal dilated convolutions and, if wanted, a
GRU; an online softmax pools them into a few tokens. All of that is carried frame by frame.

Masked frames never enter: callers drop them first (`compact`), and `valid` then says how many frames of the chunk
are real. That keeps convolutions dense and makes "a masked frame leaves all state unchanged" true by construction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal

import torch
from torch import Tensor, nn

Recurrence = Literal["none", "gru"]

# What the peak of scores starts from. Far below any score, and still a finite float16.
NO_PEAK = -1e4
# What a frame that is not there adds to its score: far below that, so that it weighs exactly nothing.
_UNATTENDED = 2e4


@dataclass(frozen=True)
class EncoderConfig:
    """Sizes of one encoder.

    `width`: channels C. `blocks`: convolutions, block i dilated by 2**i. `kernel`: their taps. `stride`: frames that
    are stacked into one row before them. `recurrence`: `gru` for one behind the convolutions.
    """

    width: int = 32
    blocks: int = 3
    kernel: int = 3
    stride: int = 1
    recurrence: Recurrence = "none"


@dataclass(frozen=True)
class EncoderState:
    """What one encoder remembers of the frames so far, for a batch of B.

    `convs[i]`: inputs of block i that later rows still need, (B, C, (kernel - 1) * 2**i). `peak` (B, M, 1): the
    largest score yet. `mass` (B, M, 1): the sum of exp(score - peak). `tokens` (B, M, C): the weighted mean so far.
    `hidden` (B, 1, C): the GRU's, if there is one. With a stride s: `pending` (B, s - 1, d), the last frames, of which
    the last `phase` (B, 1) are in no row yet.
    """

    convs: tuple[Tensor, ...]
    peak: Tensor
    mass: Tensor
    tokens: Tensor
    hidden: Tensor | None = None
    pending: Tensor | None = None
    phase: Tensor | None = None

    def named(self) -> dict[str, Tensor]:
        """The tensors by the names that step graphs give them."""
        convs = {f"conv{index}": conv for index, conv in enumerate(self.convs)}
        rest = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "convs"}
        return convs | {name: value for name, value in rest.items() if value is not None}

    @classmethod
    def from_named(cls, named: Mapping[str, Tensor]) -> EncoderState:
        """The state whose `named` this is."""
        count = sum(name.startswith("conv") for name in named)
        rest = {name: value for name, value in named.items() if not name.startswith("conv")}
        return cls(tuple(named[f"conv{index}"] for index in range(count)), **rest)


class Encoder(nn.Module):
    """One modality's encoder: frames (B, T, d) and the state -> the next state, whose tokens are the result."""

    def __init__(self, dim: int, config: EncoderConfig, tokens: int) -> None:
        super().__init__()
        self.dim, self.config = dim, config
        width = config.width
        self.embed = nn.Conv1d(dim * config.stride, width, 1)
        self.blocks = nn.ModuleList(
            nn.Conv1d(width, width, config.kernel, dilation=2**index) for index in range(config.blocks)
        )
        self.gru = nn.GRU(width, width, batch_first=True) if config.recurrence == "gru" else None
        self.score = nn.Conv1d(width, tokens, 1)
        self.memories = tuple((config.kernel - 1) * 2**index for index in range(config.blocks))

    def initial(self, batch: int) -> EncoderState:
        """The state before the first frame.

        With a stride the first frame completes a row at once, behind frames of zeros: no sample is too short to read.
        """
        weight = self.score.weight
        tokens, width = weight.shape[:2]
        before = self.config.stride - 1
        return EncoderState(
            tuple(weight.new_zeros(batch, width, memory) for memory in self.memories),
            weight.new_full((batch, tokens, 1), NO_PEAK),
            weight.new_zeros(batch, tokens, 1),
            weight.new_zeros(batch, tokens, width),
            weight.new_zeros(batch, 1, width) if self.gru is not None else None,
            weight.new_zeros(batch, before, self.dim) if before else None,
            weight.new_full((batch, 1), before) if before else None,
        )

    def forward(self, frames: Tensor, valid: Tensor, state: EncoderState) -> EncoderState:
        """Read one chunk.

        Args:
            frames: (B, T, d), normalized, valid frames first.
            valid: (B, T) float, 1 for the frames that are real and 0 behind them.
            state: what `initial` or the chunk before gave.
        """
        count = valid.sum(dim=1, keepdim=True)
        pending, phase = state.pending, state.phase
        if pending is not None and phase is not None:
            frames, valid, count, pending, phase = self._stacked(frames, count, pending, phase)
        whole = count.to(torch.int64)
        features, convs = self._convolved(frames, whole, state.convs)
        hidden = state.hidden
        if hidden is not None:
            features, hidden = self._recurred(features, whole, hidden)
        peak, mass, tokens = self._pooled(features, valid, state)
        return EncoderState(convs, peak, mass, tokens, hidden, pending, phase)

    def whole(self, frames: Tensor, valid: Tensor) -> Tensor:
        """Tokens (B, M, C) of whole samples: those that `forward` leaves from `initial` on, in fewer operations.

        A sample without a valid frame has tokens that mean nothing.
        """
        start = self.initial(len(frames))
        count = valid.sum(dim=1, keepdim=True)
        if start.pending is not None and start.phase is not None:
            stride = self.config.stride
            length = frames.shape[1] + -frames.shape[1] % stride
            seen = torch.cat([start.pending, frames], dim=1)[:, :length]
            frames = seen.reshape(len(frames), length // stride, -1)
            count = _quotient(start.phase + count, stride)
            valid = _ready(count, frames.shape[1])
        features, _ = self._convolved(frames, count.to(torch.int64), start.convs)
        if start.hidden is not None:
            features, _ = self._recurred(features, count.to(torch.int64), start.hidden)
        weights = torch.softmax(self._scores(features, valid), dim=2)
        return torch.matmul(weights, features.transpose(1, 2))

    def _stacked(
        self, frames: Tensor, count: Tensor, pending: Tensor, phase: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Rows of `stride` frames each, their mask and how many they are, and what waits for the next chunk."""
        stride = self.config.stride
        room = frames.new_zeros(len(frames), -frames.shape[1] % stride, frames.shape[2])
        seen = torch.cat([pending, frames, room], dim=1)
        waiting, real = phase.to(torch.int64), count.to(torch.int64)
        length = seen.shape[1] - stride + 1
        rows = picked(seen, 1, stride - 1 - waiting, length).reshape(len(frames), length // stride, -1)
        total = phase + count
        complete = _quotient(total, stride)
        valid = _ready(complete, rows.shape[1])
        return rows, valid, complete, picked(seen, 1, real, stride - 1), total - complete * stride

    def _convolved(
        self, rows: Tensor, count: Tensor, memories: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        features = torch.relu(self.embed(rows.transpose(1, 2)))
        convs = []
        for block, memory in zip(self.blocks, memories, strict=True):
            seen = torch.cat([memory, features], dim=2)
            convs.append(picked(seen, 2, count, memory.shape[2]))
            features = features + torch.relu(block(seen))
        return features, tuple(convs)

    def _recurred(self, features: Tensor, count: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        assert self.gru is not None  # noqa: S101 - a state has `hidden` where there is one
        made, _ = self.gru(features.transpose(1, 2), hidden.transpose(0, 1).contiguous())
        last = picked(torch.cat([hidden, made], dim=1), 1, count, 1)
        return features + made.transpose(1, 2), last

    def _scores(self, features: Tensor, valid: Tensor) -> Tensor:
        scores: Tensor = self.score(features)
        return scores + ((valid - 1) * _UNATTENDED)[:, None, :]

    def _pooled(self, features: Tensor, valid: Tensor, state: EncoderState) -> tuple[Tensor, Tensor, Tensor]:
        """Softmax-weighted mean over all frames so far (online softmax, Milakov and Gimelshein 2018)."""
        scores = self._scores(features, valid)
        peak = torch.maximum(state.peak, scores.amax(dim=2, keepdim=True))
        weights = torch.exp(scores - peak)
        kept = state.mass * torch.exp(state.peak - peak)
        mass = kept + weights.sum(dim=2, keepdim=True)
        total = state.tokens * kept + torch.matmul(weights, features.transpose(1, 2))
        return peak, mass, total / mass.clamp(min=1e-6)


def compact(frames: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Move the valid frames of each sample to the text encoder, order kept; the rest becomes zero.

    Args:
        frames: (B, T, d).
        valid: (B, T) bool.

    Returns:
        frames (B, T, d), and the mask (B, T) as float with its ones first.
    """
    order = torch.argsort((~valid).to(torch.uint8), dim=1, stable=True)
    prefix = valid.gather(1, order).to(frames.dtype)
    return frames.gather(1, order[:, :, None].expand_as(frames)) * prefix[:, :, None], prefix


def rows_of_frames(length: int, stride: int) -> Tensor:
    """The row that each of `length` compacted frames of a whole sample lands in, (length,) int64."""
    return (torch.arange(length) + stride - 1) // stride


def _quotient(total: Tensor, stride: int) -> Tensor:
    """`total` // `stride` as float; through an integer, for no target's backend would be asked for a Floor."""
    return (total / stride).to(torch.int64).to(total.dtype)


def _ready(complete: Tensor, rows: int) -> Tensor:
    """The mask (B, rows) with ones for the first `complete` (B, 1) rows."""
    return (complete - torch.arange(rows, device=complete.device)).clamp(0, 1)


def picked(seen: Tensor, axis: int, start: Tensor, length: int) -> Tensor:
    """`length` neighbors of each sample along an axis, from `start` (B, 1) on."""
    index = start + torch.arange(length, device=seen.device)
    if len(seen) == 1:
        # Gather along one axis: the only form that every backend of the targets reads well.
        return torch.index_select(seen, axis, index[0])
    if axis == 1:
        return seen.gather(1, index[:, :, None].expand(-1, -1, seen.shape[2]))
    return seen.gather(2, index[:, None, :].expand(-1, seen.shape[1], -1))
