"""Energy sensors, on copies of the files that Linux shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_msa_runtime.benchmark.energy import (
    EnergySample,
    PowerSampler,
    RaplCounters,
    integrate,
    open_sensor,
    summarize_energy,
)
from edge_msa_runtime.benchmark.latency_statistics import Measured
from edge_msa_runtime.system import System

RAPL = "sys/class/powercap"
# Two packages with memory, and psys, which includes them (an x86 server).
SERVER = {
    f"{RAPL}/intel-rapl:0/name": "package-0\n",
    f"{RAPL}/intel-rapl:0/energy_uj": "262143000000\n",
    f"{RAPL}/intel-rapl:0/max_energy_range_uj": "262143328850\n",
    f"{RAPL}/intel-rapl:0:0/name": "dram\n",
    f"{RAPL}/intel-rapl:0:0/energy_uj": "1000000\n",
    f"{RAPL}/intel-rapl:0:0/max_energy_range_uj": "65712999613\n",
    f"{RAPL}/intel-rapl:1/name": "package-1\n",
    f"{RAPL}/intel-rapl:1/energy_uj": "5000000\n",
    f"{RAPL}/intel-rapl:1/max_energy_range_uj": "262143328850\n",
    f"{RAPL}/intel-rapl:1:0/name": "core\n",
    f"{RAPL}/intel-rapl:1:0/energy_uj": "7\n",
    f"{RAPL}/intel-rapl:1:0/max_energy_range_uj": "262143328850\n",
    f"{RAPL}/intel-rapl:2/name": "psys\n",
    f"{RAPL}/intel-rapl:2/energy_uj": "7\n",
    f"{RAPL}/intel-rapl:2/max_energy_range_uj": "262143328850\n",
}
INA = "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1"
# A Jetson Orin Nano with JetPack 6. Channel 4 adds up the voltages of shunts.
ORIN_NANO = {
    f"{INA}/in1_label": "VDD_IN\n",
    f"{INA}/in1_input": "5000\n",
    f"{INA}/curr1_input": "1200\n",
    f"{INA}/in2_label": "VDD_CPU_GPU_CV\n",
    f"{INA}/in2_input": "5000\n",
    f"{INA}/curr2_input": "300\n",
    f"{INA}/in4_label": "sum of shunt voltages\n",
    f"{INA}/in4_input": "3\n",
}
# A Jetson AGX Orin: no rail supplies all others, and a channel that is not connected.
AGX_ORIN = {
    f"{INA}/in1_label": "VDD_GPU_SOC\n",
    f"{INA}/in1_input": "19000\n",
    f"{INA}/curr1_input": "200\n",
    f"{INA}/in2_label": "VDD_CPU_CV\n",
    f"{INA}/in2_input": "19000\n",
    f"{INA}/curr2_input": "100\n",
    f"{INA}/in3_label": "NC\n",
    f"{INA}/in3_input": "0\n",
    f"{INA}/curr3_input": "0\n",
}
IIO = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
# A Jetson Nano with JetPack 4.
NANO = {
    f"{IIO}/rail_name_0": "POM_5V_IN\n",
    f"{IIO}/in_power0_input": "2500\n",
    f"{IIO}/rail_name_1": "POM_5V_GPU\n",
    f"{IIO}/in_power1_input": "40\n",
}
INA238 = "sys/bus/i2c/drivers/ina238/2-0044/hwmon/hwmon3"
# A Jetson AGX Thor: the rails of its module, and the input of the board.
THOR = {
    **AGX_ORIN,
    f"{INA238}/in1_label": "VIN\n",
    f"{INA238}/power1_input": "42000000\n",
}


def create_system(root: Path, files: dict[str, str]) -> System:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return System(root, lambda _: None)


def test_rapl_adds_packages_and_memory_and_survives_a_wrap(tmp_path: Path) -> None:
    sensor, reason = open_sensor(create_system(tmp_path, SERVER))
    assert isinstance(sensor, RaplCounters)
    assert (sensor.name, reason) == ("RAPL package-0 + dram-0 + package-1", "")

    def use_energy() -> str:
        (tmp_path / RAPL / "intel-rapl:0/energy_uj").write_text("671150\n")  # starts again after 328850 more
        (tmp_path / RAPL / "intel-rapl:0:0/energy_uj").write_text("1500000\n")
        (tmp_path / RAPL / "intel-rapl:1/energy_uj").write_text("7000000\n")
        return "done"

    joules, result = sensor.measure(use_energy)
    assert joules == pytest.approx(1.0 + 0.5 + 2.0)
    assert result == "done"


@pytest.mark.parametrize(
    ("files", "name", "watts", "is_total"),
    [
        (ORIN_NANO, "INA3221 VDD_IN", 6.0, True),
        (AGX_ORIN, "INA3221 VDD_GPU_SOC + VDD_CPU_CV", 5.7, False),
        (NANO, "INA3221 POM_5V_IN", 2.5, True),
        (THOR, "INA238 VIN", 42.0, True),
    ],
    ids=["orin-nano", "agx-orin", "nano", "thor"],
)
def test_rails_of_a_jetson_are_sampled(
    tmp_path: Path, files: dict[str, str], name: str, watts: float, *, is_total: bool
) -> None:
    sensor, _ = open_sensor(create_system(tmp_path, files))
    assert isinstance(sensor, PowerSampler)
    assert (sensor.name, sensor.note == "") == (name, is_total)
    assert sensor._sample()[1] == pytest.approx(watts)


def test_sampled_power_is_integrated_over_the_action(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sensor, _ = open_sensor(create_system(tmp_path, ORIN_NANO))
    assert isinstance(sensor, PowerSampler)
    powers = iter([(0.0, 6.0), (2.0, 8.0)])
    monkeypatch.setattr("edge_msa_runtime.benchmark.energy._PERIOD", 3600.0)  # only before and after
    monkeypatch.setattr(sensor, "_sample", lambda: next(powers))
    joules, result = sensor.measure(lambda: 7)
    assert joules == pytest.approx(14.0)
    assert result == 7
    assert integrate([(0.0, 1.0), (1.0, 3.0), (3.0, 3.0)]) == pytest.approx(8.0)
    assert integrate([]) == 0.0


def test_a_sensor_that_fails_meanwhile_is_an_error(tmp_path: Path) -> None:
    sensor, _ = open_sensor(create_system(tmp_path, SERVER))
    assert sensor is not None
    with pytest.raises(OSError, match=r"energy_uj can no longer be read, got None"):
        sensor.measure((tmp_path / RAPL / "intel-rapl:1/energy_uj").unlink)


def test_an_absent_or_unreadable_sensor_has_a_reason(tmp_path: Path) -> None:
    sensor, reason = open_sensor(create_system(tmp_path, {}))
    assert sensor is None
    assert reason == "This system has no energy sensor that can be read: RAPL, INA3221 or INA238."
    hidden = {name: text for name, text in SERVER.items() if not name.endswith("/energy_uj")}
    sensor, reason = open_sensor(create_system(tmp_path / "user", hidden))
    assert sensor is None
    assert reason.startswith("Only root may read the energy counters of RAPL.")


def test_the_idle_power_is_subtracted(tmp_path: Path) -> None:
    sensor, _ = open_sensor(create_system(tmp_path, ORIN_NANO))
    assert sensor is not None
    samples = [EnergySample(4.0, joules, seconds=2.0, predictions=1000) for joules in (9.0, 10.0, 12.0)]
    energy = summarize_energy("lav", sensor, samples)
    assert energy.mj_per_prediction == Measured(2.0, 1.0, 4.0)
    assert energy.idle_watts == Measured(4.0, 4.0, 4.0)
    assert energy.busy_watts == Measured(5.0, 4.5, 6.0)
    assert (energy.subset, energy.sensor, energy.note) == ("lav", "INA3221 VDD_IN", "")


def test_an_energy_that_is_not_measurable_is_unknown_with_a_note(tmp_path: Path) -> None:
    sensor, _ = open_sensor(create_system(tmp_path, SERVER))
    assert sensor is not None
    idle = summarize_energy("a", sensor, [EnergySample(5.0, 4.9, seconds=1.0, predictions=10)])
    assert (idle.mj_per_prediction, "noise of the idle machine" in idle.note) == (None, True)
    card = summarize_energy("a", sensor, [EnergySample(5.0, 9.0, seconds=1.0, predictions=10)], "GPU:0 Orin")
    assert (card.mj_per_prediction, "graphics card" in card.note) == (None, True)
