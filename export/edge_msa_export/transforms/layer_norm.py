"""Decomposes LayerNormalization for TensorRT 8.5, which does not support it; 8.6 added it.

From 8.6 on it stays whole: "numerical accuracy using function ops is superior to corresponding implementation with
primitive ops for normalization layers", in particular in mixed precision (TensorRT 8.6 release notes, as quoted in
https://github.com/NVIDIA/TensorRT/issues/3657). TensorRT computes it in float32 inside a float16 graph, as other
backends do by default. The decomposed means and squares are computed in float16.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edge_msa_export.errors import ExportError
from edge_msa_export.transforms.opset17 import check_opset17

FIRST_VERSION_WITH_LAYER_NORM = (8, 6)
"""First TensorRT version that supports LayerNormalization (docs/Changelog.md of onnx-tensorrt)."""
EPSILON_SUFFIX = ".epsilon"
"""Suffix of the constants that keep a divisor above zero. BERT's 1e-12 would become 0 in float16."""
_DEFAULT_EPSILON = 1e-5


def decompose_layer_norms(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the same graph with every LayerNormalization replaced by elementary operators.

    Raises:
        ExportError: a LayerNormalization is not over the last axis only.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        nodes.extend(_decompose(node, graph) if node.op_type == "LayerNormalization" else [node])
    del graph.node[:]
    graph.node.extend(nodes)
    check_opset17(result)
    return result


def _decompose(node: onnx.NodeProto, graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    output = node.output[0]
    axis = next((int(item.i) for item in node.attribute if item.name == "axis"), -1)
    if axis != -1 or len(node.output) > 1:
        raise ExportError(
            f"LayerNormalization {node.name or output!r} must be over the last axis only, with one output, to be "
            f"decomposed for TensorRT 8.5; got axis {axis} and {len(node.output)} outputs."
        )
    epsilon = next((float(item.f) for item in node.attribute if item.name == "epsilon"), _DEFAULT_EPSILON)
    graph.initializer.append(numpy_helper.from_array(np.array(epsilon, np.float32), output + EPSILON_SUFFIX))
    source, scale, *bias = node.input
    mean, centered, square, variance, shifted, root, normalized = (
        f"{output}.{part}" for part in ("mean", "centered", "square", "variance", "shifted", "root", "normalized")
    )
    yield helper.make_node("ReduceMean", [source], [mean], axes=[-1], keepdims=1)
    yield helper.make_node("Sub", [source, mean], [centered])
    yield helper.make_node("Mul", [centered, centered], [square])
    yield helper.make_node("ReduceMean", [square], [variance], axes=[-1], keepdims=1)
    yield helper.make_node("Add", [variance, output + EPSILON_SUFFIX], [shifted])
    yield helper.make_node("Sqrt", [shifted], [root])
    yield helper.make_node("Div", [centered, root], [normalized])
    scaled = f"{output}.scaled" if bias else output
    yield helper.make_node("Mul", [normalized, scale], [scaled])
    if bias:
        yield helper.make_node("Add", [scaled, bias[0]], [output])
