"""Energy of predictions, from the sensors that Linux shows in sysfs.

- x86: RAPL counts the microjoules of each processor package and of its memory (kernel documentation, "Power Capping
  Framework"). Since Linux 5.10, only root may read the counters.
- Jetson: an INA3221 measures voltage and current of three rails (Jetson Linux Developer Guide, "Software-Based Power
  Consumption Modeling"; hwmon since JetPack 5, iio before). Thor also has an INA238 for the input of the board. The
  powers are sampled and integrated.

The power of the idle machine is measured before and subtracted.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from typing import Callable, Mapping, Protocol, Sequence, TypeVar

from edge_msa_runtime.benchmark.latency_statistics import Measured, spread_of
from edge_msa_runtime.system import System

T = TypeVar("T")

SECONDS = 0.5
"""Length of one measurement."""
_PERIOD = 0.01  # between samples of power; an INA3221 converts its channels in a few milliseconds
_POWERCAP = "/sys/class/powercap"
_HWMON = ("/sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon[0-9]*", "/sys/bus/i2c/drivers/ina238/*/hwmon/hwmon[0-9]*")
_IIO = "/sys/bus/i2c/drivers/ina3221x/*/iio:device[0-9]*"
# Rails that supply everything else, best first: they alone are the total.
_INPUT_RAILS = ("VIN", "VDD_IN", "POM_5V_IN")
_NO_SENSOR = "This system has no energy sensor that can be read: RAPL, INA3221 or INA238."
_ONLY_ROOT = "Only root may read the energy counters of RAPL. Run the benchmark as root to measure energy."


@dataclasses.dataclass(frozen=True)
class Energy:
    """Energy of the predictions of one subset.

    Attributes:
        subset: the subset; empty if nothing was measured.
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


class Sensor(Protocol):
    """A sensor of energy.

    Attributes:
        name: what is read.
        note: what it does not include; empty if there is nothing to say.
    """

    name: str
    note: str

    def measure(self, action: Callable[[], T]) -> tuple[float, T]:
        """Run an action, and return the energy in joules that was used meanwhile, and the result of the action.

        Raises:
            OSError: the sensor can no longer be read.
        """


class RaplCounters:
    """Counters of the energy of processor packages and their memory.

    Args:
        system: the operating system.
        zones: folders of the counters by name, such as `package-0`.
    """

    note = "Includes the whole processor, and its memory if named, but no disk, screen or graphics card."

    def __init__(self, system: System, zones: Mapping[str, str]) -> None:
        self._system, self._zones = system, zones
        self.name = f"RAPL {' + '.join(zones)}"
        self._ranges = {name: self._read(folder, "max_energy_range_uj") for name, folder in zones.items()}

    def measure(self, action: Callable[[], T]) -> tuple[float, T]:
        """See `Sensor`. A counter may start again from zero once meanwhile."""
        before = self._read_all()
        result = action()
        after = self._read_all()
        microjoules = sum((after[name] - before[name]) % self._ranges[name] for name in self._zones)
        return microjoules / 1e6, result

    def _read_all(self) -> dict[str, int]:
        return {name: self._read(folder, "energy_uj") for name, folder in self._zones.items()}

    def _read(self, folder: str, file: str) -> int:
        return _require(self._system.read_text(f"{folder}/{file}"), f"{folder}/{file}")


@dataclasses.dataclass(frozen=True)
class Rail:
    """Files of the power of a rail.

    Attributes:
        name: name of the rail.
        files: files whose product is its power.
        unit: watts of a product of 1.
    """

    name: str
    files: tuple[str, ...]
    unit: float


class PowerSampler:
    """Rails whose power is sampled every 10 ms by a thread, and integrated.

    Args:
        system: the operating system.
        chip: name of the chip.
        rails: rails whose powers are added.
    """

    def __init__(self, system: System, chip: str, rails: Sequence[Rail]) -> None:
        self._system, self._rails = system, rails
        self.name = f"{chip} {' + '.join(rail.name for rail in rails)}"
        is_total = len(rails) == 1 and rails[0].name in _INPUT_RAILS
        self.note = "" if is_total else "The sum of these rails, which may not be the whole board."

    def measure(self, action: Callable[[], T]) -> tuple[float, T]:
        """See `Sensor`."""
        samples, errors, ended = [self._sample()], [], threading.Event()

        def sample() -> None:
            try:
                while not ended.wait(_PERIOD):
                    samples.append(self._sample())
            except OSError as error:
                errors.append(error)

        thread = threading.Thread(target=sample, daemon=True)
        thread.start()
        try:
            result = action()
        finally:
            ended.set()
            thread.join()
        if errors:
            raise errors[0]
        samples.append(self._sample())
        return integrate(samples), result

    def _sample(self) -> tuple[float, float]:
        """Return the time in seconds and the power in watts."""
        total = 0.0
        for rail in self._rails:
            power = rail.unit
            for file in rail.files:
                power *= _require(self._system.read_text(file), file)
            total += power
        return time.perf_counter(), total


