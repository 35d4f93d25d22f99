"""The first nodes of step and window graphs: they clip and normalize raw frames, so a device only copies them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from edge_msa_export.normalization import Normalization


class NormalizeFrames(nn.Module):
    """Clips and normalizes raw frames of one modality, and measures how far they are out of range.

    The excess of a value is its distance from the range [low, high] in units of the width of that range. The excess of
    a frame is the sum over its features: 1 if one feature is a whole range away, or if several are in total. A feature
    that was constant in training counts as if it had a width of 1.
    """

    low: Tensor
    high: Tensor
    mean: Tensor
    std: Tensor
    per_width: Tensor

    def __init__(self, normalization: Normalization) -> None:
        super().__init__()
        self.clips = normalization.clips
        self.normalizes = any(normalization.mean) or any(value != 1 for value in normalization.std)
        for name in ("low", "high", "mean", "std"):
            self.register_buffer(name, torch.tensor(getattr(normalization, name), dtype=torch.float32))
        # The standard deviation never exceeds the width, except that it is set to 1 for a constant feature.
        width = torch.maximum(self.high - self.low, self.std)
        self.register_buffer("per_width", (1 / width)[:, None])

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Return frames (B, T, d) clipped to the range, and the same frames normalized."""
        clipped = torch.minimum(torch.maximum(frames, self.low), self.high) if self.clips else frames
        return clipped, (clipped - self.mean) / self.std if self.normalizes else clipped

    def excess(self, frames: Tensor, clipped: Tensor, valid: Tensor) -> Tensor:
        """Return the largest excess of the valid frames, (B, 1). `valid` is (B, T), 1 for valid frames."""
        by_frame = torch.matmul(torch.abs(frames - clipped), self.per_width)[:, :, 0]
        return (by_frame * valid).amax(dim=1, keepdim=True)


def make_normalizers(normalizations: Mapping[str, Normalization]) -> nn.ModuleDict:
    """Return the modules of several modalities."""
    return nn.ModuleDict({name: NormalizeFrames(item) for name, item in normalizations.items()})
