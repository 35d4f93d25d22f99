"""The conditions of an evaluation on the test split: subsets of modalities, dropped frames, noise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import FloatArray, Split
from edge_msa.evaluation.reproduction.corruption import DROP_SHARES, NOISES, add_noise, drop_frames
from edge_msa.evaluation.subsets import Predict, available_subsets, sample_rows
from edge_msa_runtime.modalities import Subset

DROPPED = "dropped"


@dataclass(frozen=True)
class Condition:
    """One condition: a subset of modalities, and how their frames were corrupted."""

    subset: str
    """The subset's value."""
    kind: str = ""
    """Empty for unchanged frames, `dropped`, or a key of `NOISES`."""
    grade: float = 0.0
    """Share of dropped frames, or grade of the noise."""

    @property
    def key(self) -> str:
        """The name in files, e.g. `la`, `la dropped 0.3` or `lav audio-noise 2`."""
        return f"{self.subset} {self.kind} {self.grade:g}" if self.kind else self.subset

    def rows(self, split: Split) -> NDArray[np.int64]:
        """Return the rows of the samples with a valid frame of the subset."""
        return sample_rows(split, Subset(self.subset))


def plain_conditions(split: Split) -> tuple[Condition, ...]:
    """Return all available subsets without corruption."""
    return tuple(Condition(subset.value) for subset, _ in available_subsets(split))


def all_conditions(split: Split) -> tuple[Condition, ...]:
    """Return the plain conditions, all shares of dropped frames on all subsets, and all noise on the largest subset.

    Noise on modalities that the split lacks is omitted. Share 0 is the plain condition.
    """
    plain = plain_conditions(split)
    largest = max((Subset(condition.subset) for condition in plain), key=lambda subset: len(subset.modalities))
    dropped = (Condition(condition.subset, DROPPED, share) for condition in plain for share in DROP_SHARES if share)
    noisy = (
        Condition(largest.value, kind, grade)
        for kind, noise in NOISES.items()
        if set(noise.modalities) & set(largest.modalities)
        for grade in noise.grades
    )
    return (*plain, *dropped, *noisy)


def dropped_condition(subset: str, share: float) -> Condition:
    """Return the condition with that share of dropped frames; the plain condition for share 0."""
    return Condition(subset, DROPPED, share) if share else Condition(subset)


def predict_conditions(
    predict: Predict,
    split: Split,
    conditions: tuple[Condition, ...],
    std: Mapping[str, FloatArray],
    *,
    seed: int,
) -> Iterator[tuple[Condition, FloatArray]]:
    """Yield each condition with the predictions for its rows. `add_noise` describes `std`."""
    for condition in conditions:
        corrupted = _corrupt(split.select(condition.rows(split)), condition, std, seed)
        yield condition, np.asarray(predict(corrupted, Subset(condition.subset)), dtype=np.float32)


def _corrupt(split: Split, condition: Condition, std: Mapping[str, FloatArray], seed: int) -> Split:
    if condition.kind == DROPPED:
        return drop_frames(split, condition.grade, seed=seed)
    if condition.kind:
        return add_noise(split, condition.kind, condition.grade, std, seed=seed)
    return split
