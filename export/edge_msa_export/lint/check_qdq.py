"""Checks of Q/DQ: what TensorRT requires of scales, zero points, weights and biases."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto

from edge_msa_export.lint.graph_view import QUANTIZERS, GraphView, get_int_attribute
from edge_msa_export.lint.rule import Matches
from edge_msa_export.lint.target import LintTarget


def scale(view: GraphView, _: LintTarget) -> Matches:
    """Require constant, positive and finite scales."""
    for node in _iterate_quantizers(view):
        if node.input[1] not in view.constants:
            yield view.describe(node), "The scale is computed; it must be constant."
            continue
        value = view.value(node.input[1])
        if value is not None and not (np.isfinite(value).all() and np.greater(value, 0).all()):
            yield view.describe(node), "The scale must be positive and finite."


def zero_point(view: GraphView, target: LintTarget) -> Matches:
    """Require a constant int8 zero point of 0, because int8 is symmetric."""
    for node in _iterate_quantizers(view):
        if len(node.input) < 3 or not node.input[2]:
            yield view.describe(node), "The zero point is missing, which makes the type uint8."
            continue
        tensor, value = view.constants.get(node.input[2]), view.value(node.input[2])
        if tensor is None:
            yield view.describe(node), "The zero point is computed; it must be constant."
        elif tensor.data_type != TensorProto.INT8:
            kind = TensorProto.DataType.Name(tensor.data_type)
            yield view.describe(node), f"The zero point is {kind}; {target} quantizes to INT8 only."
        elif value is not None and value.any():
            yield view.describe(node), "The zero point must be 0: int8 must be symmetric."


def activation_scale(view: GraphView, _: LintTarget) -> Matches:
    """Require one scale per tensor for activations."""
    for node in _iterate_quantizers(view):
        tensor = view.constants.get(node.input[1])
        if tensor is not None and int(np.prod(tensor.dims)) > 1 and not view.is_weight(node.input[0]):
            yield view.describe(node), "Has one scale per channel; activations must have one scale per tensor."


def weight_axis(view: GraphView, _: LintTarget) -> Matches:
    """Require weight scales per output channel: axis 0 for Conv, the last axis for MatMul [K, N]."""
    for node in view.weighted():
        name = node.input[1]
        if not (view.is_dequantized(name) and view.is_weight(name)):
            continue
        producer = view.producers[name]
        scales, shape = view.constants.get(producer.input[1]), view.shapes.get(producer.input[0])
        if scales is None or int(np.prod(scales.dims)) == 1 or shape is None:
            continue
        axis, expected = get_int_attribute(producer, "axis", 1) % len(shape), _output_axis(node, len(shape))
        if axis != expected:
            yield view.describe(node), f"The scales of its weight must be on axis {expected}, got axis {axis}."


def bias(view: GraphView, _: LintTarget) -> Matches:
    """Require float biases."""
    for node in view.weighted():
        if len(node.input) > 2 and view.is_dequantized(node.input[2]):
            yield view.describe(node), "Its bias has Q/DQ; it must stay float."


def int8_constant(view: GraphView, target: LintTarget) -> Matches:
    """Require float weights behind a Q/DQ pair, not int8 constants."""
    for node in view.nodes:
        if node.op_type == "DequantizeLinear" and node.input[0] in view.constants:
            yield (
                view.describe(node),
                f"{target} does not support int8 constants. Store the weight as float32 behind a Q/DQ pair.",
            )


def pairs(view: GraphView, _: LintTarget) -> Matches:
    """Require that only a DequantizeLinear takes the output of a QuantizeLinear."""
    outputs = {value.name for value in view.graph.output}
    for node in view.nodes:
        if node.op_type != "QuantizeLinear":
            continue
        others = [user for user in view.consumers.get(node.output[0], []) if user.op_type != "DequantizeLinear"]
        if others:
            yield (
                view.describe(node),
                f"{view.describe(others[0])} takes its output directly. Insert a DequantizeLinear between them.",
            )
        elif node.output[0] in outputs:
            yield view.describe(node), "Is an output of the graph. Insert a DequantizeLinear after it."


def _iterate_quantizers(view: GraphView) -> Iterator[onnx.NodeProto]:
    return (node for node in view.nodes if node.op_type in QUANTIZERS)


def _output_axis(node: onnx.NodeProto, rank: int) -> int:
    """Return the axis of a weight that holds the output channels."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "ConvTranspose":
        return 1
    if node.op_type == "Gemm":
        return 0 if get_int_attribute(node, "transB", 0) else 1
    return rank - 1
