"""Checks of NVIDIA's software: JetPack, power mode, GPU, CUDA, and TensorRT with its Python binding.

NVIDIA's JetPack archive and release notes list the L4T, TensorRT and CUDA of each JetPack.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Iterator

from edge_msa_runtime.backend_info import tensorrt_requirement
from edge_msa_runtime.benchmark.conditions import power_mode
from edge_msa_runtime.doctor.findings import OK, PROBLEM, UNKNOWN, Finding
from edge_msa_runtime.doctor.interpreter import Interpreter, pip_install_command
from edge_msa_runtime.system import System

if TYPE_CHECKING:
    from edge_msa_runtime.bundle.manifest import Manifest

TENSORRT_BINDING = "TensorRT for Python"
_RELEASE = re.compile(r"R(\d+) \(release\), REVISION: ([\d.]+)")
_MODE = re.compile(r"POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)")
# JetPack by prefix of the L4T release. The longest matching prefix counts.
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
_INSTALL_JETPACK = "sudo apt-get update && sudo apt-get install nvidia-jetpack"


def is_jetson(system: System) -> bool:
    """Return whether the board is an NVIDIA Jetson."""
    return "nvidia,tegra" in (system.read_text("/proc/device-tree/compatible") or "") or l4t_release(system) is not None


def l4t_release(system: System) -> str | None:
    """Return the release of Jetson Linux, such as `36.4.3`."""
    match = _RELEASE.search(system.read_text("/etc/nv_tegra_release") or "")
    if match:
        return f"{match[1]}.{match[2]}"
    version = system.installed_packages("nvidia-l4t-core").get("nvidia-l4t-core")
    return version.partition("-")[0] if version else None


def jetpack_version(release: str) -> str | None:
    """Return the JetPack version that contains an L4T release, or None if it is unknown."""
    prefixes = [prefix for prefix in _JETPACKS if release == prefix or release.startswith(f"{prefix}.")]
    return _JETPACKS[max(prefixes, key=len)] if prefixes else None


def cuda_version(system: System) -> str | None:
    """Return the version of CUDA from /usr/local/cuda, or from the package of its runtime."""
    try:
        return str(json.loads(system.read_text("/usr/local/cuda/version.json") or "{}")["cuda"]["version"])
    except (ValueError, KeyError, TypeError):
        versions = list(system.installed_packages("cuda-cudart-[0-9]*").values())
        return versions[0].partition("-")[0] if versions else None


def cuda_python_requirement(system: System) -> str:
    """Return the requirement of cuda-python that matches the installed CUDA, such as `cuda-python>=12,<13`."""
    major = (cuda_version(system) or "").partition(".")[0]
    return f"cuda-python>={major},<{int(major) + 1}" if major.isdigit() else "cuda-python"


def check_nvidia(system: System, interpreter: Interpreter, manifest: Manifest | None = None) -> Iterator[Finding]:
    """Check NVIDIA's software on a Jetson, where TensorRT is installed, or if a bundle needs it.

    On other machines, TensorRT may come from pip, which needs the driver, but no CUDA toolkit and no system package.
    """
    needed = manifest is not None and "tensorrt" in manifest.backends
    jetson = is_jetson(system)
    if jetson:
        yield _check_jetpack(system)
        yield _check_power_mode(system)
    if jetson or needed or interpreter.try_import("tensorrt").version:
        yield _check_gpu(system, jetson=jetson)
        if jetson:
            yield _check_cuda(system)
            yield _check_tensorrt(system)
            yield _check_tensorrt_binding(system, interpreter)
            yield _check_cuda_python(interpreter, cuda_python_requirement(system))
        else:
            yield _check_pip_tensorrt(system, interpreter, manifest)
            yield _check_cuda_python(interpreter, "cuda-python")


def _check_jetpack(system: System) -> Finding:
    release = l4t_release(system)
    if release is None:
        detail = "The L4T release is unknown. In a container, mount /etc/nv_tegra_release."
        return Finding("JetPack", UNKNOWN, detail)
    jetpack = jetpack_version(release)
    detail = f"L4T {release}, " + (f"JetPack {jetpack}" if jetpack else "unknown JetPack version")
    if tuple(int(part) for part in release.split(".")[:2] if part.isdigit()) < _OLDEST_L4T:
        fix = "Flash JetPack 5.1 or later with NVIDIA SDK Manager."
        return Finding("JetPack", PROBLEM, f"{detail}; TensorRT 8.5 needs JetPack 5.1", fix)
    return Finding("JetPack", OK if jetpack else UNKNOWN, detail)


def _check_power_mode(system: System) -> Finding:
    mode = power_mode(system)
    if not mode:
        return Finding("power mode", UNKNOWN, "nvpmodel does not report it", "sudo nvpmodel -q")
    modes = {name: number for number, name in _MODE.findall(system.read_text("/etc/nvpmodel.conf") or "")}
    fastest = next((name for name in modes if name.startswith("MAXN")), None)
    if fastest is None or mode.startswith("MAXN"):
        return Finding("power mode", OK, mode)
    return Finding("power mode", PROBLEM, f"{mode}; {fastest} is faster", f"sudo nvpmodel -m {modes[fastest]}")


def _check_gpu(system: System, *, jetson: bool) -> Finding:
    node = next((node for node in _GPU_NODES if system.exists(node)), None)
    if node is not None:
        return Finding("GPU", OK, node)
    if system.is_container():
        return Finding("GPU", PROBLEM, "not visible in this container", "docker run --runtime nvidia ...")
    fix = "Flash JetPack with NVIDIA SDK Manager." if jetson else "Install NVIDIA's driver."
    return Finding("GPU", PROBLEM, f"none of {', '.join(_GPU_NODES)} exists", fix)


def _check_cuda(system: System) -> Finding:
    version = cuda_version(system)
    return Finding("CUDA", OK, version) if version else Finding("CUDA", PROBLEM, "not installed", _INSTALL_JETPACK)


def _check_tensorrt(system: System) -> Finding:
    packages = system.installed_packages("libnvinfer[0-9]*")
    versions = [version for name, version in packages.items() if name[len("libnvinfer") :].isdigit()]
    if versions:
        return Finding("TensorRT", OK, versions[0].partition("-")[0])
    return Finding("TensorRT", PROBLEM, "the package libnvinfer is not installed", "sudo apt-get install tensorrt")


def _check_pip_tensorrt(system: System, interpreter: Interpreter, manifest: Manifest | None) -> Finding:
    version, reason, requirement, _ = interpreter.try_import("tensorrt")
    if version is not None:
        return Finding(TENSORRT_BINDING, OK, version)
    if requirement == "tensorrt":
        needed = None if manifest is None else tensorrt_requirement(manifest.profile)
        requirement = f"'{needed}'" if needed else requirement
    return Finding(TENSORRT_BINDING, PROBLEM, reason, pip_install_command(system, interpreter, requirement))


def _check_tensorrt_binding(system: System, interpreter: Interpreter) -> Finding:
    version, reason, requirement, _ = interpreter.try_import("tensorrt")
    if version is not None:
        return Finding(TENSORRT_BINDING, OK, version)
    if "numpy" in requirement:
        fix = pip_install_command(system, interpreter, requirement)
        return Finding(TENSORRT_BINDING, PROBLEM, reason, fix)
    if not system.installed_packages("python3-libnvinfer"):
        detail = "the package python3-libnvinfer is not installed"
        return Finding(TENSORRT_BINDING, PROBLEM, detail, "sudo apt-get install python3-libnvinfer")
    if interpreter.is_virtual and not interpreter.sees_system_packages:
        detail = "this virtual environment does not include the system's packages"
        return Finding(TENSORRT_BINDING, PROBLEM, detail, "python3 -m venv --system-site-packages ENVIRONMENT")
    detail = f"installed, but Python {interpreter.version_text} cannot import it: {reason}"
    return Finding(TENSORRT_BINDING, PROBLEM, detail, "Use JetPack's own Python: /usr/bin/python3")


def _check_cuda_python(interpreter: Interpreter, requirement: str) -> Finding:
    reason = ""
    for module in ("cuda.bindings.runtime", "cuda.cudart"):
        version, reason, *_ = interpreter.try_import(module)
        if version is not None:
            return Finding("cuda-python", OK, f"installed ({module})")
    fix = f"python3 -m pip install '{requirement}'"
    return Finding("cuda-python", PROBLEM, reason, fix)
