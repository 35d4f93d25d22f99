"""What makes a measurement less reliable."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from edge_msa_runtime.benchmark.bench import Latency
from edge_msa_runtime.benchmark.cores import choose_cores, pinned
from edge_msa_runtime.benchmark.latency_statistics import Measured, Outliers
from edge_msa_runtime.benchmark.noise import MachineState, machine_noise, measure_state, sample_noise
from edge_msa_runtime.system import System

QUIET = MachineState({"governor": "performance"}, total=100.0, busy=10.0, stolen=0.0, own=5.0)
LATENCY = Latency("lav", {"audio": 5}, False, 100, {"p50": Measured(1.0)}, steady=True)


def test_a_quiet_machine_has_no_noise() -> None:
    later = replace(QUIET, total=200.0, busy=60.0, own=50.0)  # this program used 45 of the 50 seconds
    assert machine_noise(QUIET, later) == ()
    assert machine_noise(QUIET, QUIET) == ()
    assert sample_noise(LATENCY, [[1.0, 1.1], [1.05, 1.1]]) == ()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"busy": 90.0}, "Other programs used 75% of the CPU time. Close them."),
        ({"busy": 20.0, "stolen": 5.0}, "The hypervisor gave 5% of the CPU time to other machines."),
        ({"conditions": {"governor": "powersave"}}, "The CPU governor is powersave, which changes the clocks."),
        ({"conditions": {"throttled": "3 times"}}, "The clocks were reduced because of heat or power."),
    ],
)
def test_disturbances_of_the_machine_are_named(change: dict[str, object], reason: str) -> None:
    later = replace(QUIET, total=200.0, own=10.0, busy=15.0)
    (text,) = machine_noise(QUIET, replace(later, **change))  # type: ignore[arg-type]
    assert text.startswith(reason)


@pytest.mark.parametrize(
    ("change", "samples", "reason"),
    [
        ({"outliers": Outliers(high_severe=6)}, [[1.0]], "6% of the predictions of lav are severe outliers."),
        ({"steady": False, "warmup": 200}, [[1.0]], "The latency of lav was not steady after 200 predictions."),
        ({}, [[1.0], [1.2]], "The p50 of lav differs by 20% between processes."),
    ],
)
def test_disturbances_of_the_samples_are_named(
    change: dict[str, object], samples: list[list[float]], reason: str
) -> None:
    assert sample_noise(replace(LATENCY, **change), samples) == (reason,)  # type: ignore[arg-type]


def test_the_state_is_read_from_the_system(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    ticks = os.sysconf("SC_CLK_TCK")
    fields = [10, 1, 5, 60, 20, 1, 1, 2, 0, 0]
    (tmp_path / "proc/stat").write_text(f"cpu  {' '.join(str(field * ticks) for field in fields)}\ncpu0 0 0 0 0\n")
    (tmp_path / "proc/loadavg").write_text("1.93 1.10 0.80 2/345 6789\n")
    state = measure_state(System(tmp_path, lambda _: None))
    assert (state.total, state.busy, state.stolen) == (100.0, 20.0, 2.0)
    assert state.own > 0
    assert state.conditions == {"load": "1.93"}
    unknown = measure_state(System(tmp_path / "missing", lambda _: None))
    assert (unknown.total, unknown.busy, unknown.stolen) == (0.0, 0.0, 0.0)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system cannot pin processes")
def test_processes_are_pinned_to_the_fastest_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    for core, capacity in enumerate((400, 400, 1024, 1024)):
        folder = tmp_path / f"sys/devices/system/cpu/cpu{core}"
        folder.mkdir(parents=True)
        (folder / "cpu_capacity").write_text(f"{capacity}\n")
    system = System(tmp_path, lambda _: None)
    assert choose_cores(1, system) == (3,)
    assert choose_cores(2, system) == (2, 3)
    assert choose_cores(3, system) == (1, 2, 3)
    assert choose_cores(5, system) == ()


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system cannot pin processes")
def test_a_pinned_thread_is_free_again_at_the_end() -> None:
    available = os.sched_getaffinity(0)
    core = min(available)
    with pinned((core,)):
        assert os.sched_getaffinity(0) == {core}
    assert os.sched_getaffinity(0) == available
    with pinned(()):
        assert os.sched_getaffinity(0) == available