def integrate(samples: Sequence[tuple[float, float]]) -> float:
    """Return the joules of samples (seconds, watts) in order of time, by the trapezoidal rule."""
    pairs = zip(samples, samples[1:])
    return sum((end - start) * (first + last) / 2 for (start, first), (end, last) in pairs)


def open_sensor(system: System | None = None) -> tuple[Sensor | None, str]:
    """Return the sensor of this machine, or None and the reason why there is none.

    The sensor of the whole board is preferred, then the sum of all rails, then RAPL.
    """
    system = system or System()
    rails = [*_hwmon_rails(system), *_iio_rails(system)]
    for name in _INPUT_RAILS:
        for chip, rail in rails:
            if rail.name == name:
                return PowerSampler(system, chip, [rail]), ""
    if rails:
        return PowerSampler(system, rails[0][0], [rail for _, rail in rails]), ""
    names = {
        path[: -len("/name")]: name for path, name in system.read_matching(f"{_POWERCAP}/intel-rapl:*/name").items()
    }
    # Of the parts of a package, only its memory is not included in it. `psys` would count packages twice.
    zones = {
        name if name.startswith("package") else f"{name}-{folder.split(':')[1]}": folder
        for folder, name in names.items()
        if name.startswith("package") or name == "dram"
    }
    readable = {name: folder for name, folder in zones.items() if system.read_text(f"{folder}/energy_uj") is not None}
    if not any(name.startswith("package") for name in readable):
        return None, _ONLY_ROOT if zones else _NO_SENSOR
    return RaplCounters(system, readable), ""


@dataclasses.dataclass(frozen=True)
class EnergySample:
    """What was measured in one process.

    Attributes:
        idle_watts: power of the idle machine just before.
        joules: energy during the predictions.
        seconds: their duration.
        predictions: their number, at least 1.
    """

    idle_watts: float
    joules: float
    seconds: float
    predictions: int

    @property
    def mj_per_prediction(self) -> float:
        """Millijoules per prediction, without the idle power. Noise can make it negative."""
        return (self.joules - self.idle_watts * self.seconds) / self.predictions * 1e3


def summarize_energy(subset: str, sensor: Sensor, samples: Sequence[EnergySample], device: str = "CPU") -> Energy:
    """Return the median and the range of the processes.

    Args:
        subset: the subset of the predictions.
        sensor: what measured them.
        samples: one sample per process, at least one.
        device: device that executed the graphs. RAPL does not include a graphics card.
    """
    note = sensor.note
    result = spread_of([sample.mj_per_prediction for sample in samples])
    if result is not None and result.value <= 0:
        result, note = None, "Predictions use no more power than the noise of the idle machine."
    if isinstance(sensor, RaplCounters) and device.startswith("GPU"):
        result, note = None, f"{sensor.name} does not include the graphics card that predicts."
    return Energy(
        subset=subset,
        sensor=sensor.name,
        mj_per_prediction=result,
        idle_watts=spread_of([sample.idle_watts for sample in samples]),
        busy_watts=spread_of([sample.joules / sample.seconds for sample in samples]),
        note=note,
    )


def _hwmon_rails(system: System) -> list[tuple[str, Rail]]:
    rails = []
    for pattern in _HWMON:
        chip = "INA3221" if "ina3221" in pattern else "INA238"
        for path, label in system.read_matching(f"{pattern}/in[0-9]_label").items():
            folder, number = path.rsplit("/", 1)[0], path[-len("0_label")]
            power = f"{folder}/power{number}_input"
            files = (
                (power,) if system.exists(power) else tuple(f"{folder}/{kind}{number}_input" for kind in ("in", "curr"))
            )
            # Disabled channels exist, but cannot be read. Others add up voltages and have no current.
            if label and label != "NC" and all(_number(system.read_text(file)) is not None for file in files):
                rails.append((chip, Rail(label, files, 1e-6)))  # microwatts, or millivolts times milliamperes
    return rails


def _iio_rails(system: System) -> list[tuple[str, Rail]]:
    rails = []
    for path, label in system.read_matching(f"{_IIO}/rail_name_[0-9]").items():
        folder, number = path.rsplit("/", 1)[0], path[-1]
        file = f"{folder}/in_power{number}_input"
        if label and label != "NC" and _number(system.read_text(file)) is not None:
            rails.append(("INA3221", Rail(label, (file,), 1e-3)))  # milliwatts
    return rails


def _number(text: str | None) -> int | None:
    try:
        return None if text is None else int(text)
    except ValueError:
        return None


def _require(text: str | None, file: str) -> int:
    number = _number(text)
    if number is None:
        raise OSError(f"{file} can no longer be read, got {text!r}.")
    return number
