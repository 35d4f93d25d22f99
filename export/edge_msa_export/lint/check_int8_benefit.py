"""Checks for int8 that a backend supports but that costs more than it saves."""

from __future__ import annotations

import numpy as np
import onnx

from edge_msa_export.lint.graph_view import GraphView, Shape, get_int_attribute
from edge_msa_export.lint.rule import Matches
from edge_msa_export.lint.target import LintTarget

MIN_CHANNELS = 16
"""With fewer channels on either side, an int8 product saves less than the Q/DQ around it costs."""
_FLOAT_OPERATORS = (
    "LayerNormalization",
    "InstanceNormalization",
    "GroupNormalization",
    "Softmax",
    "LogSoftmax",
    "Erf",
    "Gelu",
)
_RECURRENT_OPERATORS = ("GRU", "LSTM", "RNN")


def vector_product(view: GraphView, _: LintTarget) -> Matches:
    """Require that int8 products are of two matrices, not of a matrix and a vector."""
    for node in view.weighted():
        sizes = _product_sizes(view, node)
        if sizes is not None and min(sizes[0], sizes[2]) == 1:
            m, k, n = sizes
            yield (
                view.describe(node),
                f"Is a matrix-vector product (m={m}, k={k}, n={n}), which is bound by memory. Keep it in float.",
            )


def small_layer(view: GraphView, _: LintTarget) -> Matches:
    """Require that int8 products and convolutions have enough channels."""
    for node in view.weighted():
        sizes = _product_sizes(view, node)
        if sizes is not None and min(sizes[0], sizes[2]) > 1 and min(sizes[1:]) < MIN_CHANNELS:
            yield (
                view.describe(node),
                f"Has k={sizes[1]} and n={sizes[2]}; below {MIN_CHANNELS}, int8 costs more than it saves.",
            )
        shape = view.shapes.get(node.input[1])
        groups = get_int_attribute(node, "group", 1)
        if node.op_type == "Conv" and view.is_int8(node) and shape and not _is_int8_convolution_faster(shape, groups):
            yield (
                view.describe(node),
                f"Has a weight of shape {shape}; with so few channels, int8 costs more than it saves.",
            )


def float_layers(view: GraphView, _: LintTarget) -> Matches:
    """Require that layers which always compute in float have no Q/DQ before them."""
    for node in view.nodes:
        if node.op_type in _FLOAT_OPERATORS and view.is_dequantized(node.input[0]):
            yield view.describe(node), "Always computes in float; the Q/DQ before it only costs time."


def recurrent(view: GraphView, _: LintTarget) -> Matches:
    """Require that recurrent layers stay in float."""
    for node in view.nodes:
        if node.op_type in _RECURRENT_OPERATORS and any(view.is_dequantized(name) for name in node.input):
            yield view.describe(node), "Computes in float32 or float16 only. Remove its Q/DQ."


def attention(view: GraphView, _: LintTarget) -> Matches:
    """Require that products of two activations, as in attention, stay in float."""
    for node in view.weighted():
        if node.op_type == "MatMul" and view.is_int8(node) and not any(view.is_weight(name) for name in node.input):
            yield (
                view.describe(node),
                "Multiplies two activations, as attention does; int8 costs accuracy and fusions there.",
            )


def residual(view: GraphView, _: LintTarget) -> Matches:
    """Require that both inputs of a residual Add are quantized, or neither."""
    for node in view.nodes:
        if node.op_type != "Add" or any(view.is_weight(name) for name in node.input):
            continue
        if view.is_dequantized(node.input[0]) != view.is_dequantized(node.input[1]):
            yield (
                view.describe(node),
                "Only one input is quantized; the Add computes in float and cannot fuse with the layer before it.",
            )


def one_sided(view: GraphView, _: LintTarget) -> Matches:
    """Require that both the input and the weight of a large layer are quantized, or neither."""
    for node in view.weighted():
        activation, weight = (view.is_dequantized(name) for name in node.input[:2])
        if weight and not activation:
            yield view.describe(node), "The weight has Q/DQ but the input does not; the layer computes in float."
        elif activation and not weight and _has_enough_channels(view, node):
            yield view.describe(node), "The input has Q/DQ but the weight does not; the layer computes in float."


def _has_enough_channels(view: GraphView, node: onnx.NodeProto) -> bool:
    """Return whether a layer has a constant weight with enough channels for int8."""
    shape = view.shapes.get(node.input[1])
    return view.is_weight(node.input[1]) and shape is not None and min(shape[:2], default=0) >= MIN_CHANNELS


def _product_sizes(view: GraphView, node: onnx.NodeProto) -> tuple[int, int, int] | None:
    """Return (m, k, n) of an int8 Gemm or MatMul; None for other nodes and unknown shapes."""
    if node.op_type not in ("Gemm", "MatMul") or not view.is_int8(node):
        return None
    left, right = (view.shapes.get(name) for name in node.input[:2])
    if left is None or right is None or len(left) < 2 or len(right) < 2:
        return None
    left, right = _transpose_if_set(left, node, "transA"), _transpose_if_set(right, node, "transB")
    rows = left[:-1] if len(right) == 2 else left[-2:-1]
    return int(np.prod(rows)), left[-1], right[-1]


def _transpose_if_set(shape: Shape, node: onnx.NodeProto, attribute: str) -> Shape:
    return shape[::-1] if get_int_attribute(node, attribute, 0) else shape


def _is_int8_convolution_faster(shape: Shape, groups: int) -> bool:
    """Return whether NVIDIA's quantizer uses int8 for a weight (out, in per group, ...)."""
    outputs, inputs, *sides = shape
    if min(outputs, inputs) >= MIN_CHANNELS:
        return True
    if groups > 1:
        return outputs % 8 == 0 and min(sides) >= 3
    return max(outputs, inputs) >= MIN_CHANNELS and 0 in (outputs % 8, inputs % 8)
