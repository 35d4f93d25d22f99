"""Count the multiply-accumulate operations (MACs) of a graph, to state which share of them computes in INT8."""

from __future__ import annotations

import math
from collections.abc import Iterator

import onnx
from onnx import helper, shape_inference

_MAX_ELEMENTS = 1024  # larger constants are weights, whose values cannot determine a shape


def count_macs(model: onnx.ModelProto) -> dict[str, int]:
    """Return the number of MACs of every convolution, matrix product and GRU of a graph, by the name of the node.

    Elementwise operations, sums and softmax do not count. Only graphs with static shapes can be counted; a node whose
    shapes are unknown counts as 0.
    """
    shapes = _infer_shapes(model)
    return {node.name or node.output[0]: macs for node in model.graph.node for macs in _count_node(node, shapes)}


def _count_node(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]) -> Iterator[int]:
    """Yield the MACs of a node that has any."""
    if node.op_type not in ("Conv", "MatMul", "Gemm", "GRU"):
        return
    first, weight, result = (shapes.get(name) for name in (node.input[0], node.input[1], node.output[0]))
    if first is None or weight is None:
        yield 0
    elif node.op_type == "GRU":  # (T, B, C) times W and R, each (directions, 3 * hidden, ...)
        hidden = weight[1] // 3
        yield math.prod(first[:2]) * weight[0] * weight[1] * (weight[2] + hidden)
    elif result is None:
        yield 0
    elif node.op_type == "Conv":
        yield math.prod(result) * math.prod(weight[1:])
    else:
        transposed = any(item.name == "transA" and helper.get_attribute_value(item) for item in node.attribute)
        yield math.prod(result) * first[0 if transposed else -1]


def _infer_shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Return the static shapes of the tensors of a graph. The values of large weights are not copied."""
    light = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    light.graph.name = model.graph.name
    light.graph.node.extend(model.graph.node)
    light.graph.input.extend(model.graph.input)
    light.graph.output.extend(model.graph.output)
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) > _MAX_ELEMENTS:
            light.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
        else:
            light.graph.initializer.append(tensor)
    graph = shape_inference.infer_shapes(light, data_prop=True).graph
    shapes = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        dims = value.type.tensor_type.shape.dim
        if all(dim.HasField("dim_value") for dim in dims):
            shapes[value.name] = tuple(dim.dim_value for dim in dims)
    return shapes | {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
