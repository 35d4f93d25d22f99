"""A description of this machine, and checks of what it can measure."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_msa_runtime.backends import open_backend
from edge_msa_runtime.benchmark import conditions
from edge_msa_runtime.bundle.loader import open_bundle
from edge_msa_runtime.errors import BackendUnavailableError, EdgeMsaError

ANY_ARCHITECTURE = "any"
"""The architecture of profiles whose graphs run on all CPUs."""
_ARCHITECTURES = {"AMD64": "x86_64", "arm64": "aarch64"}  # the names that Windows and macOS use


def matches_profile(profile: Mapping[str, Any]) -> bool:
    """Return whether this machine has the processor architecture of a device profile.

    Latency that is measured on another architecture says nothing about the device.
    """
    return profile.get("architecture") in (normalize_architecture(platform.machine()), ANY_ARCHITECTURE)


def can_run(bundle: Path) -> bool:
    """Return whether a bundle is for a device of this machine's architecture, and one of its backends runs here."""
    try:
        manifest = open_bundle(bundle).manifest
    except EdgeMsaError:
        return False
    return matches_profile(manifest.profile) and any(unavailable_reason(name) is None for name in manifest.backends)


def normalize_architecture(machine: str) -> str:
    """Return the name that device profiles use for an architecture that the operating system reports."""
    return _ARCHITECTURES.get(machine, machine)


def describe_machine() -> dict[str, str]:
    """Return the processor, the system and the package versions that benchmark results depend on."""
    return conditions.describe_machine() | {name: _version(name) for name in ("onnxruntime", "openvino")}


def unavailable_reason(backend: str) -> str | None:
    """Return why a backend cannot run on this machine, or None if it can."""
    try:
        open_backend(backend)
    except BackendUnavailableError as error:
        return str(error)
    return None


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
