"""Check whether a machine is fit for measuring: equal programs must not differ, and a slower one must be found."""

from __future__ import annotations

import dataclasses
import statistics
from typing import Callable

from edge_msa_runtime.benchmark.latency_statistics import FASTER, SLOWER
from edge_msa_runtime.benchmark.processes import Job, Plan, bench_processes
from edge_msa_runtime.timing import time_interleaved

SLOWDOWN = 0.1
"""Share by which the slower program is slower."""
_OVERHEAD_CALLS = 2000


@dataclasses.dataclass(frozen=True)
class SelfCheck:
    """The result of a check.

    Attributes:
        checks: number of comparisons of each kind.
        false_alarms: comparisons that found a difference between two runs of one bundle.
        found: comparisons that found that predictions which take 10 % longer are slower.
        resolution: half the width of the interval of the ratio of two runs of one bundle, the median of all checks:
            smaller differences than this share are usually not found. None without intervals.
        overhead_us: median time that the measurement adds to each prediction, in microseconds.
        noise: what disturbed the machine.
    """

    checks: int
    false_alarms: int
    found: int
    resolution: float | None
    overhead_us: float
    noise: tuple[str, ...]

    @property
    def is_fit(self) -> bool:
        """Whether every slow-down was found, with at most one false alarm in 20 checks."""
        return self.found == self.checks and self.false_alarms * 20 <= self.checks


def check_machine(job: Job, plan: Plan, checks: int, on_check: Callable[[int, int], None] | None = None) -> SelfCheck:
    """Compare a bundle with itself, and with itself slowed down by 10 %.

    Args:
        job: the session.
        plan: how it is measured. Only the subset with the most modalities is compared.
        checks: number of comparisons of each kind, at least 1.
        on_check: called before each with its number, from 0, and `checks`.

    Raises:
        UsageError, BackendUnavailableError, EdgeMsaError: those of `bench_processes`.
    """
    false_alarms, found = 0, 0
    widths: list[float] = []
    noise: dict[str, None] = {}
    for number in range(checks):
        if on_check is not None:
            on_check(number, checks)
        jobs = [job, job, dataclasses.replace(job, slowdown=SLOWDOWN)]
        results = bench_processes(jobs, plan)
        same, slow = (result.comparisons[0] for result in results[1:])
        false_alarms += same.verdict in (FASTER, SLOWER)
        found += slow.verdict == SLOWER
        if same.ratio.low is not None and same.ratio.high is not None:
            widths.append((same.ratio.high - same.ratio.low) / 2)
        noise.update({text: None for result in results for text in result.noise})
    return SelfCheck(
        checks=checks,
        false_alarms=false_alarms,
        found=found,
        resolution=statistics.median(widths) if widths else None,
        overhead_us=measure_overhead_us(),
        noise=tuple(noise),
    )


def measure_overhead_us() -> float:
    """Return the p50 of calls that do nothing, in microseconds: what the measurement adds to each latency."""
    (milliseconds,) = time_interleaved([_do_nothing], _OVERHEAD_CALLS, 20)
    return float(statistics.median(milliseconds)) * 1e3


def format_selfcheck(result: SelfCheck) -> list[str]:
    """Return the result as lines for people."""
    resolution = "unknown" if result.resolution is None else f"{result.resolution:.1%}"
    verdict = "This machine is fit for measuring" if result.is_fit else "This machine is too noisy for measuring"
    lines = [
        f"a slow-down of {SLOWDOWN:.0%}: found in {result.found} of {result.checks} checks",
        f"two runs of one bundle: a difference was found in {result.false_alarms} of {result.checks} checks",
        f"resolution: differences below {resolution} are usually not found",
        f"overhead of the measurement: {result.overhead_us:.2f} microseconds per prediction",
        *(f"noise: {text}" for text in result.noise),
    ]
    advice = "" if result.is_fit else " Close other programs, or use more --processes"
    return [*lines, f"{verdict}.{advice}{'.' if advice else ''}"]


def _do_nothing() -> None:
    pass
