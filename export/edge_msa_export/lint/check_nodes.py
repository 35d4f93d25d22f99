"""Checks of nodes and types: what a version has an importer for."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from edge_msa_export.lint.lint_target import LintTarget, Version, text_of
from edge_msa_export.lint.operators import LATER, QUANTIZED, operators_of
from edge_msa_export.lint.rule import Hits
from edge_msa_export.lint.view import QUANTIZERS, GraphView

# By name: an older onnx does not have them all.
_TYPES: dict[str, Version] = {
    **dict.fromkeys(("FLOAT", "FLOAT16", "DOUBLE", "INT8", "INT32", "INT64", "BOOL"), (8, 5)),
    "BFLOAT16": (9, 0),
    "FLOAT8E4M3FN": (9, 0),
    "INT4": (10, 0),
    "FLOAT4E2M1": (10, 15),
}
_INT32 = np.iinfo(np.int32)
_CONSTANT = ("Constant", "Identity", "Cast")


def operator(view: GraphView, lint_target: LintTarget) -> Hits:
    """Every operator has an importer in that backend at that version."""
    known = operators_of(lint_target)
    for node in view.nodes:
        if node.op_type in QUANTIZED and lint_target.backend == "tensorrt":
            continue  # has a rule of its own, that says what to do
        if node.domain in ("", "ai.onnx") and node.op_type in known:
            continue
        since = LATER.get(node.op_type) if lint_target.backend == "tensorrt" and not node.domain else None
        hint = f", TensorRT {text_of(since)} is the first that does" if since else ""
        yield view.where(node), f"{lint_target} does not read {node.domain or 'ai.onnx'}:{node.op_type}{hint}"


def quantized_operator(view: GraphView, _: LintTarget) -> Hits:
    """Int8 is told by Q/DQ, not by operators that compute in int8."""
    for node in view.nodes:
        if node.op_type in QUANTIZED:
            yield view.where(node), "is not imported: quantize to QuantizeLinear and DequantizeLinear (QDQ) instead"


def layer_norm_outputs(view: GraphView, _: LintTarget) -> Hits:
    """A LayerNormalization gives its first output alone."""
    for node in view.nodes:
        if node.op_type == "LayerNormalization" and sum(bool(name) for name in node.output) > 1:
            yield view.where(node), "gives its mean or deviation too; only the first output is read"


def edge_types(view: GraphView, lint_target: LintTarget) -> Hits:
    """Inputs and outputs of types that are bound as they are."""
    for value in (*view.graph.input, *view.graph.output):
        kind = value.type.tensor_type.elem_type
        name = TensorProto.DataType.Name(kind)
        if kind == TensorProto.DOUBLE:
            yield value.name, "is DOUBLE, which is bound as float32: what is fed as float64 is read wrongly"
        elif kind != TensorProto.UINT8 and not _has(kind, lint_target):
            yield value.name, f"is {name}, which {lint_target} does not bind"


def inner_types(view: GraphView, lint_target: LintTarget) -> Hits:
    """Constants and casts of types that the version has; UINT8 is for inputs and outputs alone."""
    for name, tensor in view.constants.items():
        lint_targets = view.users.get(name, [])
        if _has(tensor.data_type, lint_target) or (
            lint_targets and all(user.op_type in QUANTIZERS for user in lint_targets)
        ):
            continue  # the zero point of a Q/DQ has a rule of its own
        yield name, f"is {TensorProto.DataType.Name(tensor.data_type)}, which {lint_target} does not have"
    for node in view.nodes:
        for item in node.attribute:
            if node.op_type == "Cast" and item.name == "to" and not _has(item.i, lint_target):
                yield view.where(node), f"to {TensorProto.DataType.Name(item.i)}, which {lint_target} does not have"


def double_constants(view: GraphView, _: LintTarget) -> Hits:
    """Constants of float64 lose digits."""
    for name, tensor in view.constants.items():
        if tensor.data_type == TensorProto.DOUBLE:
            yield name, "is DOUBLE, which is cast down to float32"


def int64_edges(view: GraphView, lint_target: LintTarget) -> Hits:
    """INT64 inputs and outputs are bound as INT32."""
    for value in (*view.graph.input, *view.graph.output):
        if value.type.tensor_type.elem_type == TensorProto.INT64:
            yield value.name, f"is INT64, which {lint_target} binds as INT32: give it int32"


def int64_range(view: GraphView, _: LintTarget) -> Hits:
    """INT64 constants fit INT32, which they are cut to; the end of a Slice may be cut."""
    for name, tensor in view.constants.items():
        if tensor.data_type != TensorProto.INT64:
            continue
        value = view.value(name)
        users = [user.op_type for user in view.users.get(name, []) if user.op_type not in _CONSTANT]
        if value is None or not value.size or set(users) <= {"Slice"}:
            continue
        if value.min() < _INT32.min or value.max() > _INT32.max:
            yield name, "has numbers beyond int32, which are cut to it"


def _has(kind: int, lint_target: LintTarget) -> bool:
    since = _TYPES.get(TensorProto.DataType.Name(kind))
    return since is not None and since <= lint_target.version
