"""The edge student: causal, streaming, state explicit, an absent modality skipped.

Each modality has an encoder whose frames are pooled into a few tokens (`student_encoder`); a small fusion, guided by
language, reads whichever modalities' tokens there are (`student_fusion`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

from edge_msa.models.student_encoder import Encoder, EncoderConfig, Recurrence, compact
from edge_msa.models.student_fusion import Fusion
from edge_msa_runtime.modalities import MODALITIES


@dataclass(frozen=True)
class ModalitySizes:
    """What one modality's encoder has of its own; None: as the others."""

    width: int | None = None
    """Channels, and the width of its tokens."""
    blocks: int | None = None
    """Causal convolutions."""
    kernel: int | None = None
    """Taps of each."""
    stride: int | None = None
    """Frames that are stacked into one row before them."""
    recurrence: Recurrence | None = None
    """`gru` for one behind them, or `none`."""


@dataclass(frozen=True)
class StudentConfig:
    """Sizes of a student.

    `dims`: features a frame of each modality. `width`: channels C of every encoder, and of the fusion's question.
    `blocks`: convolutions a modality, block i dilated by 2**i. `kernel`: their taps. `tokens`: pooled vectors M a
    modality. `hidden`: width of the fusion. `outputs`: numbers in a prediction. `dropout`: on tokens, in training alone.
    `stride`: frames stacked into one row. `recurrence`: `gru` for one behind the convolutions. `own`: what single
    modalities have instead.
    """

    dims: Mapping[str, int]
    width: int = 32
    blocks: int = 3
    kernel: int = 3
    tokens: int = 4
    hidden: int = 64
    outputs: int = 1
    dropout: float = 0.1
    stride: int = 1
    recurrence: Recurrence = "none"
    own: Mapping[str, ModalitySizes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for what, names in (("dims", set(self.dims)), ("own", set(self.own))):
            if (what == "dims" and not names) or names - set(MODALITIES):
                raise ValueError(f"{what} must name some of {', '.join(MODALITIES)}, not {sorted(names)}")
        # From run.json they come as plain tables.
        own = {name: ModalitySizes(**item) if isinstance(item, Mapping) else item for name, item in self.own.items()}
        object.__setattr__(self, "own", own)

    def encoder(self, modality: str) -> EncoderConfig:
        """The sizes of one modality's encoder."""
        own = self.own.get(modality, ModalitySizes())
        return EncoderConfig(
            self.width if own.width is None else own.width,
            self.blocks if own.blocks is None else own.blocks,
            self.kernel if own.kernel is None else own.kernel,
            self.stride if own.stride is None else own.stride,
            self.recurrence if own.recurrence is None else own.recurrence,
        )


class Student(nn.Module):
    """Encoders and fusion together; what a device runs."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.config = config
        sizes = {name: config.encoder(name) for name in config.dims}
        self.encoders = nn.ModuleDict(
            {name: Encoder(dim, sizes[name], config.tokens) for name, dim in config.dims.items()}
        )
        widths = {name: own.width for name, own in sizes.items()}
        self.fusion = Fusion(widths, config.tokens, config.width, config.hidden, config.outputs, config.dropout)

    def forward(self, frames: Mapping[str, Tensor], valid: Mapping[str, Tensor]) -> Tensor:
        """Prediction of whole samples.

        Args:
            frames: (B, T, d) by modality, normalized; T may differ between modalities; a modality may be left out.
            valid: (B, T) bool by modality, holes allowed; a row without a valid frame lacks the modality.

        Returns:
            (B, outputs).
        """
        prediction: Tensor = self.fusion(*self.encode(frames, valid))
        return prediction

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
            there = prefix[:, :1]
            tokens[name] = cast("Encoder", self.encoders[name]).whole(packed, prefix) * there[:, :, None]
            columns.append(there[:, 0])
        return tokens, torch.stack(columns, dim=1)


def untrained_student(config: StudentConfig, seed: int) -> Student:
    """A student with random weights, in evaluation mode: for measurements that do not ask what was learned."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Student(config).eval()
