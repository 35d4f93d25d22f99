"""The CPU cores that benchmark processes are pinned to."""

from __future__ import annotations

import contextlib
import os
import time
from typing import Iterator

from edge_msa_runtime.system import System

_CPU = "/sys/devices/system/cpu"
_SAMPLE_SECONDS = 0.2


def choose_cores(count: int, system: System | None = None) -> tuple[int, ...]:
    """Return the cores to pin processes to: the fastest ones, and of these the least busy in the next 0.2 s.

    Args:
        count: number of cores, the threads of one prediction.
        system: the operating system.

    Returns:
        The numbers of the cores, sorted; none if the system cannot pin processes, or has fewer cores for this process.
    """
    if not hasattr(os, "sched_getaffinity"):
        return ()
    system = system or System()
    available = sorted(os.sched_getaffinity(0))
    if len(available) < count:
        return ()
    before = _busy_ticks(system)
    time.sleep(_SAMPLE_SECONDS)
    after = _busy_ticks(system)
    busy = {core: after.get(core, 0) - before.get(core, 0) for core in available}
    # The first cores often serve interrupts, so the last of equal ones are used.
    order = sorted(available, key=lambda core: (-_speed(system, core), busy[core], -core))
    return tuple(sorted(order[:count]))


@contextlib.contextmanager
def pinned(cores: tuple[int, ...]) -> Iterator[None]:
    """Pin this thread to cores, and with it the processes that it starts meanwhile. Without cores, do nothing."""
    if not cores:
        yield
        return
    previous = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, previous)


def _speed(system: System, core: int) -> int:
    """Return a number that is larger for faster cores of one machine; 0 if it is unknown."""
    for name in ("cpu_capacity", "cpufreq/cpuinfo_max_freq"):
        text = system.read_text(f"{_CPU}/cpu{core}/{name}") or ""
        if text.isdigit():
            return int(text)
    return 0


def _busy_ticks(system: System) -> dict[int, int]:
    """Return the ticks for which each core was not idle since the start (kernel documentation, "/proc/stat")."""
    ticks = {}
    for line in (system.read_text("/proc/stat") or "").splitlines():
        name, *fields = line.split()
        if name.startswith("cpu") and name[3:].isdigit():
            numbers = list(map(int, fields[:8]))
            ticks[int(name[3:])] = sum(numbers) - sum(numbers[3:5])  # without idle and iowait
    return ticks
