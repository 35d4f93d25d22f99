"""Lowers what torch's exporter writes to a valid opset 17 graph, which every backend interprets in the same way.

torch's exporter writes opset 18 regardless of the requested opset. TensorRT 8 takes the axes of a Reduce
from the attribute only, so that an opset-18 Reduce would silently reduce over all axes (onnx-tensorrt,
docs/operators.md of release/8.5-GA).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import checker, helper, numpy_helper

from edge_msa_export.errors import ExportError
from edge_msa_export.transforms.causal_padding import fold_causal_padding

OPSET = 17
IR_VERSION = 8

# Opset 18 turned the axes of these operators into an input. ReduceSum is not among them: its axes are an input since
# opset 13.
REDUCE_BY_ATTRIBUTE = frozenset(
    {
        "ReduceL1",
        "ReduceL2",
        "ReduceLogSum",
        "ReduceLogSumExp",
        "ReduceMax",
        "ReduceMean",
        "ReduceMin",
        "ReduceProd",
        "ReduceSumSquare",
    }
)


def to_opset17(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph at opset 17 and IR version 8, without traces of the machine that made it.

    Raises:
        ExportError: an operator has no equivalent at opset 17, or the result is not a valid graph.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    if result.functions:
        raise ExportError(f"The graph must not have local functions, got {result.functions[0].name!r}.")
    for node in result.graph.node:
        _lower(node, result.graph)
    _fold_constant_fills(result.graph)
    fold_causal_padding(result.graph)
    _drop_unused_constants(result.graph)
    _anonymize(result)
    del result.opset_import[:]
    result.opset_import.append(helper.make_opsetid("", OPSET))
    result.ir_version = IR_VERSION
    check_opset17(result)
    return result


def check_opset17(model: onnx.ModelProto) -> None:
    """Raise an error if a model is not valid at exactly opset 17 and IR version 8.

    Raises:
        ExportError: the model has other versions or is not valid.
    """
    versions = {entry.domain: entry.version for entry in model.opset_import}
    if versions != {"": OPSET} or model.ir_version != IR_VERSION:
        raise ExportError(
            f"The graph must have opset {OPSET} only and IR version {IR_VERSION}, got opset {versions} and IR version "
            f"{model.ir_version}."
        )
    try:
        checker.check_model(model, full_check=True)
    except (checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        lines = str(error).strip().splitlines() or ["no reason given"]
        raise ExportError(f"The graph is not valid at opset {OPSET}: {lines[0]}") from error


def collect_constants(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """Return every constant of a graph by name, from initializers and Constant nodes."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            for item in node.attribute:
                if item.name == "value":
                    constants[node.output[0]] = item.t
    return constants


def _lower(node: onnx.NodeProto, graph: onnx.GraphProto) -> None:
    """Convert one node from opset 18 to 17, in place."""
    if node.op_type in REDUCE_BY_ATTRIBUTE:
        _drop_attribute(node, "noop_with_empty_axes")
        if len(node.input) > 1:
            _move_axes_to_attribute(node, graph)
    elif node.op_type == "Split":
        _drop_attribute(node, "num_outputs")
    elif node.op_type == "Pad" and len(node.input) > 3:
        raise ExportError(
            f"Pad {node.name!r} has an axes input, which opset {OPSET} does not support. Use Concat instead."
        )


def _move_axes_to_attribute(node: onnx.NodeProto, graph: onnx.GraphProto) -> None:
    constants = collect_constants(graph)
    if node.input[1] not in constants:
        raise ExportError(f"{node.op_type} {node.name!r} must have constant axes at opset {OPSET}, got computed ones.")
    axes = numpy_helper.to_array(constants[node.input[1]]).ravel().tolist()
    del node.input[1]
    node.attribute.append(helper.make_attribute("axes", [int(axis) for axis in axes]))


def _drop_attribute(node: onnx.NodeProto, name: str) -> None:
    kept = [item for item in node.attribute if item.name != name]
    del node.attribute[:]
    node.attribute.extend(kept)


def _fold_constant_fills(graph: onnx.GraphProto) -> None:
    """Replace every ConstantOfShape with a constant shape by its value, such as the initial state of a window graph."""
    constants = collect_constants(graph)
    kept = []
    for node in graph.node:
        if node.op_type != "ConstantOfShape" or node.input[0] not in constants:
            kept.append(node)
            continue
        shape = numpy_helper.to_array(constants[node.input[0]]).tolist()
        fill = numpy_helper.to_array(node.attribute[0].t)[0] if node.attribute else np.float32(0)
        graph.initializer.append(numpy_helper.from_array(np.full(shape, fill), node.output[0]))
    del graph.node[:]
    graph.node.extend(kept)


def _drop_unused_constants(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    initializers = [tensor for tensor in graph.initializer if tensor.name in used]
    nodes = [node for node in graph.node if node.op_type != "Constant" or node.output[0] in used]
    del graph.initializer[:]
    graph.initializer.extend(initializers)
    del graph.node[:]
    graph.node.extend(nodes)


def _anonymize(model: onnx.ModelProto) -> None:
    """Delete stack traces, inferred shapes and the producer, which expose local paths and differ between runs."""
    for message in _iterate_annotated(model):
        message.ClearField("doc_string")
        if "metadata_props" in message.DESCRIPTOR.fields_by_name:
            message.ClearField("metadata_props")
    model.graph.ClearField("value_info")
    model.graph.ClearField("quantization_annotation")
    model.graph.name = "edge_msa"
    model.producer_name = "edge-msa"
    for field in ("producer_version", "domain", "model_version"):
        model.ClearField(field)


def _iterate_annotated(model: onnx.ModelProto) -> Iterator[Any]:
    graph = model.graph
    yield model
    yield graph
    yield from graph.node
    yield from graph.initializer
    yield from graph.input
    yield from graph.output
