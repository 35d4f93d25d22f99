from __future__ import annotations

from pathlib import Path

import pytest

from edge_msa_runtime.benchmark.conditions import conditions, conditions_line, machine
from edge_msa_runtime.system import System

CPU = "sys/devices/system/cpu"


def _system(root: Path, files: dict[str, str], answers: dict[str, str] | None = None) -> System:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    given = answers or {}
    return System(root, lambda command: given.get(" ".join(command)))


def test_a_jetson_tells_its_clocks_power_mode_and_warmest_zone(tmp_path: Path) -> None:
    files = {f"{CPU}/cpu{core}/cpufreq/scaling_governor": "schedutil\n" for core in range(2)}
    files.update({f"{CPU}/cpu{core}/cpufreq/scaling_cur_freq": str(729600 + core * 100000) for core in range(2)})
    files.update({f"{CPU}/cpu0/cpufreq/scaling_max_freq": "1510400"})
    zones = {"0": ("cpu-thermal", "48500"), "1": ("gpu-thermal", "51250"), "2": ("cv0-thermal", "-256000")}
    for zone, (name, temperature) in zones.items():
        files[f"sys/class/thermal/thermal_zone{zone}/type"] = name
        files[f"sys/class/thermal/thermal_zone{zone}/temp"] = temperature
    files["sys/class/devfreq/17000000.gpu/cur_freq"] = "306000000"
    system = _system(tmp_path, files, {"nvpmodel -q": "NV Power Mode: 15W\n0"})
    assert conditions(system) == {
        "governor": "schedutil",
        "cpu_mhz": "730-830",
        "cpu_max_mhz": "1510",
        "gpu_mhz": "306",
        "power_mode": "15W",
        "temperature": "51.2 (gpu-thermal)",
    }


@pytest.mark.parametrize(("flags", "found"), [("throttled=0x0", None), ("throttled=0x50005", "0x50005")])
def test_a_raspberry_pi_tells_that_it_was_held_back(tmp_path: Path, flags: str, found: str | None) -> None:
    assert conditions(_system(tmp_path, {}, {"vcgencmd get_throttled": flags})).get("throttled") == found


def test_a_system_that_tells_nothing_is_said_to(tmp_path: Path) -> None:
    assert conditions(_system(tmp_path, {})) == {}
    assert conditions_line({}) == "not told by this system"


def test_a_board_is_told_by_its_device_tree(tmp_path: Path) -> None:
    system = _system(tmp_path, {"proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0"})
    assert machine(system)["machine"].startswith("Raspberry Pi 5 Model B Rev 1.0, ")


def test_a_command_that_is_not_there_answers_nothing() -> None:

    assert System().run(["no-such-command-here"]) is None
