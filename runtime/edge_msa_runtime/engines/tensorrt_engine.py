"""TensorRT 8.5 and later on an NVIDIA GPU; plans are built on the device and kept outside the bundle.

Only the name-based I/O API is used, which 8.5 to 11 share. Precision flags ended with 11, where a graph's own types
decide; static shapes throughout.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edge_msa_runtime.engines.base import Engine, EngineOptions, Program, first_line
from edge_msa_runtime.engines.cuda_memory import Cuda
from edge_msa_runtime.engines.plan_cache import (
    PlanKey,
    cache_folder,
    model_digest,
    read_plan,
    write_plan,
    write_whole,
)
from edge_msa_runtime.errors import BundleError, EngineUnavailableError, RuntimeFailure

_MEBIBYTE = 1 << 20
_LEAST_FREE = 256 * _MEBIBYTE
_MOST_WORKSPACE = 1024 * _MEBIBYTE
_OLDEST = (8, 5)
# FP16 beside INT8: what is not quantised would run in float32 otherwise, and int8 would lose to fp16.
_FLAGS = {"fp32": (), "fp16": ("FP16",), "int8": ("INT8", "FP16")}
_KINDS = {
    "FLOAT": np.float32,
    "HALF": np.float16,
    "INT32": np.int32,
    "INT64": np.int64,
    "INT8": np.int8,
    "UINT8": np.uint8,
    "BOOL": np.bool_,
}


class TensorRTEngine(Engine):
    """Runs ONNX graphs, Q/DQ ones included, as plans that it builds once a device."""

    name = "tensorrt"

    def __init__(self, options: EngineOptions) -> None:
        try:
            import tensorrt
        except ImportError as error:
            raise EngineUnavailableError(
                f"tensorrt cannot be imported ({first_line(error)}); it comes with JetPack, not from pip: "
                "run: sudo apt-get install tensorrt python3-libnvinfer; "
                "a virtual environment needs --system-site-packages"
            ) from error
        self._vendor: Any = tensorrt
        self.version = str(tensorrt.__version__)
        if version_of(self.version) < _OLDEST:
            raise EngineUnavailableError(f"tensorrt {self.version} is too old; update JetPack to 5.1 (TensorRT 8.5)")
        index = device_index(options.device)
        self._cuda = Cuda(index)
        self.device = f"GPU:{index} {self._cuda.name}"
        self._log = _make_log(tensorrt)
        self._runtime = tensorrt.Runtime(self._log)

    def load(self, path: Path, precision: str = "fp32") -> Program:
        """Load a graph from the cache, or build it there first, which can take minutes."""
        if not path.is_file():
            raise BundleError(f"{path.name} is not there; copy the bundle again")
        key = PlanKey(model_digest(path), precision, self.version, self._cuda.sm, self._cuda.name)
        folder = cache_folder()
        kept = read_plan(folder, key)
        plan = kept if kept is not None else self._build(path, precision, folder / key.timing_name)
        engine = self._runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise self._refused(f"cannot load the plan of {path.name}", f"delete {folder / key.stem}.plan")
        if kept is None:
            write_plan(folder, key, plan)
        return _TensorRTProgram(self._vendor, self._cuda, engine, self.device)

    def _build(self, path: Path, precision: str, timing: Path) -> bytes:
        free = self._cuda.free_bytes()
        if free < _LEAST_FREE:
            raise EngineUnavailableError(
                f"building {path.name} needs {_LEAST_FREE // _MEBIBYTE} MiB, {free // _MEBIBYTE} MiB are free: "
                "close other programs"
            )
        builder = self._vendor.Builder(self._log)
        network = builder.create_network(network_flags(self._vendor))
        parser = self._vendor.OnnxParser(network, self._log)
        if not parser.parse_from_file(str(path)):
            reason = parser.get_error(0).desc() if parser.num_errors else ""
            raise self._refused(f"cannot read {path.name}: {first_line(reason)}", "use another --engine")
        config = builder.create_builder_config()
        config.set_memory_pool_limit(self._vendor.MemoryPoolType.WORKSPACE, min(_MOST_WORKSPACE, free // 2))
        self._set_precision(config, network, precision)
        known = timing.read_bytes() if timing.is_file() else b""
        config.set_timing_cache(config.create_timing_cache(known), ignore_mismatch=False)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise self._refused(f"cannot build {path.name} at {precision}", "use another --precision or --engine")
        write_whole(timing, bytes(config.get_timing_cache().serialize()))
        return bytes(plan)

    def _set_precision(self, config: Any, network: Any, precision: str) -> None:
        kinds = self._vendor.BuilderFlag
        to_set, to_clear = builder_flags(kinds, precision)
        for name in to_set:
            config.set_flag(getattr(kinds, name))
        for name in to_clear:
            config.clear_flag(getattr(kinds, name))
        if precision == "fp16" and not to_set and not _has_half(network, self._vendor.DataType.HALF):
            raise EngineUnavailableError(
                f"tensorrt {self.version} takes fp16 from the graph alone, and this one is float32: "
                "use --precision fp32"
            )

    def _refused(self, what: str, remedy: str) -> EngineUnavailableError:
        said = f" ({self._log.last})" if self._log.last else ""
        return EngineUnavailableError(f"tensorrt {self.version} on {self._cuda.name} {what}{said}; {remedy}")


class _TensorRTProgram(Program):
    """A plan with pinned host buffers and device buffers; copies and synchronisation are part of a run."""

    def __init__(self, vendor: Any, cuda: Cuda, engine: Any, device: str) -> None:
        self.device = device
        self._cuda = cuda
        self._engine = engine
        self._context = engine.create_execution_context()
        self._stream = cuda.stream()
        self._uploads: list[tuple[int, int, int]] = []
        self._downloads: list[tuple[int, int, int]] = []
        self.inputs, self.outputs = {}, {}
        for position in range(engine.num_io_tensors):
            name = engine.get_tensor_name(position)
            shape = tuple(int(size) for size in engine.get_tensor_shape(name))
            kind = _KINDS[str(engine.get_tensor_dtype(name)).rsplit(".", maxsplit=1)[-1]]
            array, host = cuda.pinned(shape, kind)
            address = cuda.allocate(max(array.nbytes, 1))
            self._context.set_tensor_address(name, address)
            is_input = engine.get_tensor_mode(name) == vendor.TensorIOMode.INPUT
            (self.inputs if is_input else self.outputs)[name] = array
            (self._uploads if is_input else self._downloads).append((address, host, array.nbytes))

    def run(self) -> None:
        cuda, stream = self._cuda, self._stream
        for address, host, size in self._uploads:
            cuda.upload(address, host, size, stream)
        if not self._context.execute_async_v3(stream):
            raise RuntimeFailure("tensorrt failed to start a run; delete the plans in the engine cache")
        for address, host, size in self._downloads:
            cuda.download(host, address, size, stream)
        cuda.synchronise(stream)

    def close(self) -> None:
        self.inputs, self.outputs = {}, {}
        self._context = self._engine = None
        for address, host, _ in self._uploads + self._downloads:
            self._cuda.free(address)
            self._cuda.free_pinned(host)
        if self._stream:
            self._cuda.destroy(self._stream)
        self._uploads, self._downloads, self._stream = [], [], 0


def version_of(text: str) -> tuple[int, ...]:
    """Major and minor of a TensorRT version: `8.5.2.2` -> (8, 5)."""
    return tuple(int(part) for part in text.split(".")[:2])


def device_index(device: str) -> int:
    """The GPU's number in `GPU:1`; 0 for `GPU` and for no name.

    Raises:
        EngineUnavailableError: it names something else.
    """
    kind, _, number = (device or "GPU").partition(":")
    if kind != "GPU" or not (number or "0").isdigit():
        raise EngineUnavailableError(f"tensorrt has no device {device!r}; give GPU or GPU:1")
    return int(number or "0")


def builder_flags(kinds: Any, precision: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the builder flags to set and to clear, of those that this version's `BuilderFlag` has.

    TF32 is on by default from Ampere, and is no fp32.
    """
    to_set = tuple(name for name in _FLAGS[precision] if hasattr(kinds, name))
    to_clear = ("TF32",) if precision == "fp32" and hasattr(kinds, "TF32") else ()
    return to_set, to_clear


def network_flags(vendor: Any) -> int:
    """What `create_network` takes: an explicit batch must be asked for up to 9, and is implied from 10."""
    if version_of(str(vendor.__version__))[0] >= 10:
        return 0
    return 1 << int(vendor.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)


def _has_half(network: Any, half: Any) -> bool:
    layers = (network.get_layer(index) for index in range(network.num_layers))
    return any(layer.get_output(slot).dtype == half for layer in layers for slot in range(layer.num_outputs))


def _make_log(vendor: Any) -> Any:
    """A logger that keeps the last error for our own message and prints nothing."""

    class Log(vendor.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            vendor.ILogger.__init__(self)
            self.last = ""

        def log(self, severity: Any, message: str) -> None:
            if severity in (vendor.ILogger.Severity.ERROR, vendor.ILogger.Severity.INTERNAL_ERROR):
                self.last = first_line(message)

    return Log()
