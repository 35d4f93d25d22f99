"""OpenVINO, on the CPU unless told otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edge_msa_runtime.engines.base import Engine, EngineOptions, Program, first_line
from edge_msa_runtime.errors import BundleError, EngineUnavailableError, RuntimeFailure


class OpenVinoEngine(Engine):
    """Runs `.onnx` files for the least latency; one device, never AUTO, which decides behind one's back."""

    name = "openvino"

    def __init__(self, options: EngineOptions) -> None:
        try:
            import openvino
        except ImportError as error:
            raise EngineUnavailableError(
                f"openvino cannot be imported ({first_line(error)}); run: pip install openvino"
            ) from error
        self._vendor: Any = openvino
        self._core = openvino.Core()
        self.version = str(openvino.__version__).split("-", maxsplit=1)[0]
        self.device = options.device or "CPU"
        self._threads = options.threads
        families = {name.split(".")[0] for name in self._core.available_devices}
        if self.device not in families.union(self._core.available_devices):
            raise EngineUnavailableError(
                f"openvino has no device {self.device!r} here; there are: {', '.join(self._core.available_devices)}"
            )

    def load(self, path: Path, precision: str = "fp32") -> Program:
        """Load an ONNX graph, which makes the same kernels as an IR of it at less than half of its size."""
        if not path.is_file():
            raise BundleError(f"{path.name} is not there; copy the bundle again")
        try:
            compiled = self._core.compile_model(
                self._core.read_model(str(path)), self.device, self._settings(precision)
            )
            return _OpenVinoProgram(self._vendor, compiled)
        except Exception as error:  # the vendor's errors share no root
            raise EngineUnavailableError(
                f"openvino {self.version} cannot load {path.name} on {self.device}: {first_line(error)}; "
                "update openvino or use another --engine"
            ) from error

    def _settings(self, precision: str) -> dict[str, Any]:
        # A CPU that has bf16 or f16 would use it unasked, and answers would differ from machine to machine.
        half = precision == "fp16" and self.device != "CPU"
        settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f16" if half else "f32"}
        if self.device == "CPU":
            settings.update({"NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": self._threads})
        return settings


class _OpenVinoProgram(Program):
    """A request whose tensors are NumPy's memory, bound once: `infer(dict)` costs 150 us more a call."""

    def __init__(self, vendor: Any, compiled: Any) -> None:
        self._request = compiled.create_infer_request()
        self.device = ",".join(str(device) for device in compiled.get_property("EXECUTION_DEVICES"))
        self.inputs = {
            port.any_name: np.zeros(_static(port), dtype=port.element_type.to_dtype()) for port in compiled.inputs
        }
        self.outputs = {
            _output_name(port): np.zeros(_static(port), dtype=port.element_type.to_dtype()) for port in compiled.outputs
        }
        for port in compiled.inputs:
            self._request.set_tensor(port, vendor.Tensor(self.inputs[port.any_name], shared_memory=True))
        for port in compiled.outputs:
            self._request.set_tensor(port, vendor.Tensor(self.outputs[_output_name(port)], shared_memory=True))

    def run(self) -> None:
        try:
            self._request.infer(share_outputs=True)
        except Exception as error:  # the vendor's errors share no root
            raise RuntimeFailure(f"openvino failed: {first_line(error)}; report it with the bundle") from error

    def close(self) -> None:
        self._request = None


def _output_name(port: Any) -> str:
    """The graph's own name of an output: one that repeats another tensor has both names up to OpenVINO 2025."""
    own = str(port.get_node().get_friendly_name()).partition("/sink_port_")[0]
    return own if own in port.get_names() else str(port.any_name)


def _static(port: Any) -> tuple[int, ...]:
    if port.partial_shape.is_dynamic:
        raise ValueError(f"{port.any_name} has shape {port.partial_shape}, every size must be a number")
    return tuple(int(size) for size in port.shape)
