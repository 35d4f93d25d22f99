"""How far the predictions of a graph may be from those of torch.

A bundle states the parity that its export measured, and its golden predictions are checked with a tolerance derived
from it. The bundle cannot choose that tolerance freely: a large one would let any model pass. The limits are shares of
the task's scale. Exported students reach far less (CMU-MOSI demo, 44 graphs on three backends, scale 3): 4.8e-7 at
fp32, 4.0e-4 at fp16 and 0.054 at int8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Iterable, Mapping

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_msa_runtime.bundle.manifest import TaskSpec

# Backends and processors round differently, so smaller differences mean nothing.
_MIN_TOLERANCE = 1e-4
# The parity in the manifest was measured on the exporting machine. Another processor may double it.
_PARITY_FACTOR = 2.0
# Shares of the task's scale. fp32: twice the largest difference that an export accepts. fp16: 0.06 for CMU-MOSI, whose
# scores range from -3 to 3; its annotators differ by about 0.5. int8: 0.75 for CMU-MOSI, whose labels are 1 apart.
_LIMITS: Mapping[str, float] = {"fp32": 2e-4, "fp16": 0.02, "int8": 0.25, "int4": 0.25}
# The largest score of CMU-MOSI, CMU-MOSEI and CH-SIMS. A logit of 4 is a probability of 98 percent against one of 0.
_SCALES: Mapping[str, float] = {"mosi": 3.0, "sims": 1.0, "classes": 4.0, "emotions": 4.0}


def tolerance_for(parity: float) -> float:
    """Return the tolerance for a parity that was measured on another machine: max(1e-4, 2 * parity)."""
    return min(max(_MIN_TOLERANCE, _PARITY_FACTOR * parity), 1e300)


def largest_tolerance(precision: str, task: TaskSpec, predictions: Iterable[NDArray[np.float32]]) -> float:
    """Return the largest tolerance that is accepted at a precision.

    It is a share of the task's scale: 2e-4 at fp32, 0.02 at fp16 and 0.25 at int8 and int4. The scale is 3 for `mosi`,
    1 for `sims` and 4 (logits) for `classes` and `emotions`, or the largest prediction of torch if that is larger, up
    to twice as much. The scale of a `regression` is unknown: it is the largest prediction, at least 1.

    Args:
        precision: `fp32`, `fp16`, `int8` or `int4`; the limit of any other is that of fp32.
        task: the task.
        predictions: predictions of torch, each (outputs,).
    """
    largest = max((float(np.abs(values).max()) for values in predictions), default=0.0)
    known = _SCALES.get(task.kind)
    scale = max(1.0, largest) if known is None else min(max(known, largest), 2 * known)
    return max(_MIN_TOLERANCE, _LIMITS.get(precision, _LIMITS["fp32"]) * scale)
