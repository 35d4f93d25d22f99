"""Split conformal prediction for samples that come in videos.

If the videos of the calibration data and a new video are exchangeable, the label of a random sample of the new video is
within the half width of its prediction with at least the stated probability. Nothing else is assumed, in particular not
that the samples of a video are independent. Lee, Barber and Willett, "Distribution-free inference with hierarchical
data" (2023), section 3. If every sample is a video of its own, this is ordinary split conformal prediction.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_ROUNDING = 1e-9
"""Weights are sums of fractions: a sum that is smaller than the coverage by this little is equal to it."""


def half_widths(
    errors: NDArray[np.floating], groups: Sequence[str] | NDArray[np.str_], coverages: Sequence[float]
) -> NDArray[np.float64]:
    """Return the half width of an interval for each coverage, (C,); infinite where the data do not support it.

    With K videos, each of the n errors of a video has the weight 1 / ((K + 1) n). The new video has the remaining
    1 / (K + 1), at infinity. A half width is the smallest error with at least the weight `coverage` up to it.

    Args:
        errors: Distance of each label from its prediction, (N,).
        groups: Video of each error, (N,).
        coverages: Probabilities between 0 and 1.
    """
    _, members, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    order = np.argsort(errors, kind="stable")
    weights = 1.0 / ((len(sizes) + 1) * sizes[members.reshape(-1)[order]])
    needed = np.searchsorted(np.cumsum(weights), np.asarray(coverages) - _ROUNDING)
    return np.append(np.asarray(errors, np.float64)[order], np.inf)[needed]
