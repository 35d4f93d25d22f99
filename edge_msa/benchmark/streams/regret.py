"""The regret of predictions: by how much their expected error exceeds that of the optimal prediction.

The posterior of the label, given the frames that have arrived, is known exactly for the synthetic data. The expected
error of a prediction is its mean absolute error under the posterior. The posterior's median minimizes it. The regret is
therefore at least 0, and it does not contain the noise of the label.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_msa.data.dataset import BoolArray, Split
from edge_msa.data.synthetic.bayes_optimum import median
from edge_msa.data.synthetic.posterior import combine, log_likelihoods
from edge_msa.data.synthetic.world import GRID, Array, world
from edge_msa_runtime.modalities import Subset

_SAME = 1e-6  # ends of intervals are rounded


@dataclass(frozen=True, eq=False)
class Optimum:
    """The posterior of the label at M moments."""

    probability: Array
    """(M, 61) on `GRID`."""

    @property
    def prediction(self) -> Array:
        """The optimal predictions, (M,): the medians."""
        return median(self.probability)

    @property
    def error(self) -> Array:
        """Expected absolute error of the optimal predictions, (M,)."""
        return self._expected_error(self.prediction)

    def regret(self, predictions: ArrayLike) -> Array:
        """Return the regret of predictions, (M,), in the unit of the label; it is at least 0 up to rounding."""
        return self._expected_error(np.asarray(predictions, dtype=np.float64)) - self.error

    def coverage(self, low: ArrayLike, high: ArrayLike) -> Array:
        """Return the probability that the label is in each interval from `low` (M,) to `high` (M,), ends included."""
        inside = (np.asarray(low)[:, None] - _SAME <= GRID) & (np.asarray(high)[:, None] + _SAME >= GRID)
        return np.asarray((self.probability * inside).sum(axis=1))

    def _expected_error(self, predictions: Array) -> Array:
        return np.asarray((self.probability * np.abs(GRID - predictions[:, None])).sum(axis=1))


def optimum(split: Split, rows: NDArray[np.integer], seen: Mapping[str, BoolArray]) -> Optimum:
    """Return the optimum for frames that have arrived.

    Args:
        split: A split of the synthetic data, not normalized.
        rows: Sample of each moment, (M,).
        seen: Frames that have arrived at each moment, (M, T) by modality.

    Raises:
        DataError: The split is not synthetic, or a mask has the wrong shape.
    """
    logs = log_likelihoods(split, valid=seen, rows=rows)
    return Optimum(combine(logs, Subset.of(logs)))


def prior_prediction() -> float:
    """Return the optimal prediction before anything has arrived: the median of the prior."""
    return float(median(world().prior[None])[0])
