"""OpenVINO on the CPU, or on a GPU or NPU when requested."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_msa_runtime.backends.base import Backend, BackendOptions, CreateProgram, Program, matches_device
from edge_msa_runtime.backends.buffers import allocate_buffers
from edge_msa_runtime.backends.cache import cache_folder, ensure_writable, graph_digest
from edge_msa_runtime.errors import BackendUnavailableError, BundleError, InferenceError, first_line
from edge_msa_runtime.vendor_packages import import_package

_SELECTORS = ("AUTO", "BATCH", "HETERO", "MULTI")
"""Devices of OpenVINO that select other devices."""


class OpenVinoBackend(Backend):
    """Runs `.onnx` or `.xml` files with minimal latency on `CPU`, `GPU`, `GPU.1` or `NPU`.

    The backend always names one device. It never uses AUTO, which selects a device by itself. Compiling for a GPU or
    NPU is slow, so compiled graphs are stored in the backend cache. The cache folder is named after the graph's
    content, because OpenVINO's own cache key is the file's path and modification time.
    """

    name = "openvino"

    def __init__(self, options: BackendOptions) -> None:
        openvino = import_package("openvino")
        self._openvino: Any = openvino
        self._core = openvino.Core()
        self.version = str(openvino.__version__).split("-", maxsplit=1)[0]
        self.device = options.device or "CPU"
        self.options = options
        self.gains_from_batches = self.device == "CPU"  # on other devices, nobody has measured it
        available = tuple(self._core.available_devices)
        if not any(matches_device(name, self.device) for name in available):
            raise BackendUnavailableError(
                f"openvino has no device {self.device!r} here. Available: {', '.join(available)}."
                f"{_device_hint(self.device)}"
            )

    def compile(self, path: Path, precision: str = "fp32") -> CreateProgram:
        """Compile an ONNX graph or an OpenVINO IR.

        Both produce the same kernels. An ONNX graph is less than half the size of its IR. Each program is an infer
        request. On a CPU, each has a compiled graph of its own. Other devices run `workers` requests of one graph.
        """
        if not path.is_file():
            raise BundleError(f"{path.name} does not exist. Copy the bundle again.")
        settings = self._settings(path, precision)
        compiled = [self._compile(path, settings)]
        is_cpu = self.device.split(".")[0] == "CPU"

        def create_program() -> Program:
            if not compiled:
                compiled.append(self._compile(path, settings))
            try:
                return _OpenVinoProgram(self._openvino, compiled.pop() if is_cpu else compiled[0])
            except Exception as error:  # OpenVINO's exceptions have no common base class
                raise self._load_error(path, error) from error

        return create_program

    def _compile(self, path: Path, settings: dict[str, Any]) -> Any:
        try:
            # Pass the path: only then can OpenVINO load a compiled graph from the cache without parsing the file.
            return self._core.compile_model(str(path), self.device, settings)
        except Exception as error:  # as above
            raise self._load_error(path, error) from error

    def _load_error(self, path: Path, error: Exception) -> BackendUnavailableError:
        return BackendUnavailableError(
            f"openvino {self.version} cannot load {path.name} on {self.device}: {_reason(error)}. "
            "Update openvino or use another backend or device."
        )

    def _settings(self, path: Path, precision: str) -> dict[str, Any]:
        kind = self.device.split(".")[0]
        if kind == "NPU" and precision == "fp32":
            raise BackendUnavailableError("An NPU computes in float16. Use the precision fp16 or int8.")
        # A CPU with bf16 or f16 support would use it by default, and predictions would differ between machines. On a
        # GPU or NPU, layers that are not quantized run in f16; otherwise int8 would be slower than fp16.
        hint = "f16" if kind != "CPU" and precision != "fp32" else "f32"
        workers, threads = self.options.workers, self.options.threads
        settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": hint}
        if kind == "CPU":
            # With one stream, a prediction runs in the thread that calls it: a third faster than in a thread of
            # OpenVINO. Pinned threads of several processes would all sit on the first cores and wait for each other.
            settings.update({"NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": threads, "ENABLE_CPU_PINNING": False})
        else:
            if kind == "GPU" and workers > 1:
                settings["NUM_STREAMS"] = workers
            settings["CACHE_DIR"] = str(ensure_writable(cache_folder() / "openvino" / graph_digest(path)))
        return settings


class _OpenVinoProgram(Program):
    """An infer request whose tensors share memory with NumPy arrays. `infer(dict)` costs 150 us more per call."""

    def __init__(self, openvino: Any, compiled: Any) -> None:
        self._request = compiled.create_infer_request()
        self.device = ",".join(str(device) for device in compiled.get_property("EXECUTION_DEVICES"))
        self.inputs = allocate_buffers(
            (port.any_name, _static_shape(port), port.element_type.to_dtype()) for port in compiled.inputs
        )
        self.outputs = allocate_buffers(
            (_output_name(port), _static_shape(port), port.element_type.to_dtype()) for port in compiled.outputs
        )
        for port in compiled.inputs:
            self._request.set_tensor(port, openvino.Tensor(self.inputs[port.any_name], shared_memory=True))
        for port in compiled.outputs:
            self._request.set_tensor(port, openvino.Tensor(self.outputs[_output_name(port)], shared_memory=True))

    def run(self) -> None:
        try:
            self._request.infer(share_outputs=True)
        except Exception as error:  # OpenVINO's exceptions have no common base class
            raise InferenceError(f"openvino failed: {first_line(error)}. Report it with the bundle.") from error

    def close(self) -> None:
        self._request = None


def _output_name(port: Any) -> str:
    """Return the name that the graph gives an output.

    Up to OpenVINO 2025, an output that repeats another tensor has both names.
    """
    name = str(port.get_node().get_friendly_name()).partition("/sink_port_")[0]
    return name if name in port.get_names() else str(port.any_name)


def _static_shape(port: Any) -> tuple[int, ...]:
    if port.partial_shape.is_dynamic:
        raise ValueError(f"{port.any_name} must have a static shape, got {port.partial_shape}")
    return tuple(int(size) for size in port.shape)


def _device_hint(device: str) -> str:
    """Return a hint about the driver that a device needs, or about why it is not accepted."""
    kind = device.split(".", maxsplit=1)[0].partition(":")[0]
    drivers = {"GPU": "Intel's OpenCL runtime (intel-opencl-icd)", "NPU": "Intel's NPU driver (linux-npu-driver)"}
    if kind in drivers:
        return f" An Intel {kind} needs {drivers[kind]}."
    if kind in _SELECTORS:
        return f" {kind} is not accepted, because it may use another device without notice. Name one device."
    return ""


def _reason(error: object) -> str:
    """Return the first line of an OpenVINO error that does not name a place in OpenVINO's sources."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in lines if line and not line.startswith("Exception from")), first_line(error))
