"""What makes a measurement less reliable: other programs, a hypervisor, changing clocks, and the samples themselves."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Mapping, Sequence

import numpy as np

from edge_msa_runtime.benchmark.conditions import measure_conditions
from edge_msa_runtime.system import System

if TYPE_CHECKING:
    from edge_msa_runtime.benchmark.bench import Latency

_STEAL = 0.01
_OTHERS = 0.1
_SEVERE = 0.05
_SPREAD = 0.1


@dataclasses.dataclass(frozen=True)
class MachineState:
    """The state of a machine at one time.

    Attributes:
        conditions: result of `measure_conditions`.
        total: CPU seconds of all cores since the start of the machine; 0 if the system does not report them.
        busy: those during which a core was not idle.
        stolen: those that a hypervisor gave to other machines.
        own: CPU seconds of this process and of its children that have ended.
    """

    conditions: Mapping[str, str]
    total: float
    busy: float
    stolen: float
    own: float


def measure_state(system: System | None = None) -> MachineState:
    """Return the present state of this machine."""
    system = system or System()
    line = (system.read_text("/proc/stat") or "cpu").splitlines()[0]
    ticks = [float(text) for text in line.split()[1:9]] or [0.0] * 8
    seconds = [tick / _ticks_per_second() for tick in ticks]
    times = os.times()
    return MachineState(
        conditions=measure_conditions(system),
        total=sum(seconds),
        busy=sum(seconds) - sum(seconds[3:5]),  # without idle and iowait
        stolen=sum(seconds[7:8]),
        own=times.user + times.system + times.children_user + times.children_system,
    )


def machine_noise(before: MachineState, after: MachineState) -> tuple[str, ...]:
    """Return what disturbed the machine between two states, one sentence each.

    More than 1 % of the CPU time stolen by a hypervisor, more than 10 % used by other programs, a governor that changes
    clocks, and clocks that were reduced because of heat or power count as disturbances.
    """
    reasons = []
    total = after.total - before.total
    if total > 0:
        stolen = (after.stolen - before.stolen) / total
        others = (after.busy - before.busy - (after.stolen - before.stolen) - (after.own - before.own)) / total
        if stolen > _STEAL:
            reasons.append(f"The hypervisor gave {stolen:.0%} of the CPU time to other machines.")
        if others > _OTHERS:
            reasons.append(f"Other programs used {others:.0%} of the CPU time. Close them.")
    governor = after.conditions.get("governor", "performance")
    if governor != "performance":
        reasons.append(f"The CPU governor is {governor}, which changes the clocks. Set it to performance.")
    if after.conditions.get("throttled") != before.conditions.get("throttled"):
        reasons.append("The clocks were reduced because of heat or power. Cool the machine.")
    return tuple(reasons)


def sample_noise(latency: Latency, processes: Sequence[Sequence[float]]) -> tuple[str, ...]:
    """Return what makes the samples of one subset less reliable, one sentence each.

    Args:
        latency: summary of the samples.
        processes: the samples of each process.
    """
    reasons = []
    outliers = latency.outliers
    severe = (outliers.low_severe + outliers.high_severe) / latency.predictions
    if severe > _SEVERE:
        reasons.append(f"{severe:.0%} of the predictions of {latency.subset} are severe outliers.")
    medians = [float(np.median(samples)) for samples in processes]
    spread = max(medians) / min(medians) - 1
    if spread > _SPREAD:
        reasons.append(f"The p50 of {latency.subset} differs by {spread:.0%} between processes.")
    if latency.steady is False:
        reasons.append(f"The latency of {latency.subset} was not steady after {latency.warmup} predictions.")
    return tuple(reasons)


def _ticks_per_second() -> int:
    return os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
