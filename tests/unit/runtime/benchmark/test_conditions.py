from __future__ import annotations

from pathlib import Path

import pytest

from edge_msa_runtime.benchmark.conditions import describe_machine, format_conditions, measure_conditions
from edge_msa_runtime.system import System

CPU = "sys/devices/system/cpu"


def _create_system(root: Path, files: dict[str, str], outputs: dict[str, str] | None = None) -> System:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return System(root, lambda command: (outputs or {}).get(" ".join(command)))


def test_a_jetson_reports_clocks_power_mode_and_temperature(tmp_path: Path) -> None:
    files = {f"{CPU}/cpu{core}/cpufreq/scaling_governor": "schedutil\n" for core in range(2)}
    files.update({f"{CPU}/cpu{core}/cpufreq/scaling_cur_freq": str(729600 + core * 100000) for core in range(2)})
    files.update({f"{CPU}/cpu0/cpufreq/scaling_max_freq": "1510400"})
    zones = {"0": ("cpu-thermal", "48500"), "1": ("gpu-thermal", "51250"), "2": ("cv0-thermal", "-256000")}
    for zone, (name, temperature) in zones.items():
        files[f"sys/class/thermal/thermal_zone{zone}/type"] = name
        files[f"sys/class/thermal/thermal_zone{zone}/temp"] = temperature
    files["sys/class/devfreq/17000000.gpu/cur_freq"] = "306000000"
    system = _create_system(tmp_path, files, {"nvpmodel -q": "NV Power Mode: 15W\n0"})
    assert measure_conditions(system) == {
        "governor": "schedutil",
        "cpu_mhz": "730-830",
        "cpu_max_mhz": "1510",
        "gpu_mhz": "306",
        "power_mode": "15W",
        "temperature": "51.2 (gpu-thermal)",
    }


@pytest.mark.parametrize(("output", "throttled"), [("throttled=0x0", None), ("throttled=0x50005", "0x50005")])
def test_a_raspberry_pi_reports_throttling(tmp_path: Path, output: str, throttled: str | None) -> None:
    system = _create_system(tmp_path, {}, {"vcgencmd get_throttled": output})
    assert measure_conditions(system).get("throttled") == throttled


def test_values_that_a_system_does_not_report_are_omitted(tmp_path: Path) -> None:
    assert measure_conditions(_create_system(tmp_path, {})) == {}
    assert format_conditions({}) == "this system reports no clocks, power mode or temperature"


def test_the_device_tree_names_the_board(tmp_path: Path) -> None:
    system = _create_system(tmp_path, {"proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0"})
    assert describe_machine(system)["machine"].startswith("Raspberry Pi 5 Model B Rev 1.0, ")
