"""What is checked of every graph as it is written: nothing that one engine of the targets would read differently."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, numpy_helper

from edge_msa_export.errors import ExportError
from edge_msa_export.portable import IR_VERSION, OPSET, REDUCE_BY_ATTRIBUTE, constants_of

# What a student is made of, all of it in the three engines' own tables at opset 17:
# ONNX Runtime docs/OperatorKernels.md (CPU), OpenVINO "Supported Operations" (ONNX), onnx-tensorrt docs/operators.md.
_COMMON = frozenset(
    [
        "Add",
        "AveragePool",
        "BatchNormalization",
        "Cast",
        "Clip",
        "Concat",
        "Constant",
        "Conv",
        "Div",
        "Erf",
        "Exp",
        "Expand",
        "Flatten",
        "Gather",
        "Gemm",
        "GlobalAveragePool",
        "GRU",
        "Identity",
        "LeakyRelu",
        "Log",
        "LSTM",
        "MatMul",
        "Max",
        "MaxPool",
        "Min",
        "Mul",
        "Neg",
        "Pow",
        "ReduceMax",
        "ReduceMean",
        "ReduceMin",
        "ReduceSum",
        "Relu",
        "Reshape",
        "Sigmoid",
        "Slice",
        "Softmax",
        "Split",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Tanh",
        "Transpose",
        "Unsqueeze",
        "Where",
        "QuantizeLinear",
        "DequantizeLinear",
    ]
)
# LayerNormalization has an importer from TensorRT 8.6 on, and 8.5 is what JetPack 5 has: see layer_norm.py.
OPERATORS: dict[str, frozenset[str]] = {
    "onnxruntime": _COMMON | {"LayerNormalization"},
    "openvino": _COMMON | {"LayerNormalization"},
    "tensorrt": _COMMON,
}

_ROOTS = "home|root|Users|usr|opt|tmp|var|mnt|media|srv|private|build|workspace"
_PATH = re.compile(rf"(?:(?<![\w.])/(?:{_ROOTS})/[^\s\"'<>]+|\b[A-Za-z]:[\\/][\w.][^\s\"'<>]*|file://[^\s\"'<>]+)")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: the `rule` broken, `where` in the graph, and what to know about it."""

    rule: str
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.where}: {self.message}"


def lint(model: onnx.ModelProto, engine: str) -> list[Finding]:
    """Everything in `model` that the target's `engine` would refuse or read wrongly; empty when it is fine.

    Raises:
        ExportError: no such engine.
    """
    if engine not in OPERATORS:
        raise ExportError(f"no operators are known of engine {engine!r}; there are {', '.join(sorted(OPERATORS))}")
    findings = [*_versions(model), *_paths(model), *_shapes(model), *_nodes(model, engine)]
    if engine == "tensorrt":
        findings.extend(_tensorrt_quantisation(model.graph))
    return findings


def refuse_findings(model: onnx.ModelProto, engine: str, name: str) -> None:
    """Raise an ExportError with the first finding, and how many more there are."""
    findings = lint(model, engine)
    if findings:
        more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
        raise ExportError(f"{name} is not fit for {engine}: {findings[0]}{more}")


def find_local_paths(text: str) -> str | None:
    """The first path of a machine inside `text`, this one's folders or any that looks like one."""
    for folder in (str(Path.cwd()), str(Path.home()), sys.prefix, tempfile.gettempdir()):
        # Whole folders only: a container may work in /data, and an IR is full of </data>.
        if len(folder) > 1 and re.search(rf"(?<![\w.<]){re.escape(folder)}(?![\w-])", text):
            return folder
    match = _PATH.search(text)
    return match.group() if match else None


def _versions(model: onnx.ModelProto) -> Iterator[Finding]:
    versions = {entry.domain: entry.version for entry in model.opset_import}
    if versions != {"": OPSET}:
        yield Finding("opset", "model", f"imports {versions}, not opset {OPSET} alone")
    if model.ir_version != IR_VERSION:
        yield Finding("ir-version", "model", f"is {model.ir_version}, not {IR_VERSION}")
    if model.functions:
        yield Finding("functions", model.functions[0].name, "local functions are not read by every engine")


