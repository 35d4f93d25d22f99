"""Energy of predictions."""

from __future__ import annotations

import dataclasses

from edge_msa_runtime.benchmark.latency_statistics import Measured


@dataclasses.dataclass(frozen=True)
class Energy:
    """Energy of the predictions of one subset.

    Attributes:
        subset: the subset.
        sensor: what was read, such as `RAPL package-0` or `INA3221 VDD_IN`; empty without a sensor.
        mj_per_prediction: millijoules per prediction, without what the idle machine uses; None if it is unknown.
        idle_watts: power of the idle machine.
        busy_watts: power during predictions without pauses.
        note: why the energy is unknown, or what it does not include; empty if there is nothing to say.
    """

    subset: str
    sensor: str = ""
    mj_per_prediction: Measured | None = None
    idle_watts: Measured | None = None
    busy_watts: Measured | None = None
    note: str = ""
