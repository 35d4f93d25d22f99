"""The doctor's look at what NVIDIA brings: JetPack, TensorRT and its Python binding, CUDA, the power mode.

Which JetPack has which L4T, TensorRT and CUDA: NVIDIA's JetPack archive and release notes.
"""

from __future__ import annotations

import json
import re
from typing import Iterator

from edge_msa_runtime.benchmark.conditions import power_mode
from edge_msa_runtime.doctor.findings import OK, UNKNOWN, WRONG, Finding
from edge_msa_runtime.system import Interpreter, System

_RELEASE = re.compile(r"R(\d+) \(release\), REVISION: ([\d.]+)")
_MODE = re.compile(r"POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)")
# By the beginning of the L4T release, the most exact last.
_JETPACKS = {
    "35": "5.1",
    "35.1": "5.0.2",
    "36.3": "6.0",
    "36.4": "6.1",
    "36.4.3": "6.2",
    "36.4.4": "6.2.1",
    "36.5": "6.2.2",
    "38.2": "7.0",
    "38.4": "7.1",
    "39.2": "7.2",
}
_OLDEST_L4T = (35, 2)
_GPU_NODES = ("/dev/nvidia0", "/dev/nvhost-gpu", "/dev/nvgpu")
_JETPACK_MEND = "sudo apt-get update && sudo apt-get install nvidia-jetpack"


def is_jetson(system: System) -> bool:
    """Whether the board is NVIDIA's."""
    return "nvidia,tegra" in (system.text("/proc/device-tree/compatible") or "") or l4t_release(system) is not None


def l4t_release(system: System) -> str | None:
    """The release of Jetson Linux, `36.4.3`."""
    told = _RELEASE.search(system.text("/etc/nv_tegra_release") or "")
    if told:
        return f"{told[1]}.{told[2]}"
    version = system.packages("nvidia-l4t-core").get("nvidia-l4t-core")
    return version.partition("-")[0] if version else None


def jetpack_of(release: str) -> str | None:
    """The JetPack that has an L4T release, or None where it is not known."""
    known = [start for start in _JETPACKS if release == start or release.startswith(f"{start}.")]
    return _JETPACKS[max(known, key=len)] if known else None


def jetson_findings(system: System, interpreter: Interpreter, *, needed: bool) -> Iterator[Finding]:
    """JetPack and what comes with it; nothing on a machine without NVIDIA, unless a bundle needs it."""
    jetson = is_jetson(system)
    if jetson:
        yield _jetpack(system)
        yield _power(system)
    if jetson or needed or interpreter.version_of("tensorrt")[0]:
        yield _gpu(system, jetson=jetson)
        yield _cuda(system, jetson=jetson)
        yield _library(system, jetson=jetson)
        yield _binding(system, interpreter)
        yield _cuda_python(system, interpreter)


def _jetpack(system: System) -> Finding:
    release = l4t_release(system)
    if release is None:
        return Finding("JetPack", UNKNOWN, "L4T is not told here; in a container mount /etc/nv_tegra_release")
    jetpack = jetpack_of(release)
    told = f"L4T {release}, JetPack {jetpack or 'not known to this version'}"
    if tuple(int(part) for part in release.split(".")[:2] if part.isdigit()) < _OLDEST_L4T:
        flash = "flash JetPack 5.1 or later with NVIDIA SDK Manager"
        return Finding("JetPack", WRONG, f"{told}: TensorRT 8.5 needs 5.1", flash)
    return Finding("JetPack", OK if jetpack else UNKNOWN, told)


def _power(system: System) -> Finding:
    mode = power_mode(system)
    if not mode:
        return Finding("power mode", UNKNOWN, "nvpmodel does not tell", "sudo nvpmodel -q")
    modes = {name: number for number, name in _MODE.findall(system.text("/etc/nvpmodel.conf") or "")}
    fastest = next((name for name in modes if name.startswith("MAXN")), None)
    if fastest is None or mode.startswith("MAXN"):
        return Finding("power mode", OK, mode)
    return Finding("power mode", WRONG, f"{mode}, {fastest} is faster", f"sudo nvpmodel -m {modes[fastest]}")


def _gpu(system: System, *, jetson: bool) -> Finding:
    node = next((node for node in _GPU_NODES if system.exists(node)), None)
    if node is not None:
        return Finding("GPU", OK, node)
    inside = system.exists("/.dockerenv") or system.exists("/run/.containerenv")
    if inside:
        return Finding("GPU", WRONG, "none is seen in this container", "docker run --runtime nvidia ...")
    fix = "flash JetPack with NVIDIA SDK Manager" if jetson else "install NVIDIA's driver"
    return Finding("GPU", WRONG, f"none of {', '.join(_GPU_NODES)} is there", fix)


def _cuda(system: System, *, jetson: bool) -> Finding:
    version = cuda_version(system)
    if version:
        return Finding("CUDA", OK, version)
    return Finding("CUDA", WRONG, "not installed", _JETPACK_MEND if jetson else "install NVIDIA's CUDA toolkit")


def cuda_version(system: System) -> str | None:
    """As /usr/local/cuda tells it, else the runtime's package."""
    try:
        return str(json.loads(system.text("/usr/local/cuda/version.json") or "{}")["cuda"]["version"])
    except (ValueError, KeyError, TypeError):
        versions = list(system.packages("cuda-cudart-[0-9]*").values())
        return versions[0].partition("-")[0] if versions else None


def _library(system: System, *, jetson: bool) -> Finding:
    versions = [version for name, version in system.packages("libnvinfer[0-9]*").items() if name[10:].isdigit()]
    if versions:
        return Finding("TensorRT", OK, versions[0].partition("-")[0])
    fix = "sudo apt-get install tensorrt" if jetson else "install NVIDIA's TensorRT"
    return Finding("TensorRT", WRONG, "no package libnvinfer is installed", fix)


def _binding(system: System, interpreter: Interpreter) -> Finding:
    version, reason = interpreter.version_of("tensorrt")
    topic, shown = "TensorRT, Python", f"{interpreter.version[0]}.{interpreter.version[1]}"
    if version is not None:
        return Finding(topic, OK, version)
    if not system.packages("python3-libnvinfer"):
        return Finding(topic, WRONG, "no package python3-libnvinfer", "sudo apt-get install python3-libnvinfer")
    if interpreter.virtual and not interpreter.sees_system:
        fix = "python3 -m venv --system-site-packages ENVIRONMENT"
        return Finding(topic, WRONG, "this virtual environment does not see the system's packages", fix)
    fix = "use the Python that JetPack has: /usr/bin/python3"
    return Finding(topic, WRONG, f"the binding is there, Python {shown} does not import it: {reason}", fix)


def _cuda_python(system: System, interpreter: Interpreter) -> Finding:
    for module in ("cuda.bindings.runtime", "cuda.cudart"):
        version, reason = interpreter.version_of(module)
        if version is not None:
            return Finding("cuda-python", OK, f"there, {module}")
    return Finding("cuda-python", WRONG, reason, f"python3 -m pip install '{cuda_python(system)}'")


def cuda_python(system: System) -> str:
    """The requirement of cuda-python that goes with the CUDA here: `cuda-python>=12,<13`."""
    major = (cuda_version(system) or "").partition(".")[0]
    return f"cuda-python>={major},<{int(major) + 1}" if major.isdigit() else "cuda-python"
