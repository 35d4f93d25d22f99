"""Converts int8 weights to the form that TensorRT 8 supports: float32 weights followed by a Q/DQ pair.

The parser of TensorRT 8 rejects int8 constants ("invalid weights type of Int8", onnxruntime issue 11535; optimum pull
request 812), which every other backend supports. TensorRT folds the pair when it builds. The integers stay the same.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edge_msa_export.transforms.opset17 import check_opset17, collect_constants


def weights_to_qdq_pairs(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the same graph with each dequantized constant stored as float32 and quantized inside the graph."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    constants = collect_constants(graph)
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in constants:
            nodes.append(_insert_quantize(node, constants))
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    check_opset17(result)
    return result


def _insert_quantize(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> onnx.NodeProto:
    """Convert the constant of a DequantizeLinear to float32, and return a QuantizeLinear that feeds the node."""
    name = node.input[0]
    tensor = constants[name]
    integers = numpy_helper.to_array(tensor)
    scales = numpy_helper.to_array(constants[node.input[1]])
    if scales.size > 1:
        axis = next((int(item.i) for item in node.attribute if item.name == "axis"), 1)
        scales = scales.reshape([-1 if index == axis else 1 for index in range(integers.ndim)])
    # (integer * scale) / scale rounds to the same integer: the error of float32 is far below half a step of 127.
    tensor.CopyFrom(numpy_helper.from_array((integers * scales).astype(np.float32), name))
    quantized = f"{name}.int8"
    quantize = helper.make_node("QuantizeLinear", [name, *node.input[1:]], [quantized], name=f"quantize.{name}")
    quantize.attribute.extend(node.attribute)
    node.input[0] = quantized
    return quantize
