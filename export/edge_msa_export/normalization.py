"""The normalization and range of raw frames. Graphs apply it themselves; here it is in NumPy, for torch's side."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_msa_export.errors import ExportError

Frames = NDArray[np.float32]

PREFIX = "normalization."
"""Start of the names of a graph's constants that normalize frames. They are float32 at every precision: raw features
may be beyond the range of float16, and the differences between them beyond its precision."""


@dataclass(frozen=True)
class Normalization:
    """Statistics of the features of one modality: normalized frame = clip((frame - mean) / std, -limit, limit).

    `std` is infinite for features that are not used: their normalized value is always 0. `limit` is infinite if frames
    are not clipped. `norm` is the largest Euclidean norm of a clipped frame in training, infinite if it is not known.

    Raises:
        ExportError: the numbers of values differ, or a value is invalid.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    limit: float = math.inf
    norm: float = math.inf

    def __post_init__(self) -> None:
        mean, std = self._arrays
        if len(mean) != len(std):
            raise ExportError(
                f"A normalization must have as many values of std as of mean ({len(mean)}), got {len(std)}."
            )
        if not (np.isfinite(mean).all() and (std > 0).all()):
            raise ExportError("mean of a normalization must be finite, and std above 0.")
        if not self.limit > 0:
            raise ExportError(f"limit of a normalization must be above 0, got {self.limit}.")
        if not self.norm >= 0:
            raise ExportError(f"norm of a normalization must be at least 0, got {self.norm}.")

    @classmethod
    def identity(cls, dim: int) -> Normalization:
        """Return the normalization that changes nothing."""
        return cls((0.0,) * dim, (1.0,) * dim)

    @property
    def dim(self) -> int:
        """Features per frame."""
        return len(self.mean)

    @property
    def mean_frame(self) -> tuple[float, ...]:
        """The raw frame that normalizes to zeros, with the shortest numbers that are the same in float32."""
        return tuple(float(str(value)) for value in self._arrays[0])

    def apply(self, frames: Frames) -> Frames:
        """Normalize and clip frames (T, d) in float32."""
        mean, std = self._arrays
        with np.errstate(over="ignore"):  # the clipping makes infinite values finite
            normalized = (frames - mean) / std
        return np.asarray(np.clip(normalized, -self.limit, self.limit), dtype=np.float32)

    @property
    def _arrays(self) -> tuple[Frames, Frames]:
        mean, std = (np.asarray(part, dtype=np.float32) for part in (self.mean, self.std))
        return mean, std