def _paths(model: onnx.ModelProto) -> Iterator[Finding]:
    strings = list(_strings(model, "model"))
    if find_local_paths("\n".join(text for _, text in strings)) is None:
        return  # thousands of names, looked at together: the usual case is quick
    for where, text in strings:
        found = find_local_paths(text)
        if found:
            yield Finding("local-path", where, f"holds {found}")


def _strings(message: Any, where: str) -> Iterator[tuple[str, str]]:
    """Every string of a protobuf message, however deep; raw weights are bytes and left out."""
    for field, value in message.ListFields():
        here = f"{where}.{field.name}"
        for item in value if isinstance(value, (list, tuple)) or hasattr(value, "append") else [value]:
            if isinstance(item, str):
                yield here, item
            elif isinstance(item, bytes) and field.name in ("s", "strings", "string_data"):
                yield here, item.decode("utf-8", "replace")
            elif hasattr(item, "ListFields"):
                yield from _strings(item, here)


def _shapes(model: onnx.ModelProto) -> Iterator[Finding]:
    for value in (*model.graph.input, *model.graph.output):
        dims = value.type.tensor_type.shape.dim
        if not value.type.tensor_type.HasField("shape") or any(dim.dim_value <= 0 for dim in dims):
            yield Finding("static-shape", value.name, "a dimension is not a fixed number")


def _nodes(model: onnx.ModelProto, engine: str) -> Iterator[Finding]:
    for node in model.graph.node:
        where = node.name or node.output[0]
        if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS[engine]:
            yield Finding("operator", where, f"{node.domain or 'ai.onnx'}:{node.op_type} is not known to {engine}")
        axes = any(item.name == "axes" for item in node.attribute)
        if node.op_type in REDUCE_BY_ATTRIBUTE and (len(node.input) > 1 or not axes):
            yield Finding("reduce-axes", where, f"{node.op_type} must name its axes in the attribute at opset {OPSET}")
        if node.op_type == "ReduceSum" and (axes or len(node.input) < 2):
            yield Finding("reduce-axes", where, f"ReduceSum must name its axes as an input at opset {OPSET}")


def _tensorrt_quantisation(graph: onnx.GraphProto) -> Iterator[Finding]:
    """Symmetric int8 with constant zero points, per-tensor activations, no quantised bias (tensorrt-jetson.md)."""
    constants = constants_of(graph)
    dequantised = {node.output[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}
    quantised = {
        node.output[0] for node in graph.node if node.op_type == "QuantizeLinear" and node.input[0] in constants
    }
    weights = quantised | set(constants)
    for node in graph.node:
        where = node.name or node.output[0]
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            yield from _symmetric(node, constants, weights, where)
        elif node.op_type in ("Conv", "Gemm") and len(node.input) > 2 and node.input[2] in dequantised:
            yield Finding("quantised-bias", where, "the bias must stay float32")


def _symmetric(
    node: onnx.NodeProto, constants: dict[str, onnx.TensorProto], weights: set[str], where: str
) -> Iterator[Finding]:
    scale = constants.get(node.input[1])
    if scale is None:
        yield Finding("scale", where, "the scale is computed, not constant")
        return
    if node.op_type == "DequantizeLinear" and node.input[0] in constants:
        yield Finding("int8-weight", where, "TensorRT 8 reads no int8 constant; keep it float32 behind a Q/DQ pair")
    if node.input[0] not in weights and numpy_helper.to_array(scale).size != 1:
        yield Finding("per-channel-activation", where, "activations take one scale a tensor")
    if len(node.input) < 3:
        yield Finding("zero-point", where, "there is none, which makes the type uint8")
        return
    zero = constants.get(node.input[2])
    if zero is None or zero.data_type != TensorProto.INT8 or numpy_helper.to_array(zero).any():
        yield Finding("zero-point", where, "must be a constant int8 zero")
