"""FP16 inside, FP32 at the edges: the ONNX graph for backends that take their types from the graph.

TensorRT 11 is strongly typed and has no FP16 flag; earlier ones take the same graph (reference/tensorrt-jetson.md).
Inputs, outputs and states stay float32, so a caller feeds every precision alike.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge_msa_export.errors import ExportError
from edge_msa_export.transforms.layer_norm import EPSILON_SUFFIX
from edge_msa_export.transforms.opset17 import check

_SUFFIX = ".half"
_LIMITS = np.finfo(np.float16)
_INTEGERS = (TensorProto.INT32, TensorProto.INT64)


def to_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph computing in float16.

    Raises:
        ExportError: a constant has no finite float16, or the graph is quantized.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    if any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in graph.node):
        raise ExportError("a quantized graph cannot be turned into float16; start from the float32 one")
    baselines = {node.input[1] for node in graph.node if node.op_type == "Clip" and len(node.input) > 1}
    for tensor in graph.initializer:
        _halve(tensor, is_baseline=tensor.name in baselines or tensor.name.endswith(EPSILON_SUFFIX))
    for node in graph.node:
        _halve_node(node)
    _cast_edges(graph)
    check(result)
    return result


def _halve(tensor: onnx.TensorProto, *, is_baseline: bool) -> None:
    if tensor.data_type != TensorProto.FLOAT:
        return
    values = numpy_helper.to_array(tensor)
    if values.size and not np.abs(values).max() <= _LIMITS.max:
        raise ExportError(f"{tensor.name} reaches {np.abs(values).max():g}, beyond float16; use fp32 or int8")
    if is_baseline:
        # What keeps a division away from zero must not be flushed to zero where subnormals are.
        values = np.where((values > 0) & (values < _LIMITS.tiny), _LIMITS.tiny, values)
    tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), tensor.name))


def _halve_node(node: onnx.NodeProto) -> None:
    for item in node.attribute:
        if node.op_type == "Cast" and item.name == "to" and item.i == TensorProto.FLOAT:
            item.i = TensorProto.FLOAT16
        elif item.type == onnx.AttributeProto.TENSOR:
            _halve(item.t, is_baseline=False)


def _cast_edges(graph: onnx.GraphProto) -> None:
    inputs = [value.name for value in graph.input if value.type.tensor_type.elem_type == TensorProto.FLOAT]
    outputs = [value.name for value in graph.output if value.type.tensor_type.elem_type == TensorProto.FLOAT]
    renamed = set(inputs) | set(outputs)
    counts = _counting(graph)
    for node in graph.node:
        if node.output[0] not in counts:
            node.input[:] = [name + _SUFFIX if name in renamed else name for name in node.input]
        node.output[:] = [name + _SUFFIX if name in renamed else name for name in node.output]
    body = list(graph.node)
    del graph.node[:]
    graph.node.extend(_cast(name, name + _SUFFIX, TensorProto.FLOAT16) for name in inputs)
    graph.node.extend(body)
    graph.node.extend(_cast(name + _SUFFIX, name, TensorProto.FLOAT) for name in outputs)


def _counting(graph: onnx.GraphProto) -> set[str]:
    """Sums of an input that end as whole numbers; they stay float32, as float16 counts to 2048 only."""
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    inputs = {value.name for value in graph.input}
    sums = [node for node in graph.node if node.op_type == "ReduceSum" and node.input[0] in inputs]
    return {node.output[0] for node in sums if all(_to_integer(user) for user in users.get(node.output[0], []))}


def _to_integer(node: onnx.NodeProto) -> bool:
    return node.op_type == "Cast" and any(item.name == "to" and item.i in _INTEGERS for item in node.attribute)


def _cast(source: str, target: str, kind: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], name=f"cast.{target}", to=kind)
