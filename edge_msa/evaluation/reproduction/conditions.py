"""Everything that one test predictions of the test split asks a trained model: subsets, dropped frames, noise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import FloatArray, Split
from edge_msa.evaluation.evaluate import Predict
from edge_msa.evaluation.reproduction.corruption import NOISES, RATIOS, add_noise, drop_frames
from edge_msa_runtime.modalities import Subset

DROPPED = "dropped"


@dataclass(frozen=True)
class Condition:
    """What a model is asked: from which subset, and what was done to the streams.

    `kind`: empty for streams as they are, `dropped`, or a key of `NOISES`; `grade`: how much of it.
    """

    subset: str
    kind: str = ""
    grade: float = 0.0

    @property
    def key(self) -> str:
        """Its name in files: `la`, `la dropped 0.3`, `lav audio-noise 2`."""
        return f"{self.subset} {self.kind} {self.grade:g}" if self.kind else self.subset


def subsets_there(split: Split) -> tuple[Subset, ...]:
    """The subsets of which every modality has a valid frame somewhere in the split."""
    present = {name for name, frames in split.modalities.items() if frames.valid.any()}
    return tuple(subset for subset in Subset if present.issuperset(subset.modalities))


def rows_of(split: Split, subset: str) -> NDArray[np.int64]:
    """The samples that can be read from that subset: those with a valid frame of any modality of it."""
    names = [name for name in Subset(subset).modalities if name in split.modalities]
    return np.flatnonzero(np.any([split.modalities[name].valid.any(axis=1) for name in names], axis=0))


def plain_conditions(split: Split) -> tuple[Condition, ...]:
    """Every subset, nothing done to it."""
    return tuple(Condition(subset.value) for subset in subsets_there(split))


def all_conditions(split: Split) -> tuple[Condition, ...]:
    """Those, every share of dropped frames on every subset, and every noise on all there is.

    Share 0 is the subset itself. Noise on a modality that the split lacks is left out.
    """
    there = subsets_there(split)
    whole = max(there, key=lambda subset: len(subset.modalities))
    dropped = (Condition(subset.value, DROPPED, share) for subset in there for share in RATIOS if share)
    noisy = (
        Condition(whole.value, kind, grade)
        for kind, noise in NOISES.items()
        if set(noise.modalities) & set(whole.modalities)
        for grade in noise.grades
    )
    return (*plain_conditions(split), *dropped, *noisy)


def dropped_condition(subset: str, share: float) -> Condition:
    """The condition of that share, share 0 included."""
    return Condition(subset, DROPPED, share) if share else Condition(subset)


def read_conditions(
    predict: Predict,
    split: Split,
    conditions: tuple[Condition, ...],
    spread: Mapping[str, FloatArray],
    *,
    seed: int,
) -> Iterator[tuple[Condition, FloatArray]]:
    """Predictions under each condition of the samples of `rows_of`; `spread` as `add_noise` takes it."""
    for condition in conditions:
        rows = rows_of(split, condition.subset)
        changed = _changed(split.select(rows), condition, spread, seed)
        yield condition, np.asarray(predict(changed, Subset(condition.subset)), dtype=np.float32)


def _changed(split: Split, condition: Condition, spread: Mapping[str, FloatArray], seed: int) -> Split:
    if condition.kind == DROPPED:
        return drop_frames(split, condition.grade, seed=seed)
    if condition.kind:
        return add_noise(split, condition.kind, condition.grade, spread, seed=seed)
    return split
