"""The first nodes of step and window graphs: they normalize and clip raw frames, so a device only copies them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from edge_msa_export.normalization import Normalization


class Normalize(nn.Module):
    """Normalizes and clips raw frames of one modality.

    Args:
        normalization: the statistics of the modality.
        stride: frames per row of the input (1, T, stride * d). On longer rows the operators are faster.
    """

    mean: Tensor
    scale: Tensor
    zero_frames: Tensor

    def __init__(self, normalization: Normalization, stride: int = 1) -> None:
        super().__init__()
        self.limit = normalization.limit
        self.normalizes = any(normalization.mean) or any(value != 1 for value in normalization.std)
        mean, std = (torch.tensor(getattr(normalization, name), dtype=torch.float64) for name in ("mean", "std"))
        for name, value in {"mean": mean, "scale": 1 / std}.items():
            self.register_buffer(name, value.float().repeat(stride))
        # The raw frames (1, stride - 1, d) that normalize to zeros, for the row of the first frame.
        self.register_buffer("zero_frames", mean.float().repeat(1, stride - 1, 1))

    def forward(self, frames: Tensor) -> Tensor:
        """Return the frames normalized and clipped, in the same shape."""
        normalized = (frames - self.mean) * self.scale if self.normalizes else frames
        return normalized if math.isinf(self.limit) else normalized.clamp(-self.limit, self.limit)
