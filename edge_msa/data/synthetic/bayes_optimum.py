"""How well the embedded default can be read at all: what stands beside every accuracy on it.

Knowing the exact posterior, no prediction has a smaller expected absolute error than its median, a higher expected
correlation than (in the limit of many samples) its mean, or a higher expected share of right signs than the sign that
holds more of its mass. The limits are what these predictions reach on the very samples of a split, so a model's number is
compared on the same luck; being expectations, they may be passed by chance, by a fraction of their standard error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edge_msa.data.dataset import BoolArray, Split
from edge_msa.data.synthetic.posterior import combine, likelihoods
from edge_msa.data.synthetic.world import GRID, Array
from edge_msa_runtime.modalities import Subset


@dataclass(frozen=True)
class BayesOptimum:
    """Limits of one subset, by the keys that metrics have.

    `mae`: of the posterior's median, in the label's unit. `corr`: Pearson's, of its mean. `acc2_non0`: the share, over
    labels other than 0, of samples whose sign has more of its mass than the other sign.
    """

    mae: float
    corr: float
    acc2_non0: float


def limits(split: Split, valid: Mapping[str, BoolArray] | None = None) -> dict[str, BayesOptimum]:
    """Limits of all seven subsets, by the subset's value.

    Args:
        split: of the synthetic dataset, not normalized, with 2 samples or more.
        valid: (N, T) bool by modality; frames outside it are dropped.

    Raises:
        DataError: the split is not of this task, or a mask has another shape than the frames.
    """
    logs = likelihoods(split, valid=valid)
    truth = split.labels.astype(np.float64)
    return {subset.value: _limit(truth, combine(logs, subset)) for subset in Subset}


def median(probability: Array) -> Array:
    """Medians (N,) of distributions (N, 61) on `GRID`: the least label with half of the mass at or below it."""
    return np.asarray(GRID[(np.cumsum(probability, axis=1) >= 0.5).argmax(axis=1)])


def mean(probability: Array) -> Array:
    """Means (N,) of distributions (N, 61) on `GRID`."""
    return np.asarray(probability @ GRID)


def positive_mass(probability: Array) -> Array:
    """Mass above 0 less mass below 0, (N,), of distributions (N, 61) on `GRID`."""
    return np.asarray(probability @ np.sign(GRID))


def _limit(truth: Array, probability: Array) -> BayesOptimum:
    scored = truth != 0
    right = (positive_mass(probability) > 0) == (truth > 0)
    return BayesOptimum(
        mae=float(np.abs(truth - median(probability)).mean()),
        corr=float(np.corrcoef(truth, mean(probability))[0, 1]),
        acc2_non0=float(right[scored].mean()),
    )
