"""A stand-in for TensorRT in tests, which computes with ONNX Runtime. `EDGE_MSA_STAND_IN` sets its version.

It has exactly the names that NVIDIA's documentation lists for that version, so that using a removed name fails. It
shows that the backend makes the right calls and reports errors. It does not show that TensorRT accepts the graphs.
"""

from __future__ import annotations

import ctypes
import enum
import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
from cuda.bindings import runtime as cuda

SETTINGS: dict[str, Any] = json.loads(os.environ["EDGE_MSA_STAND_IN"])
__version__ = str(SETTINGS.get("tensorrt", "10.3.0"))
_VERSION = tuple(int(part) for part in __version__.split(".")[:2])
_MAGIC = b"stand-in plan\n"
_TIMING = f"timing {__version__} "


def _names(title: str, *names: str) -> Any:
    return enum.IntEnum(title, [(name, index) for index, name in enumerate(names)])


_PRECISION_FLAGS = ("FP16", "INT8") if _VERSION < (11, 0) else ()
_LIBRARIES = ("CUBLAS", "CUBLAS_LT", "CUDNN") if _VERSION < (11, 0) else ()
_TYPING_FLAGS = ("STRONGLY_TYPED",) if _VERSION >= (9, 0) else ()
BuilderFlag = _names("BuilderFlag", *_PRECISION_FLAGS, "TF32")
NetworkDefinitionCreationFlag = _names(
    "NetworkDefinitionCreationFlag", *(("EXPLICIT_BATCH",) if _VERSION < (11, 0) else ()), *_TYPING_FLAGS
)
TacticSource = _names("TacticSource", *_LIBRARIES, "EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS")
MemoryPoolType = _names("MemoryPoolType", "WORKSPACE")
ProfilingVerbosity = _names("ProfilingVerbosity", "LAYER_NAMES_ONLY", "DETAILED")
LayerInformationFormat = _names("LayerInformationFormat", "ONELINE", "JSON")
TensorIOMode = _names("TensorIOMode", "NONE", "INPUT", "OUTPUT")
DataType = _names("DataType", "FLOAT", "HALF", "INT8", "INT32", "INT64", "BOOL", "UINT8")
LayerType = _names("LayerType", "QUANTIZE", "DEQUANTIZE", "OTHER")

_ONNX_KINDS = {1: DataType.FLOAT, 10: DataType.HALF, 3: DataType.INT8, 6: DataType.INT32, 7: DataType.INT64}
_LAYER_KINDS = {"QuantizeLinear": LayerType.QUANTIZE, "DequantizeLinear": LayerType.DEQUANTIZE}


class ILogger:
    Severity = _names("Severity", "INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE")

    def __init__(self) -> None:
        """Must be called by subclasses, as in TensorRT."""
        self.ready = True


def _log_event(event: str, value: Any = None) -> None:
    if "log" in SETTINGS:
        with Path(SETTINGS["log"]).open("a", encoding="utf-8") as file:
            file.write(json.dumps([event, value]) + "\n")


def _count_events(event: str) -> int:
    path = Path(SETTINGS.get("log", os.devnull))
    return sum(json.loads(line)[0] == event for line in path.read_text("utf-8").splitlines()) if path.exists() else 0


class INetworkDefinition:
    def __init__(self, flags: int) -> None:
        self.flags = flags
        self.model = onnx.ModelProto()
        self.layers: list[Any] = []

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    def get_layer(self, index: int) -> Any:
        return self.layers[index]

    def fill(self, model: onnx.ModelProto) -> None:
        self.model = onnx.shape_inference.infer_shapes(model)
        graph = self.model.graph
        kinds = {tensor.name: tensor.type.tensor_type.elem_type for tensor in (*graph.value_info, *graph.output)}
        for node in graph.node:
            outputs = [SimpleNamespace(dtype=_ONNX_KINDS.get(kinds.get(name, 0))) for name in node.output]
            kind = _LAYER_KINDS.get(node.op_type, LayerType.OTHER)
            self.layers.append(SimpleNamespace(type=kind, num_outputs=len(outputs), get_output=outputs.__getitem__))


class ParserError:
    def __init__(self, message: str) -> None:
        self._message = message

    def desc(self) -> str:
        return self._message


