"""Backends by name. A vendor's package is imported only when its backend is opened."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Callable, Mapping, Sequence

from edge_msa_runtime.backend_info import BACKENDS
from edge_msa_runtime.backends.base import Backend, BackendOptions, Program
from edge_msa_runtime.errors import UsageError

__all__ = ["BACKENDS", "Backend", "BackendOptions", "Program", "check_backend_name", "open_backend"]


def check_backend_name(name: str, available: Sequence[str] = BACKENDS) -> None:
    """Check that a name is one of `BACKENDS`.

    Args:
        name: the name.
        available: the backends that the message lists, such as those of a bundle.

    Raises:
        UsageError: the name is unknown. The message lists the available names and suggests the closest one.
    """
    if name not in BACKENDS:
        close = get_close_matches(name, BACKENDS, n=1, cutoff=0.5)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise UsageError(f"Unknown backend {name!r}.{hint} Available: {', '.join(available)}.")


def open_backend(name: str, options: BackendOptions | None = None) -> Backend:
    """Open a backend.

    Args:
        name: one of `BACKENDS`.
        options: thread count and device. None: one thread on the backend's default device.

    Raises:
        UsageError: the name is unknown.
        BackendUnavailableError: the backend is not installed or its device is missing. The message names the command
            that fixes it.
    """
    check_backend_name(name)
    return _OPENERS[name](options if options is not None else BackendOptions())


def _open_onnxruntime(options: BackendOptions) -> Backend:
    from edge_msa_runtime.backends.onnxruntime_backend import OnnxRuntimeBackend

    return OnnxRuntimeBackend(options)


def _open_openvino(options: BackendOptions) -> Backend:
    from edge_msa_runtime.backends.openvino_backend import OpenVinoBackend

    return OpenVinoBackend(options)


def _open_tensorrt(options: BackendOptions) -> Backend:
    from edge_msa_runtime.backends.tensorrt.backend import TensorRTBackend

    return TensorRTBackend(options)


_OPENERS: Mapping[str, Callable[[BackendOptions], Backend]] = {
    "onnxruntime": _open_onnxruntime,
    "openvino": _open_openvino,
    "tensorrt": _open_tensorrt,
}
