"""Checks of a model as a whole: opset, paths, shapes, where its weights lie, and in what it computes."""

from __future__ import annotations

import onnx
from onnx import TensorProto, defs

from edge_msa_export.lint.lint_target import LintTarget, Version
from edge_msa_export.lint.paths import find_local_paths, strings_of
from edge_msa_export.lint.rule import Hits
from edge_msa_export.lint.view import GraphView
from edge_msa_export.transforms.opset17 import IR_VERSION, OPSET, REDUCE_BY_ATTRIBUTE

# onnx-tensorrt, docs/operators.md of the version, and the opset guide of 11; between two the older one holds.
_NEWEST_OPSETS: tuple[tuple[Version, int], ...] = (((11, 0), 24), ((10, 15), 24), ((10, 0), 20), ((8, 5), 17))
_OLDEST_OPSET = 9


def our_versions(view: GraphView, _: LintTarget) -> Hits:
    """Exactly the opset and IR version of this project's graphs."""
    versions = {entry.domain: entry.version for entry in view.model.opset_import}
    if versions != {"": OPSET}:
        yield "model", f"imports {versions}, not opset {OPSET} alone"
    if view.model.ir_version != IR_VERSION:
        yield "model", f"is IR version {view.model.ir_version}, not {IR_VERSION}"


def functions(view: GraphView, _: LintTarget) -> Hits:
    """No local functions."""
    for function in view.model.functions:
        yield function.name, "local functions are not read by every backend"


def local_paths(view: GraphView, _: LintTarget) -> Hits:
    """No paths of the machine that wrote it."""
    strings = list(strings_of(view.model, "model"))
    if find_local_paths("\n".join(text for _, text in strings)) is None:
        return  # thousands of names, looked at together: the usual case is quick
    for where, text in strings:
        found = find_local_paths(text)
        if found:
            yield where, f"holds {found}"


def static_shapes(view: GraphView, _: LintTarget) -> Hits:
    """Every dimension of inputs and outputs is a number."""
    for value in (*view.graph.input, *view.graph.output):
        tensor = value.type.tensor_type
        if not tensor.HasField("shape") or any(dim.dim_value <= 0 for dim in tensor.shape.dim):
            yield value.name, "a dimension is not a fixed number"


def opset(view: GraphView, lint_target: LintTarget) -> Hits:
    """An opset that TensorRT's parser of that version reads."""
    newest = next(number for since, number in _NEWEST_OPSETS if since <= lint_target.version)
    if not _OLDEST_OPSET <= view.opset <= newest:
        yield (
            "model",
            f"is opset {view.opset}; {lint_target} reads {_OLDEST_OPSET} to {newest}: export it at opset {OPSET}",
        )


def true_opset(view: GraphView, _: LintTarget) -> Hits:
    """No operator, attribute or input that the claimed opset does not have."""
    for node in view.nodes:
        if node.domain not in ("", "ai.onnx"):
            continue
        try:
            schema = defs.get_schema(node.op_type, view.opset)
        except defs.SchemaError:
            yield view.where(node), f"is not in opset {view.opset}, which the model claims"
            continue
        unknown = [item.name for item in node.attribute if item.name not in schema.attributes]
        if unknown:
            yield view.where(node), f"has {unknown[0]}, which it does not have at opset {view.opset}"
        elif len(node.input) > schema.max_input:
            takes = f"at opset {view.opset} it takes {schema.max_input}: a newer one has attributes as inputs"
            yield view.where(node), f"reads {len(node.input)} tensors, {takes}"


def named_axes(view: GraphView, _: LintTarget) -> Hits:
    """A Reduce names its axes, where its opset wants them."""
    for node in view.nodes:
        named = any(item.name == "axes" for item in node.attribute)
        if node.op_type in REDUCE_BY_ATTRIBUTE and len(node.input) < 2 and not named:
            yield view.where(node), f"must name its axes in the attribute at opset {OPSET}"
        elif node.op_type == "ReduceSum" and len(node.input) < 2:
            yield view.where(node), f"must name its axes as an input at opset {OPSET}"


def axes_attribute(view: GraphView, lint_target: LintTarget) -> Hits:
    """A Reduce whose axes are an input reduces over all axes, without a word."""
    for node in view.nodes:
        if node.op_type in REDUCE_BY_ATTRIBUTE and len(node.input) > 1:
            yield (
                view.where(node),
                f"names its axes as an input; {lint_target} reads the attribute alone, and reduces all axes",
            )


def constant_axes(view: GraphView, _: LintTarget) -> Hits:
    """The axes of a Reduce are constant."""
    for node in view.nodes:
        if node.op_type.startswith("Reduce") and len(node.input) > 1 and node.input[1] not in view.constants:
            yield view.where(node), "computes its axes, which must be constant"


def external_weights(view: GraphView, _: LintTarget) -> Hits:
    """Weights in a file beside the graph are found from the graph's path alone."""
    places = {
        entry.value
        for tensor in view.graph.initializer
        if tensor.data_location == TensorProto.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    }
    if places:
        yield "model", f"keeps weights in {', '.join(sorted(places))}: parse it by its path, not from memory"


def strong_types(view: GraphView, _: LintTarget) -> Hits:
    """There is no flag for float16, so what is float32 in the graph computes in float32."""
    if not has_half(view):
        part = "what is not int8" if view.quantized else "all of it"
        yield "model", f"{part} computes in float32: types come from the graph, and no flag changes them"


def has_half(view: GraphView) -> bool:
    """Whether anything in the graph is float16."""
    constants = any(tensor.data_type == TensorProto.FLOAT16 for tensor in view.constants.values())
    return constants or any(_casts_to_half(node) for node in view.nodes)


def _casts_to_half(node: onnx.NodeProto) -> bool:
    return node.op_type == "Cast" and any(item.i == TensorProto.FLOAT16 for item in node.attribute if item.name == "to")
