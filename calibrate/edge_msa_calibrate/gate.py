"""The accuracy gate: decide whether a lower precision may replace FP32."""

from __future__ import annotations

import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from edge_msa_calibrate.errors import CalibrationError


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


def _describe_drop(drop: float) -> str:
    points = f"{abs(drop):.2f}"
    if points == "0.00":
        return "changes by less than 0.01 points" if drop else "loses no points"
    return f"{'loses' if drop > 0 else 'gains'} {points} points"


def _drop(reference: float, candidate: float) -> float:
    """Return the points lost; infinity if the metric is NaN."""
    drop = reference - candidate
    return math.inf if math.isnan(drop) else drop
