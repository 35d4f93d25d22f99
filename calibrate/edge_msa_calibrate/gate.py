"""The accuracy gate: may a lower precision take the place of fp32?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from edge_msa_calibrate.errors import CalibrationError


@dataclass(frozen=True)
class GateVerdict:
    """What the gate says.

    `drop`: points lost on `worst_subset`, negative where the candidate is better everywhere. `worst_subset` is None
    where no subset carries signal. `reason`: one line for people.
    """

    passed: bool
    worst_subset: str | None
    drop: float
    reason: str


def decide(
    reference: Mapping[str, float], candidate: Mapping[str, float], signal: AbstractSet[str], max_drop: float
) -> GateVerdict:
    """Compare a candidate with the reference on the worst of the subsets that carry signal.

    Args:
        reference: the metric of fp32 by subset, in points (percent), higher is better.
        candidate: the same of the lower precision.
        signal: the subsets on which fp32 reads better than chance; elsewhere a drop is noise.
        max_drop: points that may be lost; exactly so many pass.

    Raises:
        CalibrationError: a subset of `signal` was not measured, or `max_drop` is negative or NaN.
    """
    if not max_drop >= 0:
        raise CalibrationError(f"the largest drop is {max_drop}; give points of 0 or more")
    if not signal:
        return GateVerdict(True, None, 0.0, "no subset carries signal, so nothing can be lost")
    for name, values in (("reference", reference), ("candidate", candidate)):
        if missing := sorted(signal - set(values)):
            raise CalibrationError(f"the {name} was not measured on subset {missing[0]!r}")
    drops = {subset: _drop(reference[subset], candidate[subset]) for subset in sorted(signal)}
    worst = max(drops, key=lambda subset: drops[subset])
    drop = drops[worst]
    # Accuracies are shares of whole samples: what the subtraction rounds must not decide.
    passed = drop <= max_drop + 1e-9
    word = "loses" if drop > 0 else "gains"
    limit = f"{max_drop:g} may be lost" if passed else f"more than the {max_drop:g} that may be lost"
    return GateVerdict(passed, worst, drop, f"{word} {abs(drop):.2f} points on subset {worst}, {limit}")


def _drop(reference: float, candidate: float) -> float:
    """Points lost; a metric that is NaN for the candidate alone has lost everything."""
    drop = reference - candidate
    return math.inf if math.isnan(drop) else drop
