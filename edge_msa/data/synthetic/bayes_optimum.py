"""The Bayes optimum of the synthetic dataset: the best metrics that any predictor can reach.

The optimal predictors follow from the exact posterior of the label. Its median has the smallest expected absolute
error. The sign with more mass is correct most often. With many samples, its mean has the highest correlation. The
optimum is computed on the samples of a split, so that a model is compared on the same samples. It is an optimum in
expectation, so a model can exceed it by chance, by a fraction of its standard error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edge_msa.console import activity
from edge_msa.data.dataset import BoolArray, Split
from edge_msa.data.synthetic.posterior import combine, combine_with_manner, log_likelihoods
from edge_msa.data.synthetic.world import CLASS_INDEX, CLASSES, GRID, Array, World
from edge_msa_runtime.modalities import Subset


@dataclass(frozen=True)
class BayesOptimum:
    """Metrics of the optimal predictors for one subset of modalities."""

    mae: float
    """Mean absolute error of the posterior's median, in the unit of the label."""
    corr: float
    """Pearson correlation of the posterior's mean."""
    acc2_non0: float
    """Share of samples with a label other than 0 whose sign has more mass than the other sign."""


def compute_bayes_optima(
    split: Split, valid: Mapping[str, BoolArray] | None = None, *, task: World | None = None
) -> dict[str, BayesOptimum]:
    """Return the optimum of all seven subsets, by the subset's value.

    Args:
        split: A split of the synthetic dataset, not normalized, with at least 2 samples.
        valid: Masks (N, T) by modality; other frames are dropped.
        task: The distributions that the samples were drawn from (default: those of `world()`).

    Raises:
        DataError: The split is not synthetic, or a mask has the wrong shape.
    """
    with activity("Computing the Bayes optimum"):
        logs = log_likelihoods(split, valid=valid, task=task)
        labels = split.labels.astype(np.float64)
        return {subset.value: _optimum(labels, combine(logs, subset)) for subset in Subset}


def compute_class_posteriors(split: Split, *, task: World | None = None) -> dict[str, Array]:
    """Return the posterior of the classes of all seven subsets, (N, 4), by the subset's value.

    The most probable class is correct most often, and no probabilities have a lower negative log-likelihood.

    Args:
        split: A split of the synthetic dataset with classes, not normalized.
        task: As in `compute_bayes_optima`.
    """
    with activity("Computing the Bayes optimum"):
        logs = log_likelihoods(split, task=task)
        is_class = np.arange(len(CLASSES)) == CLASS_INDEX[..., None]
        return {
            subset.value: np.einsum("nsg,sgk->nk", combine_with_manner(logs, subset), is_class.astype(np.float64))
            for subset in Subset
        }


def median(probability: Array) -> Array:
    """Return the medians (N,) of distributions (N, 61) on `GRID`: the smallest label with half of the mass up to it."""
    return np.asarray(GRID[(np.cumsum(probability, axis=1) >= 0.5).argmax(axis=1)])


def mean(probability: Array) -> Array:
    """Return the means (N,) of distributions (N, 61) on `GRID`."""
    return np.asarray(probability @ GRID)


def sign_mass(probability: Array) -> Array:
    """Return the mass above 0 minus the mass below 0, (N,), of distributions (N, 61) on `GRID`."""
    return np.asarray(probability @ np.sign(GRID))


def _optimum(labels: Array, probability: Array) -> BayesOptimum:
    nonzero = labels != 0
    correct = (sign_mass(probability) > 0) == (labels > 0)
    return BayesOptimum(
        mae=float(np.abs(labels - median(probability)).mean()),
        corr=float(np.corrcoef(labels, mean(probability))[0, 1]),
        acc2_non0=float(correct[nonzero].mean()),
    )
