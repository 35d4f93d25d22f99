"""Backends by name; a vendor's package is imported when its backend is opened, never before."""

from __future__ import annotations

from difflib import get_close_matches

from edge_msa_runtime.backends.base import Backend, BackendOptions, Program
from edge_msa_runtime.bundle.manifest import BACKENDS
from edge_msa_runtime.errors import UsageError

__all__ = ["BACKENDS", "Backend", "BackendOptions", "Program", "check_backend_name", "open_backend"]


def check_backend_name(name: str) -> None:
    """Refuse a name that is no backend's.

    Raises:
        UsageError: with the names there are, and the closest.
    """
    if name not in BACKENDS:
        close = get_close_matches(name, BACKENDS, n=1, cutoff=0.5)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise UsageError(f"unknown backend {name!r}{hint}; there are {', '.join(BACKENDS)}")


def open_backend(name: str, options: BackendOptions | None = None) -> Backend:
    """Open a backend.

    Args:
        name: one of `BACKENDS`.
        options: how it is to run; one thread on its usual device when not given.

    Raises:
        UsageError: there is no such backend.
        BackendUnavailableError: it is not installed, or its device is missing; the message has the command to run.
    """
    check_backend_name(name)
    chosen = options if options is not None else BackendOptions()
    if name == "onnxruntime":
        from edge_msa_runtime.backends.onnxruntime_backend import OnnxRuntimeBackend

        return OnnxRuntimeBackend(chosen)
    if name == "openvino":
        from edge_msa_runtime.backends.openvino_backend import OpenVinoBackend

        return OpenVinoBackend(chosen)
    from edge_msa_runtime.backends.tensorrt.backend import TensorRTBackend

    return TensorRTBackend(chosen)
