"""The doctor's look at a bundle: whether this is a device of its target's kind, and which of its backends can run."""

from __future__ import annotations

from typing import Any, Iterator, Mapping, Sequence

from edge_msa_runtime.backends.tensorrt.vendor import check_target
from edge_msa_runtime.bundle.manifest import Manifest
from edge_msa_runtime.doctor.findings import OK, UNKNOWN, WRONG, Finding
from edge_msa_runtime.doctor.jetson import jetpack_of, l4t_release
from edge_msa_runtime.doctor.machine import has_dot_products, memory_mib
from edge_msa_runtime.errors import BackendUnavailableError
from edge_msa_runtime.system import Interpreter, System

_ARCHITECTURES = {"AMD64": "x86_64", "arm64": "aarch64"}  # as Windows and macOS call them
_NEEDED = {"tensorrt": ("GPU", "CUDA", "TensorRT, Python", "cuda-python", "bundle's TensorRT")}
# A board tells a little less than it has: some is the GPU's or the firmware's for good.
_TOLD_SHARE = 0.85


def bundle_findings(
    manifest: Manifest, system: System, interpreter: Interpreter, found: Sequence[Finding]
) -> list[Finding]:
    """What a bundle asks of the device, after `found` was found of the device itself."""
    profile = manifest.profile
    fits = [*_kind(profile, system, interpreter), *_jetpack(profile, system), *_tensorrt(manifest, interpreter)]
    return [*fits, _backend(manifest, [*found, *fits])]


def _kind(profile: Mapping[str, Any], system: System, interpreter: Interpreter) -> Iterator[Finding]:
    here = _ARCHITECTURES.get(interpreter.machine, interpreter.machine)
    wanted = profile.get("architecture", here)
    another = "edge-msa export --target, on the workstation, one of edge-msa devices"
    if wanted == here:
        yield Finding("bundle's kind", OK, f"{wanted}, as here")
    else:
        yield Finding("bundle's kind", WRONG, f"it is for {wanted}, this is {here}: int8 is laid out for that", another)
    if profile.get("vnni") and has_dot_products(system) is False:
        avx2 = "edge-msa export --target laptop-x86-avx2, on the workstation"
        yield Finding("bundle's int8", WRONG, "it needs VNNI, without which 8-bit products saturate here", avx2)
    asked, total = profile.get("memory_mib"), memory_mib(system, "MemTotal")
    if asked and total is not None and total < _TOLD_SHARE * asked:
        yield Finding("bundle's memory", WRONG, f"its target has {asked} MiB, this has {total}", another)


def _jetpack(profile: Mapping[str, Any], system: System) -> Iterator[Finding]:
    release = l4t_release(system)
    if not profile.get("jetpack") or release is None:
        return
    here = jetpack_of(release)
    same = here is not None and here.split(".")[:2] == str(profile["jetpack"]).split(".")[:2]
    told = f"its target has {profile['jetpack']}, this has {here or f'L4T {release}'}"
    # What counts is TensorRT, which is looked at by itself.
    yield Finding("bundle's JetPack", OK if same else UNKNOWN, told)


def _tensorrt(manifest: Manifest, interpreter: Interpreter) -> Iterator[Finding]:
    version, _ = interpreter.version_of("tensorrt")
    if "tensorrt" not in manifest.backends or version is None:
        return
    try:
        check_target(manifest.profile, version)
    except BackendUnavailableError as error:
        what, _, fix = str(error).partition("; ")
        yield Finding("bundle's TensorRT", WRONG, what, fix)
    else:
        yield Finding("bundle's TensorRT", OK, f"made for {manifest.profile.get('tensorrt', 'any')}, here is {version}")


def _backend(manifest: Manifest, found: Sequence[Finding]) -> Finding:
    """The first of the bundle's backends that can run here."""
    wrong = {finding.topic: finding for finding in found if finding.state == WRONG}
    held = {
        name: [wrong[topic] for topic in _NEEDED.get(name, (name,)) if topic in wrong] for name in manifest.backends
    }
    able = [name for name, reasons in held.items() if not reasons]
    first = manifest.backends[0]
    if not able:
        reason = held[first][0]
        return Finding("backend", WRONG, f"none of {', '.join(held)} can run", reason.fix, stops=True)
    if able[0] == first:
        return Finding("backend", OK, f"{first} at {manifest.precision.get(first, 'no precision')}")
    told = f"{first} cannot run ({held[first][0].topic}), {able[0]} would in its place"
    return Finding("backend", WRONG, told, held[first][0].fix)
