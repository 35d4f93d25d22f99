"""What the export requires of a student. These protocols keep the export independent of the training code."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol

from torch import Tensor, nn


class StateLike(Protocol):
    """The streaming state of an encoder: named tensors, one of them `tokens`."""

    @property
    def tokens(self) -> Tensor:
        """Pooled vectors (B, M, C)."""

    def named(self) -> dict[str, Tensor]:
        """Return the tensors by name, in the order of the graph's inputs."""

    @classmethod
    def from_named(cls, named: Mapping[str, Tensor]) -> StateLike:
        """Return the state with these tensors; the inverse of `named`."""


class EncoderLike(Protocol):
    """The encoder of one modality."""

    def initial_state(self, batch: int) -> StateLike:
        """Return the state before the first frame."""

    def __call__(self, frames: Tensor, valid: Tensor, state: Any) -> StateLike:
        """Encode a chunk of frames (B, T, d) with valid (B, T), ones first, and return the next state."""

    @property
    def stride(self) -> int:
        """Number of frames stacked into one row."""

    def stack_whole(self, frames: Tensor, valid: Tensor, zero_frames: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows (B, T', stride * d) of stacked frames of whole samples, and their mask (B, T').

        `zero_frames` (B, stride - 1, d) precede the first frame; they are zeros if the frames are normalized.
        """

    def encode_rows(self, rows: Tensor, valid: Tensor) -> Tensor:
        """Return the tokens (B, M, C) of normalized rows, starting from the initial state."""


class ConfigLike(Protocol):
    """The sizes of a student."""

    @property
    def dims(self) -> Mapping[str, int]:
        """Features per frame, by modality."""

    @property
    def outputs(self) -> int:
        """Number of values in a prediction."""

    @property
    def gap_frames(self) -> Collection[str]:
        """Modalities in which the mean frame takes the place of masked frames between two valid ones."""


class StudentLike(Protocol):
    """A torch module with one encoder per modality and one fusion of their tokens."""

    @property
    def config(self) -> Any:
        """The sizes, as `ConfigLike`."""

    @property
    def encoders(self) -> nn.ModuleDict:
        """One `EncoderLike` per modality."""

    @property
    def fusion(self) -> nn.Module:
        """Maps tokens by modality and `available` (B, 3) to predictions (B, outputs)."""

    def eval(self) -> Any:
        """Switch to evaluation mode."""

    def cpu(self) -> Any:
        """Move to the CPU."""

    def forward(self, frames: Mapping[str, Tensor], valid: Mapping[str, Tensor]) -> Tensor:
        """Return predictions (B, outputs) for frames (B, T, d) and valid (B, T) bool by modality, gaps allowed."""
