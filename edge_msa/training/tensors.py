"""Splits as tensors on a device, and batches of their samples."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from edge_msa.data.dataset import Frames, Split


@dataclass(frozen=True)
class Batch:
    """B samples of a split."""

    frames: dict[str, Tensor]
    """(B, T, d) by modality; frames that are not valid are zero."""
    valid: dict[str, Tensor]
    """(B, T) bool by modality."""
    labels: Tensor
    """(B, outputs) float."""
    rows: Tensor
    """Indices of the samples in the split, (B,)."""

    def restricted(self, modalities: Collection[str]) -> Batch:
        """Return the same samples with only these modalities. The others have no valid frame."""
        valid = {name: mask if name in modalities else torch.zeros_like(mask) for name, mask in self.valid.items()}
        frames = {name: rows if name in modalities else torch.zeros_like(rows) for name, rows in self.frames.items()}
        return Batch(frames, valid, self.labels, self.rows)


@dataclass(frozen=True)
class ModalityTensors:
    """One modality of a split on the device. `edge_msa.data.dataset.Frames` explains the fields."""

    valid: Tensor
    values: Tensor | None = None
    ids: Tensor | None = None
    table: Tensor | None = None
    encoded: Frames | None = None
    """Frames of a text encoder, which are computed per batch."""

    @classmethod
    def of(cls, frames: Frames, device: torch.device) -> ModalityTensors:
        """Move frames to the device. Ids stay ids, so that the device stores each row of a table only once."""
        valid = torch.from_numpy(np.ascontiguousarray(frames.valid)).to(device)
        if frames.encoder is not None:
            frames.encoder.to(device)
            return cls(valid, encoded=frames)
        if frames.values is not None:
            return cls(valid, values=torch.from_numpy(frames.take()).to(device))
        assert frames.ids is not None and frames.table is not None  # noqa: S101, PT018 - guaranteed by Frames
        ids = torch.from_numpy(np.where(frames.valid, frames.ids, 0).astype(np.int64)).to(device)
        table = torch.from_numpy(np.ascontiguousarray(frames.table, dtype=np.float32)).to(device)
        return cls(valid, ids=ids, table=table)

    @classmethod
    def absent(cls, count: int, dim: int, device: torch.device) -> ModalityTensors:
        """Return a modality that the split lacks: each sample has one frame, which is not valid."""
        invalid = torch.zeros(count, 1, dtype=torch.bool, device=device)
        return cls(invalid, values=torch.zeros(count, 1, dim, device=device))

    def take(self, rows: Tensor, visible: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the frames of samples, (n, T, d), zero where not valid, and their validity, (n, T).

        Args:
            rows: Indices of the samples, (n,).
            visible: (N, T) bool for the whole split, on any device; the other frames are dropped as in `Frames.keep`.
        """
        valid = self.valid[rows]
        if visible is not None:
            valid = valid & visible[rows.to(visible.device)].to(valid.device)
        if self.encoded is not None:
            return self._encode(rows, valid), valid
        if self.values is not None:
            return self.values[rows] if visible is None else self.values[rows] * valid[..., None], valid
        assert self.ids is not None and self.table is not None  # noqa: S101, PT018 - guaranteed by `of`
        return self.table[self.ids[rows]] * valid[..., None], valid

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _encode(self, rows: Tensor, valid: Tensor) -> Tensor:
        assert self.encoded is not None  # noqa: S101 - checked by `take`
        frames = self.encoded.select(rows.cpu().numpy()).keep(valid.cpu().numpy())
        return torch.from_numpy(frames.take()).to(valid.device)


class SplitTensors:
    """A split on the device.

    Args:
        split: Normalized split.
        dims: Features per frame of each modality of the model. A modality that the split lacks has no valid frame. A
            modality that the model lacks is omitted.
        device: Device of the tensors.
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
        """(N, T) bool by modality, on the CPU: the input of `draw_missing`."""

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, rows: Tensor, visible: Mapping[str, Tensor] | None = None) -> Batch:
        """Return the samples `rows`.

        Args:
            rows: (B,) integers on any device.
            visible: (N, T) bool by modality for the whole split, as returned by `draw_missing`, on any device. Other
                frames are dropped. Words that a text encoder would encode are hidden before.
        """
        rows = rows.to(self.device)
        parts = {
            name: tensors.take(rows, visible[name] if visible else None) for name, tensors in self.modalities.items()
        }
        frames, valid = ({name: part[index] for name, part in parts.items()} for index in (0, 1))
        return Batch(frames, valid, self.labels[rows], rows)

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield all samples in their order."""
        for start in range(0, len(self), batch_size):
            yield self.batch(torch.arange(start, min(start + batch_size, len(self))))