class OnnxParser:
    def __init__(self, network: INetworkDefinition, log: Any) -> None:
        assert log.ready
        self._network = network
        self._errors: list[str] = []

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> ParserError:
        return ParserError(self._errors[index])

    def parse_from_file(self, path: str) -> bool:
        try:
            model = onnx.load(path)
        except Exception as error:  # noqa: BLE001 - how onnx fails depends on the file
            self._errors.append(f"\nFailed to parse the file: {type(error).__name__}\n")
            return False
        norms = [node for node in model.graph.node if node.op_type == "LayerNormalization"]
        if norms and _VERSION < (8, 6):
            self._errors.append("No importer registered for op: LayerNormalization")
        if _VERSION < (10, 0) and not self._network.flags & 1 << NetworkDefinitionCreationFlag.EXPLICIT_BATCH:
            self._errors.append("This version of the ONNX parser only supports networks with an explicit batch")
        if not self._errors:
            self._network.fill(model)
        return not self._errors


class ITimingCache:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> bytes:
        return self.content


class IBuilderConfig:
    profiling_verbosity = ProfilingVerbosity.LAYER_NAMES_ONLY

    def __init__(self) -> None:
        self.flags = {BuilderFlag.TF32}
        self.sources = (1 << len(TacticSource)) - 1
        self.timing = ITimingCache(b"")

    def set_memory_pool_limit(self, pool: Any, size: int) -> None:
        _log_event("workspace", [pool.name, size])

    def set_flag(self, flag: Any) -> None:
        self.flags.add(flag)

    def clear_flag(self, flag: Any) -> None:
        self.flags.discard(flag)

    def get_tactic_sources(self) -> int:
        return self.sources

    def set_tactic_sources(self, sources: int) -> bool:
        self.sources = sources
        return True

    def create_timing_cache(self, content: bytes) -> ITimingCache | None:
        return ITimingCache(content) if not content or content.startswith(b"timing") else None

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        fits = not cache.content or cache.content.startswith(_TIMING.encode())
        if fits:
            self.timing = cache
        return fits

    def get_timing_cache(self) -> ITimingCache:
        return self.timing


class Builder:
    def __init__(self, log: ILogger) -> None:
        assert log.ready
        self._log: Any = log

    def create_network(self, flags: int) -> INetworkDefinition:
        return INetworkDefinition(flags)

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig()

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> bytes | None:
        before = _count_events("build")
        flags = sorted(flag.name for flag in config.flags)
        sources = [source.name for source in TacticSource if config.sources & 1 << source]
        known = config.timing.content.decode()
        _log_event(
            "build", {"flags": flags, "network": network.flags, "sources": sources, "timing": known, "pid": os.getpid()}
        )
        _fail_as_configured(str(SETTINGS.get("build", "")), self._log)
        if SETTINGS.get("build") == "refuse":
            return None
        quantized = any(layer.type == LayerType.QUANTIZE for layer in network.layers)
        if "INT8" in flags and not quantized:
            self._log.log(ILogger.Severity.ERROR, "4: Calibration failure occurred with no scaling factors detected")
            return None
        delays = SETTINGS.get("delays_ms", [0])
        config.timing = ITimingCache((known or _TIMING).encode() + b"+")
        detailed = config.profiling_verbosity == ProfilingVerbosity.DETAILED
        int8 = "INT8" in flags or not _PRECISION_FLAGS
        header = {
            "version": __version__,
            "sm": SETTINGS.get("sm", "8.7"),
            "delay_ms": delays[before % len(delays)],
            "layers": _layers(network.model, int8=int8) if detailed else ["names only"],
        }
        body: bytes = network.model.SerializeToString()
        return _MAGIC + json.dumps(header).encode() + b"\n" + hashlib.sha256(body).digest() + body


def _fail_as_configured(how: str, log: Any) -> None:
    print("output that must not end up in the response of the build process")
    if how in {"SIGKILL", "SIGSEGV"}:
        os.kill(os.getpid(), getattr(signal, how))
    elif how == "hang":
        time.sleep(600)
    elif how == "exit":
        print("terminate called after throwing an instance", file=sys.stderr)
        os._exit(7)
    elif how == "refuse":
        log.log(ILogger.Severity.ERROR, "Could not find any implementation for node fuse\nmore of it")
    elif how == "no memory":
        raise MemoryError


