"""Checks of the machine: board, processor, clocks, temperature, memory and backend cache."""

from __future__ import annotations

from typing import Iterator

from edge_msa_runtime.backends.cache import CACHE_VARIABLE, cache_folder
from edge_msa_runtime.benchmark.conditions import CPUFREQ, measure_conditions, processor_name, throttling
from edge_msa_runtime.doctor.findings import OK, PROBLEM, UNKNOWN, Finding
from edge_msa_runtime.doctor.interpreter import Interpreter
from edge_msa_runtime.system import System

_MEBIBYTE = 1 << 20
_MIN_MEMORY_MIB, _MIN_DISK_MIB = 512, 256
# Orin and the Raspberry Pi 5 begin to reduce clocks at 85 °C (NVIDIA's Jetson Linux guide, "Thermal Specifications";
# Raspberry Pi documentation, "Frequency management and thermal control").
_HOT_CELSIUS = 85.0
# Raspberry Pi documentation, "vcgencmd": bits 0 and 16 are under-voltage, now and since boot.
_UNDER_VOLTAGE = 0x10001
_NOT_REPORTED = "not reported by this system"
_COOLING_FIX = "Add a fan, or let the board cool down."


def check_machine(system: System, interpreter: Interpreter) -> Iterator[Finding]:
    """Run the checks that apply to any device."""
    board = system.read_text("/proc/device-tree/model") or system.read_text("/sys/class/dmi/id/product_name")
    yield Finding("board", OK if board else UNKNOWN, board or _NOT_REPORTED)
    if system.is_container():
        yield Finding("container", OK, "running in a container; parts of the device may not be visible")
    processor = f"{interpreter.architecture}, {processor_name(system)}"
    yield Finding("processor", OK, f"{processor}; {_describe_dot_products(system)}")
    yield _check_clocks(system)
    yield _check_temperature(system)
    yield from _check_throttling(system)
    yield _check_memory(system)
    yield _check_cache(system)


def has_dot_products(system: System) -> bool | None:
    """Return whether the CPU has 8-bit dot products: exact on x86 (VNNI), fast on ARM. None if it is unknown."""
    for line in (system.read_text("/proc/cpuinfo") or "").splitlines():
        name, _, flags = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return bool({"avx512_vnni", "avx_vnni", "asimddp"}.intersection(flags.split()))
    return None


def read_meminfo_mib(system: System, name: str) -> int | None:
    """Return a row of /proc/meminfo in MiB, or None if it does not exist."""
    for line in (system.read_text("/proc/meminfo") or "").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) // 1024
    return None


def _describe_dot_products(system: System) -> str:
    available = has_dot_products(system)
    if available is None:
        return "8-bit dot products unknown"
    return "8-bit dot products" if available else "no 8-bit dot products"


def _check_clocks(system: System) -> Finding:
    low, high = (list(system.read_matching(f"{CPUFREQ}/scaling_{end}_freq").values()) for end in ("min", "max"))
    if not high:
        return Finding("clocks", UNKNOWN, f"{_NOT_REPORTED}, as usual in a virtual machine")
    conditions = measure_conditions(system)
    governor, megahertz = conditions.get("governor", "unknown"), conditions.get("cpu_mhz", "?")
    detail = f"governor {governor}, CPU at {megahertz} of {conditions['cpu_max_mhz']} MHz"
    if low == high:
        return Finding("clocks", OK, f"{detail}, fixed")
    if governor == "performance":
        return Finding("clocks", OK, detail)
    is_jetson = system.read_text("/etc/nv_tegra_release") is not None
    set_governor = "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
    fix = "sudo jetson_clocks" if is_jetson else set_governor
    return Finding("clocks", PROBLEM, f"{detail}; latencies vary with the load", fix)


def _check_temperature(system: System) -> Finding:
    highest = measure_conditions(system).get("temperature")
    if highest is None:
        return Finding("temperature", UNKNOWN, _NOT_REPORTED)
    if float(highest.split()[0]) >= _HOT_CELSIUS:
        return Finding("temperature", PROBLEM, f"{highest} °C; clocks are reduced", _COOLING_FIX)
    return Finding("temperature", OK, f"{highest} °C")


def _check_throttling(system: System) -> Iterator[Finding]:
    throttled = throttling(system)
    if not throttled:
        return
    under_voltage = throttled.startswith("0x") and bool(int(throttled, 16) & _UNDER_VOLTAGE)
    detail = f"{throttled} since boot" + (", under-voltage" if under_voltage else "")
    fix = "Use the board's official power supply." if under_voltage else _COOLING_FIX
    yield Finding("throttling", PROBLEM, detail, fix)


def _check_memory(system: System) -> Finding:
    free, total = read_meminfo_mib(system, "MemAvailable"), read_meminfo_mib(system, "MemTotal")
    if free is None or total is None:
        return Finding("memory", UNKNOWN, _NOT_REPORTED)
    detail = f"{free} of {total} MiB free"
    if free >= _MIN_MEMORY_MIB:
        return Finding("memory", OK, detail)
    fix = "Close other programs. Stopping the desktop frees 800 MiB: sudo systemctl isolate multi-user"
    return Finding("memory", PROBLEM, detail, fix)


def _check_cache(system: System) -> Finding:
    folder = cache_folder().absolute()
    if not system.is_writable(folder):
        fix = f"export {CACHE_VARIABLE}=/a/writable/folder"
        return Finding("backend cache", PROBLEM, f"{folder} is not writable", fix)
    free = system.free_bytes(folder)
    if free is None:
        return Finding("backend cache", UNKNOWN, f"{folder}, free space unknown")
    detail = f"{folder}, {free // _MEBIBYTE} MiB free"
    if free // _MEBIBYTE < _MIN_DISK_MIB:
        return Finding("backend cache", PROBLEM, detail, f"export {CACHE_VARIABLE}=/a/folder/with/more/space")
    return Finding("backend cache", OK, detail)
