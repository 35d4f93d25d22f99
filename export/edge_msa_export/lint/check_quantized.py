"""Checks of Q/DQ: what TensorRT asks of scales, zero points, weights and biases."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto

from edge_msa_export.lint.lint_target import LintTarget
from edge_msa_export.lint.rule import Hits
from edge_msa_export.lint.view import QUANTIZERS, GraphView, attribute


def scale(view: GraphView, _: LintTarget) -> Hits:
    """A scale is constant, positive and finite."""
    for node in _quantizers(view):
        if node.input[1] not in view.constants:
            yield view.where(node), "the scale is computed, not constant"
            continue
        value = view.value(node.input[1])
        if value is not None and not (np.isfinite(value).all() and np.greater(value, 0).all()):
            yield view.where(node), "the scale is not positive and finite"


def zero_point(view: GraphView, lint_target: LintTarget) -> Hits:
    """A zero point is a constant int8 zero: int8 is symmetric."""
    for node in _quantizers(view):
        if len(node.input) < 3 or not node.input[2]:
            yield view.where(node), "there is no zero point, which makes the type uint8"
            continue
        tensor, value = view.constants.get(node.input[2]), view.value(node.input[2])
        if tensor is None:
            yield view.where(node), "the zero point is computed, not constant"
        elif tensor.data_type != TensorProto.INT8:
            kind = TensorProto.DataType.Name(tensor.data_type)
            yield view.where(node), f"the zero point is {kind}; {lint_target} quantizes to INT8 alone"
        elif value is not None and value.any():
            yield view.where(node), "the zero point is not 0: int8 must be symmetric"


def activation_scale(view: GraphView, _: LintTarget) -> Hits:
    """An activation has one scale a tensor."""
    for node in _quantizers(view):
        tensor = view.constants.get(node.input[1])
        if tensor is not None and int(np.prod(tensor.dims)) > 1 and not view.is_weight(node.input[0]):
            yield view.where(node), "has a scale a channel; activations take one a tensor"


def weight_axis(view: GraphView, _: LintTarget) -> Hits:
    """A weight has a scale a channel of what it gives: Conv on axis 0, MatMul [K, N] on its last."""
    for node in view.weighted():
        name = node.input[1]
        if not (view.is_dequantized(name) and view.is_weight(name)):
            continue
        maker = view.makers[name]
        scales, shape = view.constants.get(maker.input[1]), view.shapes.get(maker.input[0])
        if scales is None or int(np.prod(scales.dims)) == 1 or shape is None:
            continue
        axis, wanted = attribute(maker, "axis", 1) % len(shape), _output_axis(node, len(shape))
        if axis != wanted:
            yield view.where(node), f"its weight has scales on axis {axis}, they must be on axis {wanted}"


def bias(view: GraphView, _: LintTarget) -> Hits:
    """A bias stays float."""
    for node in view.weighted():
        if len(node.input) > 2 and view.is_dequantized(node.input[2]):
            yield view.where(node), "its bias has Q/DQ; it must stay float"


def int8_weight(view: GraphView, lint_target: LintTarget) -> Hits:
    """No constant is int8: a weight is float behind a Q/DQ pair."""
    for node in view.nodes:
        if node.op_type == "DequantizeLinear" and node.input[0] in view.constants:
            yield view.where(node), f"{lint_target} reads no int8 constant; keep it float32 behind a Q/DQ pair"


def pairs(view: GraphView, _: LintTarget) -> Hits:
    """What is quantized is read by a DequantizeLinear alone."""
    outputs = {value.name for value in view.graph.output}
    for node in view.nodes:
        if node.op_type != "QuantizeLinear":
            continue
        others = [user for user in view.users.get(node.output[0], []) if user.op_type != "DequantizeLinear"]
        if others:
            yield view.where(node), f"is read by {view.where(others[0])}; a DequantizeLinear must be between"
        elif node.output[0] in outputs:
            yield view.where(node), "is an output of the graph; a DequantizeLinear must be before"


def _quantizers(view: GraphView) -> Iterator[onnx.NodeProto]:
    return (node for node in view.nodes if node.op_type in QUANTIZERS)


def _output_axis(node: onnx.NodeProto, rank: int) -> int:
    if node.op_type == "Conv":
        return 0
    if node.op_type == "ConvTranspose":
        return 1
    if node.op_type == "Gemm":
        return 0 if attribute(node, "transB", 0) else 1
    return rank - 1