def _layers(model: onnx.ModelProto, *, int8: bool) -> list[dict[str, Any]]:
    dequantized = {node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    layers = []
    for node in model.graph.node:
        has_int8_input = int8 and any(name in dequantized for name in node.input)
        kind = "Reformat" if node.op_type in {"QuantizeLinear", "DequantizeLinear"} else node.op_type
        name = "Int8" if has_int8_input else "Float"
        split = {"DataType": name, "Format": "Row major linear"}
        joined = {"Format/Datatype": f"Row major linear {name.upper()} format"}
        layers.append({"Name": node.name, "LayerType": kind, "Inputs": [split if _VERSION >= (11, 0) else joined]})
    return layers


class Runtime:
    def __init__(self, log: ILogger) -> None:
        assert log.ready
        if SETTINGS.get("no_driver"):
            os.kill(os.getpid(), signal.SIGSEGV)  # as TensorRT 8.6.0 does
        self._log: Any = log

    def deserialize_cuda_engine(self, plan: bytes) -> ICudaEngine | None:
        _log_event("deserialize", os.getpid())
        header, _, rest = plan[len(_MAGIC) :].partition(b"\n")
        if not plan.startswith(_MAGIC) or hashlib.sha256(rest[32:]).digest() != rest[:32]:
            self._log.log(ILogger.Severity.ERROR, "6: The engine plan file is not compatible, magicTag mismatch")
            return None
        fields = json.loads(header)
        if (fields["version"], fields["sm"]) != (__version__, SETTINGS.get("sm", "8.7")):
            self._log.log(ILogger.Severity.ERROR, "6: serializationVersion mismatch, expecting 239 got 236")
            return None
        return ICudaEngine(fields, rest[32:])


class ICudaEngine:
    def __init__(self, fields: dict[str, Any], model: bytes) -> None:
        self.fields = fields
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._tensors = {tensor.name: tensor for tensor in (*self.session.get_inputs(), *self.session.get_outputs())}
        self._inputs = {tensor.name for tensor in self.session.get_inputs()}

    @property
    def num_io_tensors(self) -> int:
        return len(self._tensors)

    def get_tensor_name(self, index: int) -> str:
        return str(list(self._tensors)[index])

    def get_tensor_shape(self, name: str) -> list[int]:
        return list(self._tensors[name].shape)

    def get_tensor_dtype(self, name: str) -> Any:
        dtypes = {"tensor(float)": DataType.FLOAT, "tensor(float16)": DataType.HALF, "tensor(int64)": DataType.INT64}
        return dtypes[self._tensors[name].type]

    def get_tensor_mode(self, name: str) -> Any:
        return TensorIOMode.INPUT if name in self._inputs else TensorIOMode.OUTPUT

    def create_execution_context(self) -> IExecutionContext | None:
        return None if SETTINGS.get("no_context") else IExecutionContext(self)

    def create_engine_inspector(self) -> EngineInspector:
        return EngineInspector(self.fields["layers"])


class EngineInspector:
    def __init__(self, layers: list[Any]) -> None:
        self._layers = layers

    def get_engine_information(self, form: Any) -> str:
        assert form == LayerInformationFormat.JSON
        return json.dumps({"Layers": self._layers})


class IExecutionContext:
    def __init__(self, cuda_engine: ICudaEngine) -> None:
        self._cuda_engine = cuda_engine
        self._addresses: dict[str, int] = {}
        self._warm = False

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return True

    def execute_async_v3(self, handle: int) -> bool:
        stream = cuda.stream_of(handle)
        if stream.captured is not None and not self._warm:
            return False  # the first run allocates memory, which cannot be captured
        self._warm = True
        stream.queue(self._execute)
        return not SETTINGS.get("no_start")

    def _execute(self) -> None:
        time.sleep(self._cuda_engine.fields["delay_ms"] / 1e3)
        session = self._cuda_engine.session
        inputs = {tensor.name: self._at(tensor) for tensor in session.get_inputs()}
        outputs = session.get_outputs()
        for index, value in enumerate(session.run(None, inputs)):
            self._at(outputs[index])[...] = value

    def _at(self, tensor: Any) -> Any:
        kinds: dict[str, Any] = {
            "tensor(float)": np.float32,
            "tensor(float16)": np.float16,
            "tensor(int64)": np.int64,
        }
        kind = np.dtype(kinds[tensor.type])
        size = int(np.prod(tensor.shape)) * kind.itemsize
        raw = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(self._addresses[tensor.name]))
        return raw.view(kind).reshape(tensor.shape)
