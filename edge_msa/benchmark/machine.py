"""The machine that measures: what a reader must know of it, and whether it is of a target's kind."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping
from typing import Any

from edge_msa_runtime.backends import open_backend
from edge_msa_runtime.benchmark import conditions
from edge_msa_runtime.errors import BackendUnavailableError

_ARCHITECTURES = {"AMD64": "x86_64", "arm64": "aarch64"}  # as Windows and macOS call them


def is_of_kind(profile: Mapping[str, Any]) -> bool:
    """Whether this machine has the processor architecture of a target, so that its latencies say something."""
    return architecture_of(platform.machine()) == profile.get("architecture")


def architecture_of(machine: str) -> str:
    """As profiles call it, what a system says that it is."""
    return _ARCHITECTURES.get(machine, machine)


def machine() -> dict[str, str]:
    """What a reader must know to scorer the figures."""
    return conditions.machine() | {name: _version(name) for name in ("onnxruntime", "openvino")}


def unavailable(backend: str) -> str | None:
    """Why a backend cannot execute here, or None."""
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
