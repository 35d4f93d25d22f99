"""What a measurement depends on beside the program: the machine, its clocks, its power mode and how warm it is.

Linux tells of clocks below /sys/devices/system/cpu/*/cpufreq and of temperatures below /sys/class/thermal (kernel
documentation, "CPU Performance Scaling" and "Generic Thermal Sysfs driver"); `nvpmodel` is Jetson's, `vcgencmd` the
Raspberry Pi's. Elsewhere less is known, and what is not known is left out.
"""

from __future__ import annotations

import platform
from typing import Mapping

import numpy as np

from edge_msa_runtime.system import System

_CPUS = "/sys/devices/system/cpu/cpu[0-9]*/cpufreq"
_THERMAL = "/sys/class/thermal/thermal_zone[0-9]*"
# A zone whose sensor is off tells nonsense.
_COLDEST, _WARMEST = -40.0, 200.0


def machine(system: System | None = None) -> dict[str, str]:
    """Names and versions that do not change while something is measured."""
    known = system or System()
    board = known.text("/proc/device-tree/model")
    found = {
        "machine": processor(known) if board is None else f"{board}, {processor(known)}",
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
    release = known.text("/etc/nv_tegra_release")
    if release:
        found["l4t"] = release.splitlines()[0].strip("# ")
    return found


def processor(system: System) -> str:
    """The CPU's name and its cores where the system tells them, else its architecture."""
    lines = (system.text("/proc/cpuinfo") or "").splitlines()
    fields = [tuple(part.strip() for part in line.split(":", 1)) for line in lines if ":" in line]
    names = [value for key, value in fields if key == "model name"]
    cores = sum(key == "processor" for key, _ in fields)
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name}, {cores} cores" if cores else name


def conditions(system: System | None = None) -> dict[str, str]:
    """What may change while something is measured: governor, clocks (MHz), power mode, temperature (°C), throttling."""
    known = system or System()
    found = {
        "governor": _each(known.texts(f"{_CPUS}/scaling_governor")),
        "cpu_mhz": _megahertz(known.texts(f"{_CPUS}/scaling_cur_freq"), 1e3),
        "cpu_max_mhz": _megahertz(known.texts(f"{_CPUS}/scaling_max_freq"), 1e3),
        "gpu_mhz": _megahertz(known.texts("/sys/class/devfreq/*gpu*/cur_freq"), 1e6)
        or _megahertz(known.texts("/sys/class/devfreq/*.ga10b/cur_freq"), 1e6),
        "power_mode": power_mode(known),
        "temperature": _temperature(known),
        "throttled": throttled(known),
    }
    return {name: value for name, value in found.items() if value}


def power_mode(system: System) -> str:
    """Jetson's power mode, as `15W`; empty where there is no nvpmodel."""
    for line in (system.run(["nvpmodel", "-q"]) or "").splitlines():
        if "Power Mode" in line:
            return line.partition(":")[2].strip()
    return ""


def throttled(system: System) -> str:
    """What held clocks down since boot: the Raspberry Pi's flags, or how often x86 cores were too hot; else empty.

    The flags are those of `vcgencmd get_throttled` (Raspberry Pi documentation, "vcgencmd"): 0x0 is never.
    """
    told = system.run(["vcgencmd", "get_throttled"]) or ""
    if told.startswith("throttled="):
        flags = told.partition("=")[2]
        return "" if flags == "0x0" else flags
    counts = system.texts("/sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/core_throttle_count").values()
    total = sum(int(count) for count in counts if count.isdigit())
    return f"{total} times" if total else ""


def conditions_line(found: Mapping[str, str]) -> str:
    """Conditions on one line."""
    names = {"cpu_mhz": "CPU MHz", "cpu_max_mhz": "of", "gpu_mhz": "GPU MHz", "power_mode": "power mode"}
    return ", ".join(f"{names.get(name, name)} {value}" for name, value in found.items()) or "not told by this system"


def _each(texts: Mapping[str, str]) -> str:
    return "/".join(sorted(set(texts.values())))


def _megahertz(texts: Mapping[str, str], unit: float) -> str:
    values = [int(text) / unit for text in texts.values() if text.isdigit()]
    if not values:
        return ""
    low, high = min(values), max(values)
    return f"{low:.0f}" if round(low) == round(high) else f"{low:.0f}-{high:.0f}"


def _temperature(system: System) -> str:
    """The warmest zone."""
    zones = []
    for path, text in system.texts(f"{_THERMAL}/temp").items():
        try:
            celsius = int(text) / 1e3
        except ValueError:
            continue
        if _COLDEST < celsius < _WARMEST:
            zones.append((celsius, system.text(path[: -len("temp")] + "type") or "zone"))
    if not zones:
        return ""
    celsius, name = max(zones)
    return f"{celsius:.1f} ({name})"
