"""LayerNormalization in the operators that TensorRT 8.5 has; it got an importer of its own with 8.6.

From 8.6 on it stays whole: "numerical accuracy using function ops is superior to corresponding implementation with
primitive ops for normalization layers", in mixed precision above all (TensorRT 8.6 release notes, as quoted in
https://github.com/NVIDIA/TensorRT/issues/3657). It computes in float32 inside a float16 graph, and so do backends that
are told nothing else; means and squares of float16 would not.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edge_msa_export.errors import ExportError
from edge_msa_export.transforms.opset17 import check

FIRST_WITH_LAYER_NORM = (8, 6)
"""Of TensorRT: onnx-tensorrt, docs/Changelog.md."""
_EPSILON = 1e-5
# What keeps a root away from zero; float16 would make nothing of BERT's 1e-12.
EPSILON_SUFFIX = ".epsilon"


def decompose_layer_norms(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with every LayerNormalization over the last axis as means, differences and a root."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        nodes.extend(_parts(node, graph) if node.op_type == "LayerNormalization" else [node])
    del graph.node[:]
    graph.node.extend(nodes)
    check(result)
    return result


def _parts(node: onnx.NodeProto, graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    made = node.output[0]
    axis = next((int(item.i) for item in node.attribute if item.name == "axis"), -1)
    if axis != -1 or len(node.output) > 1:
        raise ExportError(
            f"LayerNormalization {node.name or made!r} is not over the last axis alone; TensorRT 8.5 has none"
        )
    epsilon = next((float(item.f) for item in node.attribute if item.name == "epsilon"), _EPSILON)
    graph.initializer.append(numpy_helper.from_array(np.array(epsilon, np.float32), made + EPSILON_SUFFIX))
    source, scale, *bias = node.input
    names = {part: f"{made}.{part}" for part in ("mean", "centred", "square", "variance", "shifted", "root", "normed")}
    yield helper.make_node("ReduceMean", [source], [names["mean"]], axes=[-1], keepdims=1)
    yield helper.make_node("Sub", [source, names["mean"]], [names["centred"]])
    yield helper.make_node("Mul", [names["centred"], names["centred"]], [names["square"]])
    yield helper.make_node("ReduceMean", [names["square"]], [names["variance"]], axes=[-1], keepdims=1)
    yield helper.make_node("Add", [names["variance"], made + EPSILON_SUFFIX], [names["shifted"]])
    yield helper.make_node("Sqrt", [names["shifted"]], [names["root"]])
    yield helper.make_node("Div", [names["centred"], names["root"]], [names["normed"]])
    scaled = f"{made}.scaled" if bias else made
    yield helper.make_node("Mul", [names["normed"], scale], [scaled])
    if bias:
        yield helper.make_node("Add", [scaled, bias[0]], [made])
