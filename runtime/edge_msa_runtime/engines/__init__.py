"""Engines by name; a vendor's package is imported when its engine is opened, never before."""

from __future__ import annotations

from difflib import get_close_matches

from edge_msa_runtime.engines.base import Engine, EngineOptions, Program
from edge_msa_runtime.errors import UsageError

ENGINES = ("onnxruntime", "openvino", "tensorrt")

__all__ = ["ENGINES", "Engine", "EngineOptions", "Program", "check_engine_name", "open_engine"]


def check_engine_name(name: str) -> None:
    """Refuse a name that is no engine's.

    Raises:
        UsageError: with the names there are, and the closest.
    """
    if name not in ENGINES:
        close = get_close_matches(name, ENGINES, n=1, cutoff=0.5)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise UsageError(f"unknown engine {name!r}{hint}; there are {', '.join(ENGINES)}")


def open_engine(name: str, options: EngineOptions | None = None) -> Engine:
    """Open an engine.

    Args:
        name: one of `ENGINES`.
        options: how it is to run; one thread on its usual device when not given.

    Raises:
        UsageError: there is no such engine.
        EngineUnavailableError: it is not installed, or its device is missing; the message has the command to run.
    """
    check_engine_name(name)
    chosen = options if options is not None else EngineOptions()
    if name == "onnxruntime":
        from edge_msa_runtime.engines.onnxruntime_engine import OnnxRuntimeEngine

        return OnnxRuntimeEngine(chosen)
    if name == "openvino":
        from edge_msa_runtime.engines.openvino_engine import OpenVinoEngine

        return OpenVinoEngine(chosen)
    from edge_msa_runtime.engines.tensorrt_engine import TensorRTEngine

    return TensorRTEngine(chosen)
