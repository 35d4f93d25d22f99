"""The edge student: a causal, streaming network with explicit state that skips absent modalities.

Each modality has an encoder that pools its frames into a few tokens (`student_encoder`). A small fusion, guided by
language, predicts from the tokens of the available modalities (`student_fusion`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

from edge_msa.models.student_encoder import EncoderConfig, Recurrence, StudentEncoder, compact
from edge_msa.models.student_fusion import StudentFusion
from edge_msa_runtime.modalities import MODALITIES


@dataclass(frozen=True)
class ModalitySizes:
    """Sizes of one modality's encoder; None means the size in `StudentConfig`."""

    width: int | None = None
    """Number of channels, which is also the width of the modality's tokens."""
    blocks: int | None = None
    """Number of causal convolutions."""
    kernel: int | None = None
    """Kernel size of each convolution."""
    stride: int | None = None
    """Number of frames stacked into one row before the convolutions."""
    recurrence: Recurrence | None = None
    """Whether a GRU follows the convolutions."""


@dataclass(frozen=True)
class StudentConfig:
    """Sizes of a student."""

    dims: Mapping[str, int]
    """Features per frame of each modality."""
    width: int = 32
    """Number of channels C of every encoder; also the width of the fusion's query."""
    blocks: int = 3
    """Number of convolutions per modality; block i is dilated by 2**i."""
    kernel: int = 3
    """Kernel size of each convolution."""
    tokens: int = 4
    """Number of pooled vectors M per modality."""
    hidden: int = 64
    """Width of the fusion."""
    outputs: int = 1
    """Number of values in a prediction."""
    dropout: float = 0.1
    """Dropout rate of tokens."""
    stride: int = 1
    """Number of frames stacked into one row before the convolutions."""
    recurrence: Recurrence = "none"
    """Whether a GRU follows the convolutions."""
    overrides: Mapping[str, ModalitySizes] = field(default_factory=dict)
    """Sizes of single modalities that replace those above."""
    gap_frames: tuple[str, ...] = ()
    """Modalities in which a gap frame takes the place of masked frames between two valid ones. It is the mean of the
    training frames. Other modalities only drop masked frames."""

    def __post_init__(self) -> None:
        named = {"dims": set(self.dims), "overrides": set(self.overrides), "gap_frames": set(self.gap_frames)}
        for what, names in named.items():
            if (what == "dims" and not names) or names - set(MODALITIES):
                raise ValueError(f"{what} must name some of {', '.join(MODALITIES)}, got {sorted(names)}.")
        # run.json contains them as plain objects.
        sizes = {n: ModalitySizes(**item) if isinstance(item, Mapping) else item for n, item in self.overrides.items()}
        object.__setattr__(self, "overrides", sizes)
        object.__setattr__(self, "gap_frames", tuple(self.gap_frames))

    def encoder(self, modality: str) -> EncoderConfig:
        """Return the sizes of one modality's encoder."""
        sizes = self.overrides.get(modality, ModalitySizes())
        return EncoderConfig(
            width=self.width if sizes.width is None else sizes.width,
            blocks=self.blocks if sizes.blocks is None else sizes.blocks,
            kernel=self.kernel if sizes.kernel is None else sizes.kernel,
            stride=self.stride if sizes.stride is None else sizes.stride,
            recurrence=self.recurrence if sizes.recurrence is None else sizes.recurrence,
        )


class Student(nn.Module):
    """The complete network that a device runs: one encoder per modality, and the fusion."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.config = config
        sizes = {name: config.encoder(name) for name in config.dims}
        self.encoders = nn.ModuleDict(
            {name: StudentEncoder(dim, sizes[name], config.tokens) for name, dim in config.dims.items()}
        )
        widths = {name: size.width for name, size in sizes.items()}
        self.fusion = StudentFusion(widths, config.tokens, config.width, config.hidden, config.outputs, config.dropout)

    def forward(self, frames: Mapping[str, Tensor], valid: Mapping[str, Tensor]) -> Tensor:
        """Return the predictions of whole samples, (B, outputs).

        Args:
            frames: (B, T, d) by modality, normalized. T may differ between modalities. An omitted modality is absent.
            valid: (B, T) bool by modality; gaps are allowed. A sample without a valid frame lacks the modality.
        """
        prediction: Tensor = self.fusion(*self.encode(frames, valid))
        return prediction

    def encode(self, frames: Mapping[str, Tensor], valid: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        """Return the tokens by modality and their availability, (B, 3): the inputs of the fusion."""
        tokens: dict[str, Tensor] = {}
        columns: list[Tensor] = []
        batch = next(iter(frames.values()))
        for name in MODALITIES:
            if name not in frames:
                columns.append(batch.new_zeros(len(batch)))
                continue
            packed, prefix = compact(frames[name], valid[name], gap_frames=name in self.config.gap_frames)
            available = prefix[:, :1]
            encoder = cast("StudentEncoder", self.encoders[name])
            tokens[name] = encoder.encode_whole(packed, prefix) * available[:, :, None]
            columns.append(available[:, 0])
        return tokens, torch.stack(columns, dim=1)


def untrained_student(config: StudentConfig, seed: int) -> Student:
    """Return a student with random weights in evaluation mode, for measurements that do not depend on the weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Student(config).eval()
