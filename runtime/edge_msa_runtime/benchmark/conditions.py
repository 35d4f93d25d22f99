"""The conditions of a measurement: the machine, its clocks, power mode and temperature.

On Linux, clocks are below /sys/devices/system/cpu/*/cpufreq and temperatures below /sys/class/thermal (kernel
documentation, "CPU Performance Scaling" and "Generic Thermal Sysfs driver"). `nvpmodel` is a tool of NVIDIA Jetson,
`vcgencmd` of the Raspberry Pi. Values that a system does not report are omitted.
"""

from __future__ import annotations

import platform
from typing import Mapping

from edge_msa_runtime.system import System
from edge_msa_runtime.vendor_packages import package_version

CPUFREQ = "/sys/devices/system/cpu/cpu[0-9]*/cpufreq"
_THERMAL = "/sys/class/thermal/thermal_zone[0-9]*"
# Those of x86, then those of ARM. The names are those of /proc/cpuinfo.
_ISA = (
    *("sse4_2", "avx", "f16c", "fma", "avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_bf16", "amx_int8", "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme"),
)
# A thermal zone whose sensor is off reports values outside this range, in °C.
_MIN_CELSIUS, _MAX_CELSIUS = -40.0, 200.0


def describe_machine(system: System | None = None) -> dict[str, str]:
    """Return names and versions that do not change during a measurement."""
    system = system or System()
    board = system.read_text("/proc/device-tree/model")
    description = {
        "machine": processor_name(system) if board is None else f"{board}, {processor_name(system)}",
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": package_version("numpy") or "not installed",
    }
    isa = instruction_sets(system)
    if isa:
        description["isa"] = isa
    release = system.read_text("/etc/nv_tegra_release")
    if release:
        description["l4t"] = release.splitlines()[0].strip("# ")
    return description


def processor_name(system: System) -> str:
    """Return the CPU's name and number of cores, or its architecture if the system does not report them."""
    lines = (system.read_text("/proc/cpuinfo") or "").splitlines()
    fields = [tuple(part.strip() for part in line.split(":", 1)) for line in lines if ":" in line]
    names = [value for key, value in fields if key == "model name"]
    cores = sum(key == "processor" for key, _ in fields)
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name}, {cores} cores" if cores else name


def instruction_sets(system: System) -> str:
    """Return the instruction sets of the CPU that speed up networks, such as `avx2 avx512_vnni`; empty if unknown."""
    for line in (system.read_text("/proc/cpuinfo") or "").splitlines():
        name, _, flags = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return " ".join(flag for flag in _ISA if flag in flags.split())
    return ""


def measure_conditions(system: System | None = None) -> dict[str, str]:
    """Return what can change during a measurement.

    The governor, clocks (MHz), power mode, temperature (°C), throttling, and the load: the mean number of programs that
    ran or waited for a core in the last minute.
    """
    system = system or System()
    values = {
        "governor": "/".join(sorted(set(system.read_matching(f"{CPUFREQ}/scaling_governor").values()))),
        "cpu_mhz": _format_megahertz(system.read_matching(f"{CPUFREQ}/scaling_cur_freq"), 1e3),
        "cpu_max_mhz": _format_megahertz(system.read_matching(f"{CPUFREQ}/scaling_max_freq"), 1e3),
        "gpu_mhz": _format_megahertz(system.read_matching("/sys/class/devfreq/*gpu*/cur_freq"), 1e6)
        or _format_megahertz(system.read_matching("/sys/class/devfreq/*.ga10b/cur_freq"), 1e6),
        "power_mode": power_mode(system),
        "temperature": _highest_temperature(system),
        "throttled": throttling(system),
        "load": " ".join((system.read_text("/proc/loadavg") or "").split()[:1]),
    }
    return {name: value for name, value in values.items() if value}


def power_mode(system: System) -> str:
    """Return a Jetson's power mode, such as `15W`; empty if there is no nvpmodel."""
    for line in (system.run(["nvpmodel", "-q"]) or "").splitlines():
        if "Power Mode" in line:
            return line.partition(":")[2].strip()
    return ""


def throttling(system: System) -> str:
    """Return what has reduced clocks since boot: a Raspberry Pi's flags or the number of x86 thermal events.

    The result is empty if nothing did. The flags are those of `vcgencmd get_throttled` (Raspberry Pi documentation,
    "vcgencmd"), where 0x0 means never.
    """
    output = system.run(["vcgencmd", "get_throttled"]) or ""
    if output.startswith("throttled="):
        flags = output.partition("=")[2]
        return "" if flags == "0x0" else flags
    counts = system.read_matching("/sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/core_throttle_count").values()
    total = sum(int(count) for count in counts if count.isdigit())
    return f"{total} times" if total else ""


def format_conditions(conditions: Mapping[str, str]) -> str:
    """Format the result of `measure_conditions` as one line."""
    names = {"cpu_mhz": "CPU MHz", "cpu_max_mhz": "maximum CPU MHz", "gpu_mhz": "GPU MHz", "power_mode": "power mode"}
    parts = [f"{names.get(name, name)} {value}" for name, value in conditions.items()]
    return ", ".join(parts) or "this system reports no clocks, power mode or temperature"


def _format_megahertz(texts: Mapping[str, str], unit: float) -> str:
    values = [int(text) / unit for text in texts.values() if text.isdigit()]
    if not values:
        return ""
    low, high = min(values), max(values)
    return f"{low:.0f}" if round(low) == round(high) else f"{low:.0f}-{high:.0f}"


def _highest_temperature(system: System) -> str:
    """Return the highest temperature and the name of its thermal zone."""
    zones = []
    for path, text in system.read_matching(f"{_THERMAL}/temp").items():
        try:
            celsius = int(text) / 1e3
        except ValueError:
            continue
        if _MIN_CELSIUS < celsius < _MAX_CELSIUS:
            zones.append((celsius, system.read_text(path[: -len("temp")] + "type") or "zone"))
    if not zones:
        return ""
    celsius, name = max(zones)
    return f"{celsius:.1f} ({name})"
