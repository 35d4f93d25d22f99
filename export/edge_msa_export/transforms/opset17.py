"""From what torch's exporter writes to a true opset 17, which every backend of the targets reads the same way.

torch's exporter answers opset 18 whatever it is asked for, and TensorRT 8 reads the axes of a Reduce from the
attribute alone: an opset-18 Reduce there reduces over all axes without a word (reference/export-recipe.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import checker, helper, numpy_helper

from edge_msa_export.errors import ExportError

OPSET = 17
IR_VERSION = 8

# Their axes became an input at opset 18. ReduceSum's did at 13, so there the input is right.
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
    """The same graph as a true opset 17 and IR version 8, without traces of where it was made.

    Raises:
        ExportError: an operator has no equivalent at opset 17, or the result is not a valid graph.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    if result.functions:
        raise ExportError(f"the graph has local functions ({result.functions[0].name}); export without them")
    for node in result.graph.node:
        _lower(node, result.graph)
    _fold_fills(result.graph)
    _drop_unused_constants(result.graph)
    _anonymise(result)
    del result.opset_import[:]
    result.opset_import.append(helper.make_opsetid("", OPSET))
    result.ir_version = IR_VERSION
    check(result)
    return result


def check(model: onnx.ModelProto) -> None:
    """Refuse a model that is not valid at exactly opset 17 and IR version 8.

    Raises:
        ExportError: it is not.
    """
    versions = {entry.domain: entry.version for entry in model.opset_import}
    if versions != {"": OPSET} or model.ir_version != IR_VERSION:
        raise ExportError(
            f"the graph is opset {versions}, IR version {model.ir_version}; it must be {OPSET} and {IR_VERSION} alone"
        )
    try:
        checker.check_model(model, full_check=True)
    except (checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        lines = str(error).strip().splitlines() or ["no reason given"]
        raise ExportError(f"the graph is not valid at opset {OPSET}: {lines[0]}") from error


def constants_of(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """Every constant of a graph by its name, initializers and Constant nodes alike."""
    found = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            for item in node.attribute:
                if item.name == "value":
                    found[node.output[0]] = item.t
    return found


def _lower(node: onnx.NodeProto, graph: onnx.GraphProto) -> None:
    """Rewrite one node from opset 18 to 17, in place."""
    if node.op_type in REDUCE_BY_ATTRIBUTE:
        _drop_attribute(node, "noop_with_empty_axes")
        if len(node.input) > 1:
            _axes_to_attribute(node, graph)
    elif node.op_type == "Split":
        _drop_attribute(node, "num_outputs")
    elif node.op_type == "Pad" and len(node.input) > 3:
        raise ExportError(f"Pad {node.name!r} names its axes, which opset {OPSET} cannot; concatenate instead")


def _axes_to_attribute(node: onnx.NodeProto, graph: onnx.GraphProto) -> None:
    constants = constants_of(graph)
    if node.input[1] not in constants:
        raise ExportError(f"{node.op_type} {node.name!r} computes its axes; opset {OPSET} needs them constant")
    axes = numpy_helper.to_array(constants[node.input[1]]).ravel().tolist()
    del node.input[1]
    node.attribute.append(helper.make_attribute("axes", [int(axis) for axis in axes]))


def _drop_attribute(node: onnx.NodeProto, name: str) -> None:
    kept = [item for item in node.attribute if item.name != name]
    del node.attribute[:]
    node.attribute.extend(kept)


def _fold_fills(graph: onnx.GraphProto) -> None:
    """Replace a ConstantOfShape of a constant shape, an initial state of a window graph, by its value."""
    constants = constants_of(graph)
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


def _anonymise(model: onnx.ModelProto) -> None:
    """Delete stack traces, shapes inferred on the way, and who wrote it: they leak paths and differ between runs."""
    for message in _annotated(model):
        message.ClearField("doc_string")
        if "metadata_props" in message.DESCRIPTOR.fields_by_name:
            message.ClearField("metadata_props")
    model.graph.ClearField("value_info")
    model.graph.ClearField("quantization_annotation")
    model.graph.name = "edge_msa"
    model.producer_name = "edge-msa"
    for field in ("producer_version", "domain", "model_version"):
        model.ClearField(field)


def _annotated(model: onnx.ModelProto) -> Iterator[Any]:
    graph = model.graph
    yield model
    yield graph
    yield from graph.node
    yield from graph.initializer
    yield from graph.input
    yield from graph.output
