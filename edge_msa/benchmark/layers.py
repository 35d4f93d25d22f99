"""Measure where the time of a graph goes: time, MACs, bytes and precision of every layer that a backend executes.

A backend fuses and inserts layers, so these are the layers of the compiled graph, not of the exported one.

- *OpenVINO*: `ov::ProfilingInfo` of each inference, and the execution graph (`CompiledModel.get_runtime_model`).
- *ONNX Runtime*: the profile of the session, and the optimized graph, whose nodes run in the same order.

The bound of a layer is that of the roofline (Williams et al. 2009, "Roofline: an insightful visual performance model"):
the longer of the times that its MACs need at the peak of the machine and its bytes at the bandwidth of the memory that
holds the graph. Both are measured on this machine. Small layers are far above it: their time is mostly the overhead of
a call.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edge_msa.benchmark.layer_profile import Layer, Peaks
from edge_msa.errors import EdgeMsaError
from edge_msa_calibrate.macs import count_macs
from edge_msa_runtime.backends.base import BackendOptions
from edge_msa_runtime.backends.onnxruntime_backend import open_inference_session
from edge_msa_runtime.backends.openvino_backend import OpenVinoBackend
from edge_msa_runtime.vendor_packages import import_package

PROFILED_BACKENDS = ("openvino", "onnxruntime")
_WARMUP_RUNS = 10
_REFORMATS = frozenset({"Reorder", "ReorderInput", "ReorderOutput", "QuantizeLinear", "DequantizeLinear", "Convert"})
_REFORMATS_OF_ONNX = _REFORMATS | {"Cast", "DynamicQuantizeLinear"}
_NOT_EXECUTED = frozenset({"Input", "Output", "Const"})
_BY_NAME = frozenset({"RNNSeq", "RNNCell", "ScaledDotProductAttention"})
_PRECISIONS = {
    "f32": ("fp32", 4),
    "float": ("fp32", 4),
    "f16": ("fp16", 2),
    "float16": ("fp16", 2),
    "bf16": ("bf16", 2),
    "i8": ("int8", 1),
    "u8": ("int8", 1),
    "int8": ("int8", 1),
    "uint8": ("int8", 1),
    "i32": ("int32", 4),
    "int32": ("int32", 4),
    "i64": ("int64", 8),
    "int64": ("int64", 8),
    "boolean": ("bool", 1),
    "bool": ("bool", 1),
}
"""Name and bytes of each element type, by the names of OpenVINO and of ONNX Runtime."""
_GEMM_SIZE = 512


def profile_layers(backend: str, graph: Path, precision: str, *, threads: int, num_runs: int) -> list[Layer]:
    """Return the layers that a backend executes, in their order.

    Args:
        backend: One of `PROFILED_BACKENDS`.
        graph: The ONNX graph, with static shapes.
        precision: Precision of the graph.
        threads: CPU threads.
        num_runs: Profiled runs. Times are means of the fastest tenth.
    """
    profile = _profile_openvino if backend == "openvino" else _profile_onnxruntime
    return profile(graph, precision, threads, num_runs)


def measure_peaks(threads: int, working_set: int) -> Peaks:
    """Measure the peaks of this machine: MACs per second of square products in ONNX Runtime, and bytes per second.

    The bandwidth is that of repeated copies of one array, so it is that of the cache, or of the memory, that holds it.

    Args:
        threads: CPU threads of the products.
        working_set: Bytes that each copy reads and writes: those that one run of the graph touches.
    """
    values = np.ones(max(working_set // 16, 1024), np.float64)
    target = np.empty_like(values)
    seconds = _shortest(lambda: np.copyto(target, values), 200)
    return Peaks(
        macs_per_second={name: _measure_gemm(name, threads) for name in ("fp32", "int8")},
        bytes_per_second=2 * values.nbytes / seconds,
    )


def _measure_gemm(precision: str, threads: int) -> float:
    shape = [_GEMM_SIZE, _GEMM_SIZE]
    kinds = ("FLOAT", "FLOAT", "FLOAT") if precision == "fp32" else ("UINT8", "INT8", "INT32")
    types = [getattr(TensorProto, kind) for kind in kinds]
    tensors = [helper.make_tensor_value_info(name, kind, shape) for name, kind in zip("aby", types, strict=True)]
    weight = np.ones(shape, helper.tensor_dtype_to_np_dtype(types[1]))
    constant = onnx.numpy_helper.from_array(weight, "b")
    node = helper.make_node("MatMul" if precision == "fp32" else "MatMulInteger", ["a", "b"], ["y"])
    graph = helper.make_graph([node], "gemm", tensors[:1], tensors[2:], [constant])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = open_inference_session(model.SerializeToString(), threads=threads)
    inputs = {"a": np.ones(shape, helper.tensor_dtype_to_np_dtype(types[0]))}
    return float(_GEMM_SIZE**3 / _shortest(lambda: session.run(None, inputs), 20))


def _shortest(call: Callable[[], object], count: int) -> float:
    times = []
    for _ in range(count):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return min(times)


class _ProfilingOpenVino(OpenVinoBackend):
    """The backend of the runtime, with its settings and profiling."""

    compiled: Any = None

    def _settings(self, path: Path, precision: str) -> dict[str, Any]:
        return super()._settings(path, precision) | {"PERF_COUNT": True}

    def _compile(self, path: Path, settings: dict[str, Any]) -> Any:
        self.compiled = super()._compile(path, settings)
        return self.compiled


def _profile_openvino(graph: Path, precision: str, threads: int, num_runs: int) -> list[Layer]:
    backend = _ProfilingOpenVino(BackendOptions(threads=threads))
    backend.compile(graph, precision)
    request = backend.compiled.create_infer_request()
    for port in backend.compiled.inputs:
        request.get_tensor(port).data[...] = _input(port.any_name, tuple(port.shape))
    times: dict[str, list[float]] = {}
    for number in range(_WARMUP_RUNS + num_runs):
        request.infer()
        for item in request.profiling_info if number >= _WARMUP_RUNS else ():
            times.setdefault(item.node_name, []).append(item.real_time / timedelta(microseconds=1))
    macs = count_macs(onnx.load(graph))
    layers = []
    for operation in backend.compiled.get_runtime_model().get_ordered_ops():
        info = {name: str(value.astype(str)) for name, value in operation.get_rt_info().items()}
        name = operation.get_friendly_name()
        if info["layerType"] in _NOT_EXECUTED or not any(times.get(name, ())):
            continue
        inputs = [(_source_type(port), tuple(port.get_shape())) for port in operation.inputs()]
        outputs = [(info["outputPrecisions"].split(",")[0], tuple(port.get_shape())) for port in operation.outputs()]
        layers.append(
            Layer(
                name=_label(info["layerType"], outputs),
                type=info["layerType"],
                precision=_precision(info["runtimePrecision"]),
                time_us=_typical(times[name]),
                macs=_count_openvino_macs(operation, info, macs),
                bytes=_bytes([*inputs, *outputs]),
                is_reformat=info["layerType"] in _REFORMATS,
                kernel=info.get("primitiveType", ""),
            )
        )
    return layers


def _count_openvino_macs(operation: Any, info: Mapping[str, str], macs: Mapping[str, int]) -> int:
    """Return the MACs of an executed layer from its shapes; those of recurrent layers are the ones of the graph."""
    kind = info["layerType"]
    result: tuple[int, ...] = tuple(operation.get_output_shape(0))
    shapes: list[tuple[int, ...]] = [tuple(port.get_shape()) for port in operation.inputs()]
    if kind == "Convolution":
        return math.prod(result) * math.prod(shapes[1][1:])
    if kind == "FullyConnected":
        return math.prod(result) * shapes[0][-1]
    if kind == "MatMul":
        return math.prod(result) * math.prod(shapes[0][-2:]) // result[-2]
    if kind in _BY_NAME:
        return sum(macs.get(name, 0) for name in set(info.get("originalLayersNames", "").split(",")))
    return 0


def _source_type(port: Any) -> str:
    """Return the element type that the producer of an input writes."""
    output = port.get_source_output()
    types: list[str] = str(output.get_node().get_rt_info()["outputPrecisions"].astype(str)).split(",")
    return types[min(int(output.get_index()), len(types) - 1)]


def _profile_onnxruntime(graph: Path, precision: str, threads: int, num_runs: int) -> list[Layer]:
    del precision  # is part of the graph
    onnxruntime = import_package("onnxruntime")
    with tempfile.TemporaryDirectory(prefix="edge-msa-") as folder:
        optimized = Path(folder) / "optimized.onnx"
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads, settings.inter_op_num_threads = threads, 1
        settings.log_severity_level = 3
        settings.enable_profiling, settings.profile_file_prefix = True, str(Path(folder) / "profile")
        settings.optimized_model_filepath = str(optimized)
        session = onnxruntime.InferenceSession(str(graph), settings, providers=["CPUExecutionProvider"])
        inputs = {item.name: _input(item.name, tuple(item.shape)) for item in session.get_inputs()}
        for _ in range(_WARMUP_RUNS + num_runs):
            session.run(None, inputs)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        model = onnx.load(optimized, load_external_data=False)
    nodes = [item for item in events if item.get("cat") == "Node" and item["name"].endswith("_kernel_time")]
    count = len(nodes) // (_WARMUP_RUNS + num_runs)
    if [item["args"]["op_name"] for item in nodes[:count]] != [node.op_type for node in model.graph.node]:
        raise EdgeMsaError("The profile of ONNX Runtime does not match its optimized graph. Use --backend openvino.")
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    layers = []
    for index, node in enumerate(model.graph.node):
        runs = nodes[index::count][_WARMUP_RUNS:]
        layers.append(_onnxruntime_layer(node, runs[0]["args"], [item["dur"] for item in runs], constants))
    return layers


def _onnxruntime_layer(
    node: onnx.NodeProto, details: Mapping[str, Any], times: Sequence[float], constants: Mapping[str, TensorProto]
) -> Layer:
    outputs = [_typed(item) for item in details["output_type_shape"]]
    first = next((_typed(item) for item in details["input_type_shape"]), ("float", ()))
    weights = [constants[name] for name in node.input if name in constants]
    matrix = next((tensor for tensor in weights if len(tensor.dims) > 1), None)
    return Layer(
        name=_label(node.op_type, outputs),
        type=node.op_type,
        precision=_precision(first[0]),
        time_us=_typical(times),
        macs=_count_macs(node, first[1], outputs[0][1] if outputs else (), matrix),
        bytes=int(details.get("activation_size", 0))
        + int(details.get("output_size", 0))
        + sum(math.prod(item.dims) * helper.tensor_dtype_to_np_dtype(item.data_type).itemsize for item in weights),
        is_reformat=node.op_type in _REFORMATS_OF_ONNX,
    )


def _count_macs(
    node: onnx.NodeProto, source: tuple[int, ...], result: tuple[int, ...], weight: TensorProto | None
) -> int:
    """Return the MACs of a node of ONNX Runtime's optimized graph, whose fused operators have other names."""
    kind = node.op_type
    if "Conv" in kind and weight is not None:
        return math.prod(result) * int(math.prod(weight.dims[1:]))
    if "MatMul" in kind or "Gemm" in kind:
        transposed = any(item.name == "transA" and item.i for item in node.attribute)
        return math.prod(result) * source[0 if transposed else -1]
    if kind == "GRU" and weight is not None:
        hidden = weight.dims[1] // 3
        return int(math.prod(source[:2]) * weight.dims[0] * weight.dims[1] * (weight.dims[2] + hidden))
    return 0


def _typed(value: Mapping[str, Sequence[int]]) -> tuple[str, tuple[int, ...]]:
    ((kind, shape),) = value.items()
    return kind, tuple(shape)


def _label(kind: str, outputs: Sequence[tuple[str, tuple[int, ...]]]) -> str:
    """Return a name for people: the graphs of bundles have short names of tensors that say nothing."""
    shape = "x".join(map(str, outputs[0][1])) if outputs else ""
    return f"{kind} {shape}".strip()


def _precision(kind: str) -> str:
    return _PRECISIONS.get(kind, (kind, 4))[0]


def _bytes(tensors: Iterable[tuple[str, tuple[int, ...]]]) -> int:
    return sum(math.prod(shape) * _PRECISIONS.get(kind, (kind, 4))[1] for kind, shape in tensors)


def _input(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    if name.startswith("valid"):
        return np.ones(shape, np.float32)
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def _typical(times: Sequence[float]) -> float:
    """Return the mean of the fastest tenth of the runs, at least 5 of them if there are as many.

    Other programs hardly interrupt these. Backends state whole microseconds, so a single run would be too coarse.
    """
    ordered = np.sort(times)
    return float(ordered[: max(5, len(ordered) // 10)].mean())
