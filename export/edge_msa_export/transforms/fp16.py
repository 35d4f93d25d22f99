"""Converts a graph to FP16 with FP32 inputs and outputs, for backends that take their types from the graph.

TensorRT 11 is strongly typed and has no FP16 flag, and earlier versions accept the same graph (TensorRT documentation,
"Migrating from TensorRT 10.x to 11.x"). Inputs, outputs and states stay float32, so that callers feed every precision
in the same way.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge_msa_export.errors import ExportError
from edge_msa_export.transforms.layer_norm import EPSILON_SUFFIX
from edge_msa_export.transforms.opset17 import check_opset17

_SUFFIX = ".fp16"
_FLOAT16 = np.finfo(np.float16)
_INTEGER_TYPES = (TensorProto.INT32, TensorProto.INT64)


def to_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the same graph with computation in float16.

    Raises:
        ExportError: a constant is beyond the range of float16, or the graph is quantized.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    if any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in graph.node):
        raise ExportError("The graph must not be quantized to convert it to float16. Start from the float32 graph.")
    lower_bounds = {node.input[1] for node in graph.node if node.op_type == "Clip" and len(node.input) > 1}
    for tensor in graph.initializer:
        keep_positive = tensor.name in lower_bounds or tensor.name.endswith(EPSILON_SUFFIX)
        _convert_tensor(tensor, keep_positive=keep_positive)
    for node in graph.node:
        _convert_attributes(node)
    _cast_inputs_and_outputs(graph)
    check_opset17(result)
    return result


def _convert_tensor(tensor: onnx.TensorProto, *, keep_positive: bool) -> None:
    if tensor.data_type != TensorProto.FLOAT:
        return
    values = numpy_helper.to_array(tensor)
    if values.size and not np.abs(values).max() <= _FLOAT16.max:
        raise ExportError(
            f"{tensor.name} must be within the range of float16 (up to {_FLOAT16.max:g}), got "
            f"{np.abs(values).max():g}. Use fp32 or int8."
        )
    if keep_positive:
        # These values keep a divisor above zero, so they must not become subnormal: some devices flush those to zero.
        values = np.where((values > 0) & (values < _FLOAT16.tiny), _FLOAT16.tiny, values)
    tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), tensor.name))


def _convert_attributes(node: onnx.NodeProto) -> None:
    for item in node.attribute:
        if node.op_type == "Cast" and item.name == "to" and item.i == TensorProto.FLOAT:
            item.i = TensorProto.FLOAT16
        elif item.type == onnx.AttributeProto.TENSOR:
            _convert_tensor(item.t, keep_positive=False)


def _cast_inputs_and_outputs(graph: onnx.GraphProto) -> None:
    inputs = [value.name for value in graph.input if value.type.tensor_type.elem_type == TensorProto.FLOAT]
    outputs = [value.name for value in graph.output if value.type.tensor_type.elem_type == TensorProto.FLOAT]
    renamed = set(inputs) | set(outputs)
    counts = _find_counts(graph)
    for node in graph.node:
        if node.output[0] not in counts:
            node.input[:] = [name + _SUFFIX if name in renamed else name for name in node.input]
        node.output[:] = [name + _SUFFIX if name in renamed else name for name in node.output]
    body = list(graph.node)
    del graph.node[:]
    graph.node.extend(_make_cast(name, name + _SUFFIX, TensorProto.FLOAT16) for name in inputs)
    graph.node.extend(body)
    graph.node.extend(_make_cast(name + _SUFFIX, name, TensorProto.FLOAT) for name in outputs)


def _find_counts(graph: onnx.GraphProto) -> set[str]:
    """Return the sums over an input that are only cast to integers.

    They stay float32, because float16 represents integers exactly only up to 2048.
    """
    consumers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            consumers.setdefault(name, []).append(node)
    inputs = {value.name for value in graph.input}
    sums = [node for node in graph.node if node.op_type == "ReduceSum" and node.input[0] in inputs]
    return {
        node.output[0]
        for node in sums
        if all(_casts_to_integer(consumer) for consumer in consumers.get(node.output[0], []))
    }


def _casts_to_integer(node: onnx.NodeProto) -> bool:
    return node.op_type == "Cast" and any(item.name == "to" and item.i in _INTEGER_TYPES for item in node.attribute)


def _make_cast(source: str, target: str, kind: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], name=f"cast.{target}", to=kind)
