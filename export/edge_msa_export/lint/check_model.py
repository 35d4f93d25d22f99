"""Checks of a model as a whole: opset, local paths, shapes, external weights and types."""

from __future__ import annotations

import onnx
from onnx import TensorProto, defs

from edge_msa_export.lint.graph_view import GraphView
from edge_msa_export.lint.local_paths import find_local_paths, iterate_strings
from edge_msa_export.lint.rule import Matches
from edge_msa_export.lint.target import LintTarget, Version
from edge_msa_export.transforms.opset17 import IR_VERSION, OPSET, REDUCE_BY_ATTRIBUTE

# TensorRT version and newest opset that it supports, from docs/operators.md of onnx-tensorrt and, for 11, the opset
# guide. A version between two of them counts as the older one.
_NEWEST_OPSETS: tuple[tuple[Version, int], ...] = (((11, 0), 24), ((10, 15), 24), ((10, 0), 20), ((8, 5), 17))
_OLDEST_OPSET = 9


def exported_versions(view: GraphView, _: LintTarget) -> Matches:
    """Require exactly the opset and IR version that this project exports."""
    versions = {entry.domain: entry.version for entry in view.model.opset_import}
    if versions != {"": OPSET}:
        yield "model", f"Imports opsets {versions}; it must import opset {OPSET} only."
    if view.model.ir_version != IR_VERSION:
        yield "model", f"IR version must be {IR_VERSION}, got {view.model.ir_version}."


def local_functions(view: GraphView, _: LintTarget) -> Matches:
    """Require a model without local functions."""
    for function in view.model.functions:
        yield function.name, "Not every backend supports local functions."


def local_paths(view: GraphView, _: LintTarget) -> Matches:
    """Require a model without paths of the machine that wrote it."""
    strings = list(iterate_strings(view.model, "model"))
    if find_local_paths("\n".join(text for _, text in strings)) is None:
        return  # One search over thousands of names keeps the usual case fast.
    for location, text in strings:
        path = find_local_paths(text)
        if path:
            yield location, f"Contains the local path {path}."


def static_shapes(view: GraphView, _: LintTarget) -> Matches:
    """Require fixed dimensions of all inputs and outputs."""
    for value in (*view.graph.input, *view.graph.output):
        tensor = value.type.tensor_type
        if not tensor.HasField("shape") or any(dim.dim_value <= 0 for dim in tensor.shape.dim):
            yield value.name, "Has a dimension that is not a fixed number."


def opset_version(view: GraphView, target: LintTarget) -> Matches:
    """Require an opset that TensorRT's parser supports."""
    newest = next(opset for since, opset in _NEWEST_OPSETS if since <= target.version)
    if not _OLDEST_OPSET <= view.opset <= newest:
        yield (
            "model",
            f"{target} supports opsets {_OLDEST_OPSET} to {newest}, got {view.opset}. Export at opset {OPSET}.",
        )


def opset_schema(view: GraphView, _: LintTarget) -> Matches:
    """Require that every operator, attribute and input exists in the opset that the model declares."""
    for node in view.nodes:
        if node.domain not in ("", "ai.onnx"):
            continue
        try:
            schema = defs.get_schema(node.op_type, view.opset)
        except defs.SchemaError:
            yield view.describe(node), f"Opset {view.opset}, which the model declares, does not have this operator."
            continue
        unknown = [item.name for item in node.attribute if item.name not in schema.attributes]
        if unknown:
            yield view.describe(node), f"Attribute {unknown[0]} does not exist at opset {view.opset}."
        elif len(node.input) > schema.max_input:
            limit = f"at opset {view.opset} it takes at most {schema.max_input}"
            reason = "Newer opsets turned some attributes into inputs."
            yield view.describe(node), f"Has {len(node.input)} inputs; {limit}. {reason}"


def explicit_axes(view: GraphView, _: LintTarget) -> Matches:
    """Require that every Reduce names its axes in the form of opset 17."""
    for node in view.nodes:
        has_attribute = any(item.name == "axes" for item in node.attribute)
        if node.op_type in REDUCE_BY_ATTRIBUTE and len(node.input) < 2 and not has_attribute:
            yield view.describe(node), f"Must have its axes as an attribute at opset {OPSET}."
        elif node.op_type == "ReduceSum" and len(node.input) < 2:
            yield view.describe(node), f"Must have its axes as an input at opset {OPSET}."


def axes_attribute(view: GraphView, target: LintTarget) -> Matches:
    """Require axes as an attribute, because TensorRT 8 ignores the input and reduces over all axes."""
    for node in view.nodes:
        if node.op_type in REDUCE_BY_ATTRIBUTE and len(node.input) > 1:
            yield (
                view.describe(node),
                f"Has its axes as an input; {target} uses the attribute only and would reduce over all axes.",
            )


def constant_axes(view: GraphView, _: LintTarget) -> Matches:
    """Require constant axes for every Reduce."""
    for node in view.nodes:
        if node.op_type.startswith("Reduce") and len(node.input) > 1 and node.input[1] not in view.constants:
            yield view.describe(node), "Computes its axes; they must be constant."


def external_weights(view: GraphView, _: LintTarget) -> Matches:
    """Note that external weights are found only if the model is loaded by its path."""
    files = {
        entry.value
        for tensor in view.graph.initializer
        if tensor.data_location == TensorProto.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    }
    if files:
        yield "model", f"Stores weights in {', '.join(sorted(files))}. Parse the model by its path, not from memory."


def strong_typing(view: GraphView, _: LintTarget) -> Matches:
    """Note that without a flag for float16, float32 in the graph computes in float32."""
    if not has_float16(view):
        part = "Everything that is not int8" if view.quantized else "The whole graph"
        yield "model", f"{part} computes in float32: types come from the graph, and no flag changes them."


def has_float16(view: GraphView) -> bool:
    """Return whether anything in the graph is float16."""
    constants = any(tensor.data_type == TensorProto.FLOAT16 for tensor in view.constants.values())
    return constants or any(_casts_to_float16(node) for node in view.nodes)


def _casts_to_float16(node: onnx.NodeProto) -> bool:
    return node.op_type == "Cast" and any(item.i == TensorProto.FLOAT16 for item in node.attribute if item.name == "to")
