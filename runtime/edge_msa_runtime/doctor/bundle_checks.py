"""Checks of a bundle against this device: whether it fits the bundle's target, and which backends can run."""

from __future__ import annotations

from typing import Any, Iterator, Mapping, Sequence

from edge_msa_runtime.backends.tensorrt.vendor import find_target_mismatch
from edge_msa_runtime.bundle.manifest import Manifest
from edge_msa_runtime.doctor.findings import OK, OPTIONAL, PROBLEM, UNKNOWN, Finding
from edge_msa_runtime.doctor.interpreter import Interpreter
from edge_msa_runtime.doctor.machine_checks import has_dot_products, read_meminfo_mib
from edge_msa_runtime.doctor.nvidia_checks import TENSORRT_BINDING, jetpack_version, l4t_release
from edge_msa_runtime.system import System

_BUNDLE_TENSORRT = "bundle TensorRT"
_ARCHITECTURES = {"AMD64": "x86_64", "arm64": "aarch64"}  # names on Windows and macOS
# Topics of the checks that a backend depends on. Any other backend depends only on the check with its name.
_REQUIREMENTS = {"tensorrt": ("GPU", "CUDA", TENSORRT_BINDING, "cuda-python", _BUNDLE_TENSORRT)}
# A board reports less memory than it has, because the GPU or the firmware reserves some of it.
_REPORTED_SHARE = 0.85
_OTHER_TARGET = "On the workstation, run edge-msa export --target with one of the targets in edge-msa devices."


def check_bundle(
    manifest: Manifest, system: System, interpreter: Interpreter, findings: Sequence[Finding]
) -> list[Finding]:
    """Check whether this device can run a bundle.

    Args:
        manifest: the bundle's manifest.
        system: the operating system.
        interpreter: the Python interpreter.
        findings: results of the checks of the device itself.
    """
    results = [
        *_check_target_hardware(manifest, system, interpreter),
        *_check_jetpack(manifest.profile, system),
        *_check_tensorrt(manifest, interpreter),
    ]
    return [*results, _check_backends(manifest, [*findings, *results])]


def _check_target_hardware(manifest: Manifest, system: System, interpreter: Interpreter) -> Iterator[Finding]:
    profile = manifest.profile
    architecture = _ARCHITECTURES.get(interpreter.architecture, interpreter.architecture)
    target = profile.get("architecture", architecture)
    if target in (architecture, "any"):
        yield Finding("bundle processor", OK, f"{target}, same as this device" if target != "any" else "any")
    else:
        detail = f"the bundle is for {target}, this device is {architecture}; int8 graphs depend on it"
        yield Finding("bundle processor", PROBLEM, detail, _OTHER_TARGET)
    uses_int8 = bool({"int8", "int4"}.intersection(manifest.precision.values()))
    if uses_int8 and profile.get("vnni") and has_dot_products(system) is False:
        fix = "On the workstation, run edge-msa export --target laptop-x86-avx2"
        detail = "int8 graphs need VNNI; without it, 8-bit products saturate on this device"
        yield Finding("bundle int8", PROBLEM, detail, fix)
    target_mib, total_mib = profile.get("memory_mib"), read_meminfo_mib(system, "MemTotal")
    if target_mib and total_mib is not None and total_mib < _REPORTED_SHARE * target_mib:
        detail = f"the target has {target_mib} MiB, this device has {total_mib} MiB"
        yield Finding("bundle memory", PROBLEM, detail, _OTHER_TARGET)


def _check_jetpack(profile: Mapping[str, Any], system: System) -> Iterator[Finding]:
    release = l4t_release(system)
    if not profile.get("jetpack") or release is None:
        return
    installed = jetpack_version(release)
    same = installed is not None and installed.split(".")[:2] == str(profile["jetpack"]).split(".")[:2]
    detail = f"the target has {profile['jetpack']}, this device has {installed or f'L4T {release}'}"
    # Another JetPack is not a problem. Only the TensorRT version matters, and `_check_tensorrt` checks it.
    yield Finding("bundle JetPack", OK if same else UNKNOWN, detail)


def _check_tensorrt(manifest: Manifest, interpreter: Interpreter) -> Iterator[Finding]:
    version = interpreter.try_import("tensorrt").version
    if "tensorrt" not in manifest.backends or version is None:
        return
    mismatch = find_target_mismatch(manifest.profile, version)
    if mismatch is not None:
        problem, fix = mismatch
        yield Finding(_BUNDLE_TENSORRT, PROBLEM, problem, fix)
    else:
        target = manifest.profile.get("tensorrt", "any version")
        yield Finding(_BUNDLE_TENSORRT, OK, f"the bundle is for {target}, {version} is installed")


def _check_backends(manifest: Manifest, findings: Sequence[Finding]) -> Finding:
    """Report the backend that will run: the first one in the bundle without problems."""
    problems = {finding.topic: finding for finding in findings if finding.status in (PROBLEM, OPTIONAL)}
    obstacles = {
        name: [problems[topic] for topic in _REQUIREMENTS.get(name, (name,)) if topic in problems]
        for name in manifest.backends
    }
    usable = [name for name, reasons in obstacles.items() if not reasons]
    first = manifest.backends[0]
    if not usable:
        reason = obstacles[first][0]
        detail = f"no backend of the bundle can run ({', '.join(obstacles)})"
        return Finding("backend", PROBLEM, detail, reason.fix, blocking=True)
    if usable[0] == first:
        precision = manifest.precision.get(first)
        title = manifest.describe_precision(first, precision) if precision else ""
        return Finding("backend", OK, f"{first} at {title}" if title else first)
    reason = obstacles[first][0]
    return Finding(
        "backend", reason.status, f"{first} cannot run ({reason.topic}); {usable[0]} is used instead", reason.fix
    )
