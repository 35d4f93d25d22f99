"""The accuracy gate: decide whether a lower precision may replace FP32.

It must be as accurate, and predict the same. On a small validation split, accuracy alone would not notice predictions
that change at random.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from edge_msa_calibrate.errors import CalibrationError

S = TypeVar("S")
Predictions = Mapping[S, npt.NDArray[np.float32]]
"""Predictions of the samples of a split, by modality subset."""

MAX_DISTANCE = 0.1
"""Largest distance from the predictions of FP32. Predictions at this distance correlate with them by about .992."""


@dataclass(frozen=True)
class GateLimits:
    """What a lower precision may lose.

    `drop`: points of the metric on the worst subset. `distance`: mean distance from the predictions of FP32, see
    `measure_distance`.
    """

    drop: float = 1.0
    distance: float = MAX_DISTANCE


@dataclass(frozen=True)
class GateResult:
    """The result of the accuracy gate.

    `drop`: points lost on `worst_subset`, negative if the candidate is better on every subset. `worst_subset` is None
    if no subset has signal. `reason`: one line to print.
    """

    passed: bool
    worst_subset: str | None
    drop: float
    reason: str


def check_accuracy(
    reference: Mapping[str, float], candidate: Mapping[str, float], signal: AbstractSet[str], max_drop: float
) -> GateResult:
    """Compare a candidate with the reference on the worst subset with signal.

    Args:
        reference: the metric of FP32 per subset, in points (percent). Higher is better.
        candidate: the metric of the lower precision per subset.
        signal: the subsets on which FP32 predicts better than chance. On the others a drop is noise.
        max_drop: points that may be lost. A drop of exactly this size passes.

    Raises:
        CalibrationError: a subset of `signal` has no measurement, or `max_drop` is negative or NaN.
    """
    if not max_drop >= 0:
        raise CalibrationError(f"The largest drop must be at least 0 points, got {max_drop:g}.")
    if not signal:
        return GateResult(True, None, 0.0, "no subset carries signal, so no accuracy can be lost")
    for name, values in (("reference", reference), ("candidate", candidate)):
        if missing := sorted(signal - set(values)):
            raise CalibrationError(f"The {name} has no measurement on subset {missing[0]!r}.")
    drops = {subset: _drop(reference[subset], candidate[subset]) for subset in sorted(signal)}
    worst = max(drops, key=lambda subset: drops[subset])
    drop = drops[worst]
    # The tolerance absorbs the rounding of the subtraction: accuracies are shares of whole samples.
    passed = drop <= max_drop + 1e-9
    limit = f"within the allowed {max_drop:g}" if passed else f"more than the allowed {max_drop:g}"
    return GateResult(passed, worst, drop, f"{_describe_drop(drop)} on subset {worst}, {limit}")


def check_agreement(
    reference: Predictions[S], candidate: Predictions[S], max_distance: float = MAX_DISTANCE
) -> GateResult:
    """Compare the predictions of a candidate with those of FP32, see `measure_distance`."""
    distance = measure_distance(reference, candidate)
    passed = distance <= max_distance
    limit = f"within the allowed {max_distance:g}" if passed else f"more than the allowed {max_distance:g}"
    reason = f"predictions differ from fp32 by {distance:.3f} standard deviations on average, {limit}"
    return GateResult(passed, None, 0.0, reason)


def measure_distance(reference: Predictions[S], candidate: Predictions[S]) -> float:
    """Return the mean absolute difference of predictions, averaged over the subsets of the reference.

    The unit is the standard deviation of all predictions of the reference. They are scores (n,), or logits (n, K). The
    variance of logits is the mean over their columns: that some classes have larger logits in all samples is no reason
    to allow larger differences. The result is 0 without predictions, and infinite if a prediction is not finite.
    """
    if not reference:
        return 0.0
    variance = np.concatenate(list(reference.values())).var(axis=0).mean()
    deviation = max(math.sqrt(variance), 1e-9)
    distances = [np.abs(candidate[subset] - values).mean() / deviation for subset, values in reference.items()]
    distance = float(np.mean(distances))
    return distance if math.isfinite(distance) else math.inf


def _describe_drop(drop: float) -> str:
    points = f"{abs(drop):.2f}"
    if points == "0.00":
        return "changes by less than 0.01 points" if drop else "loses no points"
    return f"{'loses' if drop > 0 else 'gains'} {points} points"


def _drop(reference: float, candidate: float) -> float:
    """Return the points lost; infinity if the metric is NaN."""
    drop = reference - candidate
    return math.inf if math.isnan(drop) else drop
