"""The student's encoder of one modality: causal, with explicit state. The result does not depend on the chunks.

Frames can be stacked, `stride` at a time, into one row. Rows pass through causal dilated convolutions and an optional
GRU, and an online softmax pools them into a few tokens. The state holds everything that later frames need.

Callers remove masked frames first (`compact`), or replace them by a gap frame; `valid` then separates the real frames
of the chunk from the padding after them. This keeps the convolutions dense, and the values of masked frames cannot
change the state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal

import torch
from torch import Tensor, nn

Recurrence = Literal["none", "gru"]

# The initial maximum of the scores: far below any score, and still finite in float16.
NO_PEAK = -1e4
# Subtracted from the score of padding: far below NO_PEAK, so that its weight is exactly 0.
_UNATTENDED = 2e4


@dataclass(frozen=True)
class EncoderConfig:
    """Sizes of one encoder."""

    width: int = 32
    """Number of channels C."""
    blocks: int = 3
    """Number of convolutions; block i is dilated by 2**i."""
    kernel: int = 3
    """Kernel size of each convolution."""
    stride: int = 1
    """Number of frames stacked into one row before the convolutions."""
    recurrence: Recurrence = "none"
    """Whether a GRU follows the convolutions."""


@dataclass(frozen=True)
class EncoderState:
    """Everything that one encoder keeps between chunks, for a batch of B."""

    convs: tuple[Tensor, ...]
    """For each block i, the inputs that later rows still need, (B, C, (kernel - 1) * 2**i)."""
    peak: Tensor
    """The largest score so far, (B, M, 1)."""
    mass: Tensor
    """The sum of exp(score - peak), (B, M, 1)."""
    tokens: Tensor
    """The weighted mean so far, (B, M, C)."""
    hidden: Tensor | None = None
    """The state of the GRU if there is one, (B, 1, C)."""
    pending: Tensor | None = None
    """With a stride s above 1, the last frames, (B, s - 1, d)."""
    phase: Tensor | None = None
    """With a stride above 1, the number of last frames in `pending` that are not part of a row yet, (B, 1)."""

    def named(self) -> dict[str, Tensor]:
        """Return the tensors by the names that they have in step graphs."""
        convs = {f"conv{index}": conv for index, conv in enumerate(self.convs)}
        rest = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "convs"}
        return convs | {name: value for name, value in rest.items() if value is not None}

    @classmethod
    def from_named(cls, named: Mapping[str, Tensor]) -> EncoderState:
        """Return the state from the result of `named`."""
        count = sum(name.startswith("conv") for name in named)
        rest = {name: value for name, value in named.items() if not name.startswith("conv")}
        return cls(tuple(named[f"conv{index}"] for index in range(count)), **rest)


class StudentEncoder(nn.Module):
    """The encoder of one modality: maps frames (B, T, d) and a state to the next state. Its `tokens` are the result."""

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

    @property
    def stride(self) -> int:
        """Number of frames stacked into one row."""
        return self.config.stride

    def initial_state(self, batch: int) -> EncoderState:
        """Return the state before the first frame.

        With a stride above 1, the first frame completes a row immediately, after frames of zeros, so that even a sample
        with one frame has a prediction.
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
        """Return the state after one chunk.

        Args:
            frames: (B, T, d), normalized, with the real frames first.
            valid: (B, T) float, 1 for real frames and 0 for the padding after them.
            state: The state before the chunk, from `initial_state` or the previous chunk.
        """
        count = valid.sum(dim=1, keepdim=True)
        pending, phase = state.pending, state.phase
        if pending is not None and phase is not None:
            frames, valid, count, pending, phase = self._stack_frames(frames, count, pending, phase)
        num_rows = count.to(torch.int64)
        features, convs = self._convolve(frames, num_rows, state.convs)
        hidden = state.hidden
        if hidden is not None:
            features, hidden = self._apply_gru(features, num_rows, hidden)
        peak, mass, tokens = self._pool(features, valid, state)
        return EncoderState(convs, peak, mass, tokens, hidden, pending, phase)

    def encode_whole(self, frames: Tensor, valid: Tensor) -> Tensor:
        """Return the tokens of whole samples, (B, M, C).

        They equal those that `forward` computes from `initial_state`, with fewer operations. The tokens of a sample
        without a valid frame are meaningless.
        """
        zero_frames = frames.new_zeros(len(frames), self.config.stride - 1, self.dim)
        return self.encode_rows(*self.stack_whole(frames, valid, zero_frames))

    def stack_whole(self, frames: Tensor, valid: Tensor, zero_frames: Tensor) -> tuple[Tensor, Tensor]:
        """Return the first step of `encode_whole`: rows (B, T', stride * d) of stacked frames, and their mask (B, T').

        `zero_frames` (B, stride - 1, d) precede the first frame. If the frames are raw, because a graph normalizes the
        rows, they are the raw frames that normalize to zeros.
        """
        stride = self.config.stride
        if stride > 1:
            length = frames.shape[1] + -frames.shape[1] % stride
            padded = torch.cat([zero_frames, frames], dim=1)[:, :length]
            frames = padded.reshape(len(frames), length // stride, -1)
            valid = valid[:, ::stride]  # a row is complete if its last frame is valid
        return frames, valid

    def encode_rows(self, rows: Tensor, valid: Tensor) -> Tensor:
        """Return the second step of `encode_whole`: the tokens (B, M, C) of normalized rows."""
        start = self.initial_state(len(rows))
        count = valid.sum(dim=1, keepdim=True).to(torch.int64)
        features, _ = self._convolve(rows, count, start.convs)
        if start.hidden is not None:
            features, _ = self._apply_gru(features, count, start.hidden)
        weights = torch.softmax(self._scores(features, valid), dim=2)
        return torch.matmul(weights, features.transpose(1, 2))

    def _stack_frames(
        self, frames: Tensor, count: Tensor, pending: Tensor, phase: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return rows of `stride` frames, their mask and count, and the next `pending` and `phase`."""
        stride = self.config.stride
        padding = frames.new_zeros(len(frames), -frames.shape[1] % stride, frames.shape[2])
        seen = torch.cat([pending, frames, padding], dim=1)
        waiting, real = phase.to(torch.int64), count.to(torch.int64)
        length = seen.shape[1] - stride + 1
        rows = slice_from(seen, 1, stride - 1 - waiting, length).reshape(len(frames), length // stride, -1)
        total = phase + count
        complete = _floor_divide(total, stride)
        valid = _prefix_mask(complete, rows.shape[1])
        return rows, valid, complete, slice_from(seen, 1, real, stride - 1), total - complete * stride

    def _convolve(self, rows: Tensor, count: Tensor, memories: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        features = torch.relu(self.embed(rows.transpose(1, 2)))
        convs = []
        for block, memory in zip(self.blocks, memories, strict=True):
            seen = torch.cat([memory, features], dim=2)
            convs.append(slice_from(seen, 2, count, memory.shape[2]))
            features = features + torch.relu(block(seen))
        return features, tuple(convs)

    def _apply_gru(self, features: Tensor, count: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        assert self.gru is not None  # noqa: S101 - a state has `hidden` only if there is a GRU
        outputs, _ = self.gru(features.transpose(1, 2), hidden.transpose(0, 1).contiguous())
        last = slice_from(torch.cat([hidden, outputs], dim=1), 1, count, 1)
        return features + outputs.transpose(1, 2), last

    def _scores(self, features: Tensor, valid: Tensor) -> Tensor:
        scores: Tensor = self.score(features)
        penalties = (valid - 1) * _UNATTENDED
        # For a single sample (1, T) broadcasts as it is, which saves the graphs a node.
        return scores + (penalties if len(penalties) == 1 else penalties[:, None, :])

    def _pool(self, features: Tensor, valid: Tensor, state: EncoderState) -> tuple[Tensor, Tensor, Tensor]:
        """Return the softmax-weighted mean over all frames so far (online softmax, Milakov and Gimelshein 2018)."""
        scores = self._scores(features, valid)
        peak = torch.maximum(state.peak, scores.amax(dim=2, keepdim=True))
        weights = torch.exp(scores - peak)
        previous = state.mass * torch.exp(state.peak - peak)
        mass = previous + weights.sum(dim=2, keepdim=True)
        total = state.tokens * previous + torch.matmul(weights, features.transpose(1, 2))
        return peak, mass, total / mass.clamp(min=1e-6)


def compact(frames: Tensor, valid: Tensor, *, gap_frames: bool = False) -> tuple[Tensor, Tensor]:
    """Move the valid frames of each sample to the beginning, in their order, and set the rest to zero.

    Args:
        frames: (B, T, d), normalized.
        valid: (B, T) bool.
        gap_frames: Whether a gap frame takes the place of masked frames between two valid ones. It is zero, the mean of
            the training frames.

    Returns:
        The frames (B, T, d), and their mask (B, T) as float, ones first.
    """
    kept = valid | find_gaps(valid) if gap_frames else valid
    order = compact_order(kept)
    prefix = kept.gather(1, order).to(frames.dtype)
    real = valid.gather(1, order)[:, :, None] if gap_frames else prefix[:, :, None]
    return frames.gather(1, order[:, :, None].expand_as(frames)) * real, prefix


def compact_order(kept: Tensor) -> Tensor:
    """Return the frame at each position of a compacted sample, (B, T) int64: those that are kept (B, T) come first."""
    return torch.argsort((~kept).to(torch.uint8), dim=1, stable=True)


def find_gaps(valid: Tensor) -> Tensor:
    """Return where gap frames are, (B, T) bool: at the last one of each run of masked frames between two valid ones."""
    begun = valid.cumsum(dim=1) > 0
    next_valid = torch.nn.functional.pad(valid[:, 1:], (0, 1))
    return ~valid & begun & next_valid


def rows_of_frames(length: int, stride: int) -> Tensor:
    """Return the row that contains each of `length` compacted frames of a whole sample, (length,) int64."""
    return (torch.arange(length) + stride - 1) // stride


def _floor_divide(total: Tensor, stride: int) -> Tensor:
    """Return `total` // `stride` as float. A cast to int64 rounds down with an operator that all targets have."""
    return (total / stride).to(torch.int64).to(total.dtype)


def _prefix_mask(complete: Tensor, rows: int) -> Tensor:
    """Return the mask (B, rows) with ones for the first `complete` (B, 1) rows."""
    return (complete - torch.arange(rows, device=complete.device)).clamp(0, 1)


def slice_from(values: Tensor, axis: int, start: Tensor, length: int) -> Tensor:
    """Return `length` consecutive elements of each sample along `axis`, beginning at `start` (B, 1)."""
    index = start + torch.arange(length, device=values.device)
    if len(values) == 1:
        # The ONNX operator Gather along one axis is the only form that the backends of all targets run efficiently.
        return torch.index_select(values, axis, index[0])
    if axis == 1:
        return values.gather(1, index[:, :, None].expand(-1, -1, values.shape[2]))
    return values.gather(2, index[:, None, :].expand(-1, values.shape[1], -1))
