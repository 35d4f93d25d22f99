"""Int8 weights as TensorRT 8 takes them: float32, with a Q/DQ pair behind.

Its parser refuses int8 constants ("invalid weights type of Int8", onnxruntime issue 11535; optimum pull request 812),
which every other backend reads; TensorRT folds the pair when it builds. The integers stay the same.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edge_msa_export.transforms.opset17 import check, constants_of


def weights_as_pairs(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with each dequantized constant stored as float32 and quantized in the graph."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    constants = constants_of(graph)
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in constants:
            nodes.append(_quantize_again(node, constants))
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    check(result)
    return result


def _quantize_again(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> onnx.NodeProto:
    """Turn the constant that `node` reads into float32, and make the node that quantizes it; `node` reads that."""
    name = node.input[0]
    stored = constants[name]
    integers = numpy_helper.to_array(stored)
    scales = numpy_helper.to_array(constants[node.input[1]])
    if scales.size > 1:
        axis = next((int(item.i) for item in node.attribute if item.name == "axis"), 1)
        scales = scales.reshape([-1 if index == axis else 1 for index in range(integers.ndim)])
    # integer * scale / scale rounds back to the integer: float32 errs by far less than half a step of 127.
    stored.CopyFrom(numpy_helper.from_array((integers * scales).astype(np.float32), name))
    made = f"{name}.int8"
    again = helper.make_node("QuantizeLinear", [name, *node.input[1:]], [made], name=f"quantize.{name}")
    again.attribute.extend(node.attribute)
    node.input[0] = made
    return again
