"""The range and normalization of raw frames. Graphs apply it themselves; here it is in NumPy, for torch's side."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_msa_export.errors import ExportError

Frames = NDArray[np.float32]

PREFIX = "normalization."
"""Start of the names of a graph's constants that clip and normalize frames. They are float32 at every precision: raw
features may be beyond the range of float16, and the differences between them beyond its precision."""


@dataclass(frozen=True)
class Normalization:
    """Statistics of the features of one modality: normalized frame = (clip(frame, low, high) - mean) / std.

    `low` and `high` are the smallest and largest values in training, all finite, or all infinite if frames are not
    clipped. `norm` is the largest Euclidean norm of a frame in training, infinite if it is not known.

    Raises:
        ExportError: the numbers of values differ, a value is invalid, or a range does not fit a feature.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    norm: float = math.inf

    def __post_init__(self) -> None:
        mean, std, low, high = self._arrays
        if not len(mean) == len(std) == len(low) == len(high):
            raise ExportError(
                f"A normalization must have as many values of std, low and high as of mean ({len(mean)}), got "
                f"{len(std)}, {len(low)} and {len(high)}."
            )
        if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()):
            raise ExportError("mean and std of a normalization must be finite, and std above 0.")
        if not self.norm >= 0:
            raise ExportError(f"norm of a normalization must be at least 0, got {self.norm}.")
        bounds = np.concatenate([low, high])
        if not (np.isfinite(bounds).all() or np.isinf(bounds).all()) or not (low <= high).all():
            raise ExportError("low and high of a normalization must be all finite or all infinite, with low <= high.")

    @classmethod
    def identity(cls, dim: int) -> Normalization:
        """Return the normalization that changes nothing."""
        return cls((0.0,) * dim, (1.0,) * dim, (-np.inf,) * dim, (np.inf,) * dim)

    @property
    def dim(self) -> int:
        """Features per frame."""
        return len(self.mean)

    @property
    def mean_frame(self) -> tuple[float, ...]:
        """The raw frame that normalizes to zeros, with the shortest numbers that are the same in float32."""
        return tuple(float(str(value)) for value in self._arrays[0])

    @property
    def clips(self) -> bool:
        """Whether frames are clipped."""
        return bool(np.isfinite(self.low).all())

    def apply(self, frames: Frames) -> Frames:
        """Clip and normalize frames (T, d) in float32."""
        mean, std, low, high = self._arrays
        return np.asarray((np.clip(frames, low, high) - mean) / std, dtype=np.float32)

    @property
    def _arrays(self) -> tuple[Frames, ...]:
        return tuple(np.asarray(part, dtype=np.float32) for part in (self.mean, self.std, self.low, self.high))
