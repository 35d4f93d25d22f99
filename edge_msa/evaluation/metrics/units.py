"""The independent units of a split: videos, or samples if there are too few videos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

MAX_UNITS = 256
"""With more videos, a unit of `Units` consists of several. This limits the time and hardly changes intervals."""
MIN_GROUPS = 5
"""With fewer videos, samples are the units, and `Unit` says so."""

Unit = Literal["groups", "samples"]
"""`groups`: videos. `samples`: there are too few videos, so intervals are too narrow."""


def assign_units(groups: Sequence[str]) -> tuple[NDArray[np.int64], Unit]:
    """Return the number of each sample's unit, (N,), starting from 0, and what the units are.

    Args:
        groups: Video of each sample. Samples of one video are not independent.
    """
    names, members = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < MIN_GROUPS:
        return np.arange(len(groups)), "samples"
    return members.reshape(-1).astype(np.int64), "groups"


@dataclass(frozen=True)
class Units:
    """The units of a split, at most `MAX_UNITS`."""

    numbers: NDArray[np.int64]
    """(N,): number of each sample's unit, starting from 0."""
    count: int
    """Number of units."""
    kind: Unit
    """What the units are."""

    @classmethod
    def of(cls, groups: Sequence[str]) -> Units:
        """Return the units of a split, given the video of each of its samples."""
        numbers, kind = assign_units(groups)
        count = int(numbers.max()) + 1
        if count > MAX_UNITS:
            numbers = np.random.default_rng(0).permutation(count)[numbers] % MAX_UNITS
        return cls(numbers, min(count, MAX_UNITS), kind)


def describe_unit(unit: Unit | str) -> str:
    """Return the units as text."""
    return "videos" if unit == "groups" else "samples (too few videos, so intervals are too narrow)"
