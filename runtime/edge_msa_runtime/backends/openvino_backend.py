"""OpenVINO, on the CPU unless told otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edge_msa_runtime.backends.base import Backend, BackendOptions, Program, first_line, is_device
from edge_msa_runtime.backends.tensorrt.plan_cache import cache_folder, model_digest, writable
from edge_msa_runtime.errors import BackendUnavailableError, BundleError, InferenceError


class OpenVinoBackend(Backend):
    """Runs `.onnx` or `.xml` files for the least latency on `CPU`, `GPU`, `GPU.1` or `NPU`.

    One device, never AUTO, which decides behind one's back. A GPU and an NPU take long to compile for, so what was
    compiled is kept under the backend cache, in a folder that names the graph's content: the vendor's own key is the
    file's place and date.
    """

    name = "openvino"

    def __init__(self, options: BackendOptions) -> None:
        try:
            import openvino
        except ImportError as error:
            raise BackendUnavailableError(
                f"openvino cannot be imported ({first_line(error)}); run: pip install openvino"
            ) from error
        self._vendor: Any = openvino
        self._core = openvino.Core()
        self.version = str(openvino.__version__).split("-", maxsplit=1)[0]
        self.device = options.device or "CPU"
        self._threads = options.threads
        there = tuple(self._core.available_devices)
        if not any(is_device(name, self.device) for name in there):
            raise BackendUnavailableError(
                f"openvino has no device {self.device!r} here; there are: {', '.join(there)}{_driver(self.device)}"
            )

    def load(self, path: Path, precision: str = "fp32") -> Program:
        """Load an ONNX graph, which makes the same kernels as an IR of it at less than half of its size, or an IR."""
        if not path.is_file():
            raise BundleError(f"{path.name} is not there; copy the bundle again")
        settings = self._settings(path, precision)
        try:
            # By its path: only then a cached one is taken without prediction the graph.
            return _OpenVinoProgram(self._vendor, self._core.compile_model(str(path), self.device, settings))
        except Exception as error:  # the vendor's errors share no root
            raise BackendUnavailableError(
                f"openvino {self.version} cannot load {path.name} on {self.device}: {_reason(error)}; "
                "update openvino or use another --backend or --device"
            ) from error

    def _settings(self, path: Path, precision: str) -> dict[str, Any]:
        kind = self.device.split(".")[0]
        if kind == "NPU" and precision == "fp32":
            raise BackendUnavailableError("an NPU computes in float16: give --precision fp16 or int8")
        # A CPU that has bf16 or f16 would use it unasked, and answers would differ from machine to machine. On a GPU
        # and an NPU what is not quantized runs in f16, as int8 would lose to fp16 otherwise.
        half = kind != "CPU" and precision != "fp32"
        settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f16" if half else "f32"}
        if kind == "CPU":
            settings.update({"NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": self._threads})
        else:
            settings["CACHE_DIR"] = str(writable(cache_folder() / "openvino" / model_digest(path)))
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
            raise InferenceError(f"openvino failed: {first_line(error)}; report it with the bundle") from error

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


def _driver(device: str) -> str:
    """What a device other than the CPU needs to be there."""
    kind = device.split(".", maxsplit=1)[0]
    needs = {"GPU": "Intel's OpenCL runtime (intel-opencl-icd)", "NPU": "Intel's NPU driver (linux-npu-driver)"}
    return f"; an Intel {kind} shows when {needs[kind]} is installed" if kind in needs else ""


def _reason(error: object) -> str:
    """The line of the vendor's message that says something: the places in its sources come first."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in lines if line and not line.startswith("Exception from")), first_line(error))
