"""A split moved to the device once, and batches of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from edge_msa.data.dataset import Frames, Split


@dataclass(frozen=True)
class Batch:
    """B samples of a split.

    `frames` (B, T, d) and `valid` (B, T) bool by modality, frames zero where not valid; `labels` (B, outputs) float;
    `rows` (B,), the samples' places in the split.
    """

    frames: dict[str, Tensor]
    valid: dict[str, Tensor]
    labels: Tensor
    rows: Tensor

    def masked(self, visible: Mapping[str, Tensor]) -> Batch:
        """The same samples with only those frames visible.

        Args:
            visible: (N, T) bool by modality for the whole split, as `draw_missing` gives it; CPU or device.
        """
        device = self.labels.device
        valid = {
            name: mask & visible[name][self.rows.to(visible[name].device)].to(device)
            for name, mask in self.valid.items()
        }
        frames = {name: frames * valid[name][..., None] for name, frames in self.frames.items()}
        return Batch(frames, valid, self.labels, self.rows)

    def restricted(self, modalities: Collection[str]) -> Batch:
        """The same samples with those modalities alone; the others stay as streams without a valid frame."""
        valid = {name: mask if name in modalities else torch.zeros_like(mask) for name, mask in self.valid.items()}
        frames = {name: rows if name in modalities else torch.zeros_like(rows) for name, rows in self.frames.items()}
        return Batch(frames, valid, self.labels, self.rows)


@dataclass(frozen=True)
class ModalityTensors:
    """One modality of a split on the device; `Frames` has the meaning of the fields."""

    valid: Tensor
    values: Tensor | None = None
    ids: Tensor | None = None
    table: Tensor | None = None

    @classmethod
    def of(cls, frames: Frames, device: torch.device) -> ModalityTensors:
        """Move it; ids stay ids, so that an embedding table is held once and not once a word."""
        valid = torch.from_numpy(np.ascontiguousarray(frames.valid)).to(device)
        if frames.values is not None:
            return cls(valid, values=torch.from_numpy(frames.take()).to(device))
        assert frames.ids is not None and frames.table is not None  # noqa: S101, PT018 - held by Frames
        ids = torch.from_numpy(np.where(frames.valid, frames.ids, 0).astype(np.int64)).to(device)
        table = torch.from_numpy(np.ascontiguousarray(frames.table, dtype=np.float32)).to(device)
        return cls(valid, ids=ids, table=table)

    @classmethod
    def absent(cls, count: int, dim: int, device: torch.device) -> ModalityTensors:
        """A modality that the split lacks: one frame a sample, never valid."""
        nothing = torch.zeros(count, 1, dtype=torch.bool, device=device)
        return cls(nothing, values=torch.zeros(count, 1, dim, device=device))

    def take(self, rows: Tensor) -> Tensor:
        """Frames of those samples, (n, T, d), zero where not valid."""
        if self.values is not None:
            return self.values[rows]
        assert self.ids is not None and self.table is not None  # noqa: S101, PT018 - held by `of`
        return self.table[self.ids[rows]] * self.valid[rows][..., None]


class SplitTensors:
    """A split on the device.

    Args:
        split: already normalized.
        dims: features a frame of each modality that the model has. A modality that the split lacks is there with no
            valid frame; one that the model lacks is left out.
        device: where everything goes.
    """

    def __init__(self, split: Split, dims: Mapping[str, int], device: torch.device) -> None:
        self.device = device
        self.modalities = {
            name: ModalityTensors.of(split.modalities[name], device)
            if name in split.modalities
            else ModalityTensors.absent(len(split), dim, device)
            for name, dim in dims.items()
        }
        labels = torch.from_numpy(np.ascontiguousarray(split.labels, dtype=np.float32))
        self.labels = labels.reshape(len(split), -1).to(device)
        self.valid = {name: tensors.valid.cpu() for name, tensors in self.modalities.items()}
        """(N, T) bool by modality, on the CPU: what `draw_missing` takes."""

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, rows: Tensor) -> Batch:
        """Those samples. `rows` (B,) integers, on any device."""
        rows = rows.to(self.device)
        frames = {name: tensors.take(rows) for name, tensors in self.modalities.items()}
        valid = {name: tensors.valid[rows] for name, tensors in self.modalities.items()}
        return Batch(frames, valid, self.labels[rows], rows)

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """All samples in their order."""
        for start in range(0, len(self), batch_size):
            yield self.batch(torch.arange(start, min(start + batch_size, len(self))))
