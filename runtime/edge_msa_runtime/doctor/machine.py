"""The doctor's look at the machine: board, processor, clocks, warmth, memory, and where built backends are kept."""

from __future__ import annotations

from typing import Iterator

from edge_msa_runtime.backends.tensorrt.plan_cache import cache_folder
from edge_msa_runtime.benchmark.conditions import conditions, processor, throttled
from edge_msa_runtime.doctor.findings import OK, UNKNOWN, WRONG, Finding
from edge_msa_runtime.system import Interpreter, System

_MEBIBYTE = 1 << 20
_LEAST_MEMORY_MIB, _LEAST_DISK_MIB = 512, 256
# Passive cooling of Orin and of the Raspberry Pi 5 begins at 85 °C (NVIDIA's Jetson Linux guide, "Thermal
# Specifications"; Raspberry Pi documentation, "Frequency management and thermal control").
_HOT_CELSIUS = 85.0
_CPU = "/sys/devices/system/cpu/cpu[0-9]*/cpufreq"
# Raspberry Pi documentation, "vcgencmd": bits 0 and 16 are under-voltage, now and since boot.
_UNDER_VOLTAGE = 0x10001


def machine_findings(system: System, interpreter: Interpreter) -> Iterator[Finding]:
    """What is so on any device."""
    board = system.text("/proc/device-tree/model") or system.text("/sys/class/dmi/id/product_name")
    yield Finding("board", OK if board else UNKNOWN, board or "not told by this system")
    if system.exists("/.dockerenv") or system.exists("/run/.containerenv"):
        yield Finding("container", OK, "this is one: what it does not see of the device is unknown here")
    yield Finding("processor", OK, f"{interpreter.machine}, {processor(system)}; {_dot_products(system)}")
    yield _clocks(system)
    yield from _warmth(system)
    yield _memory(system)
    yield _cache(system)


def has_dot_products(system: System) -> bool | None:
    """Whether the processor multiplies 8-bit integers without saturation (x86) or at speed (ARM); None: not told."""
    for line in (system.text("/proc/cpuinfo") or "").splitlines():
        name, _, flags = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return bool({"avx512_vnni", "avx_vnni", "asimddp"}.intersection(flags.split()))
    return None


def _dot_products(system: System) -> str:
    return {True: "8-bit dot products", False: "no 8-bit dot products", None: "8-bit dot products unknown"}[
        has_dot_products(system)
    ]


def _clocks(system: System) -> Finding:
    low, high = (list(system.texts(f"{_CPU}/scaling_{end}_freq").values()) for end in ("min", "max"))
    if not high:
        return Finding("clocks", UNKNOWN, "not told by this system, as in a virtual machine")
    state = conditions(system)
    told = f"governor {state.get('governor', 'unknown')}, CPU {state.get('cpu_mhz', '?')} of {state['cpu_max_mhz']} MHz"
    if low == high:
        return Finding("clocks", OK, f"{told}, fixed")
    if state.get("governor") == "performance":
        return Finding("clocks", OK, told)
    jetson = system.text("/etc/nv_tegra_release") is not None
    pinned = "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
    return Finding("clocks", WRONG, f"{told}: figures vary with load", "sudo jetson_clocks" if jetson else pinned)


def _warmth(system: System) -> Iterator[Finding]:
    warmest = conditions(system).get("temperature")
    if warmest is None:
        yield Finding("temperature", UNKNOWN, "not told by this system")
    elif float(warmest.split()[0]) >= _HOT_CELSIUS:
        yield Finding("temperature", WRONG, f"{warmest} °C: clocks are held down", "give it a fan, or let it cool down")
    else:
        yield Finding("temperature", OK, f"{warmest} °C")
    held = throttled(system)
    if not held:
        return
    weak = held.startswith("0x") and bool(int(held, 16) & _UNDER_VOLTAGE)
    fix = "use the power supply that is made for the board" if weak else "give it a fan, or let it cool down"
    yield Finding("throttling", WRONG, f"{held} since boot{', under-voltage' if weak else ''}", fix)


def memory_mib(system: System, name: str = "MemAvailable") -> int | None:
    """A row of /proc/meminfo in MiB, or None where there is none."""
    for line in (system.text("/proc/meminfo") or "").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) // 1024
    return None


def _memory(system: System) -> Finding:
    free, total = memory_mib(system), memory_mib(system, "MemTotal")
    if free is None or total is None:
        return Finding("memory", UNKNOWN, "not told by this system")
    told = f"{free} of {total} MiB are free"
    if free >= _LEAST_MEMORY_MIB:
        return Finding("memory", OK, told)
    return Finding(
        "memory", WRONG, told, "close other programs; a desktop takes 800 MiB: sudo systemctl isolate multi-user"
    )


def _cache(system: System) -> Finding:
    folder = cache_folder().absolute()
    if not system.can_write(folder):
        return Finding(
            "backend cache", WRONG, f"{folder} cannot be written", "export EDGE_MSA_CACHE=/a/folder/that/can"
        )
    free = system.free_bytes(folder)
    if free is None:
        return Finding("backend cache", UNKNOWN, f"{folder}: free space is not told")
    told = f"{folder}, {free // _MEBIBYTE} MiB are free"
    if free // _MEBIBYTE < _LEAST_DISK_MIB:
        return Finding("backend cache", WRONG, told, "export EDGE_MSA_CACHE=/a/folder/with/more/space")
    return Finding("backend cache", OK, told)
