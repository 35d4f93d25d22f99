"""Checks of int8 that is read, and does not pay."""

from __future__ import annotations

import numpy as np
import onnx

from edge_msa_export.lint.lint_target import LintTarget
from edge_msa_export.lint.rule import Hits
from edge_msa_export.lint.view import GraphView, Shape, attribute

LEAST_CHANNELS = 16
"""Below so many a side, int8 products are slower than what Q/DQ around them costs."""
_FLOAT = ("LayerNormalization", "InstanceNormalization", "GroupNormalization", "Softmax", "LogSoftmax", "Erf", "Gelu")
_RECURRENT = ("GRU", "LSTM", "RNN")


def vector_product(view: GraphView, _: LintTarget) -> Hits:
    """No int8 product of a matrix and a vector."""
    for node in view.weighted():
        sizes = _product(view, node)
        if sizes is not None and min(sizes[0], sizes[2]) == 1:
            m, k, n = sizes
            yield (
                view.where(node),
                f"is a product of a vector (m {m}, K {k}, n {n}): it waits for memory, keep it float",
            )


def small_layer(view: GraphView, _: LintTarget) -> Hits:
    """No int8 product or convolution of few channels."""
    for node in view.weighted():
        sizes = _product(view, node)
        if sizes is not None and min(sizes[0], sizes[2]) > 1 and min(sizes[1:]) < LEAST_CHANNELS:
            yield (
                view.where(node),
                f"has K {sizes[1]} and N {sizes[2]}: below {LEAST_CHANNELS} int8 costs more than it saves",
            )
        shape = view.shapes.get(node.input[1])
        if node.op_type == "Conv" and view.is_int8(node) and shape and not _pays(shape, attribute(node, "group", 1)):
            yield view.where(node), f"has a kernel of {shape}: with so few channels int8 costs more than it saves"


def float_layers(view: GraphView, _: LintTarget) -> Hits:
    """No Q/DQ before layers that compute in float."""
    for node in view.nodes:
        if node.op_type in _FLOAT and view.is_dequantized(node.input[0]):
            yield view.where(node), "computes in float, the Q/DQ before it only costs"


def recurrent(view: GraphView, _: LintTarget) -> Hits:
    """Recurrent layers stay float."""
    for node in view.nodes:
        if node.op_type in _RECURRENT and any(view.is_dequantized(name) for name in node.input):
            yield view.where(node), "computes in float32 or float16 alone; leave its Q/DQ out"


def attention(view: GraphView, _: LintTarget) -> Hits:
    """Products of two activations, inside attention, stay float."""
    for node in view.weighted():
        if node.op_type == "MatMul" and view.is_int8(node) and not any(view.is_weight(name) for name in node.input):
            yield (
                view.where(node),
                "multiplies two activations, as inside attention: int8 there costs accuracy and fusions",
            )


def residual(view: GraphView, _: LintTarget) -> Hits:
    """Both sides of a residual Add are quantized, or neither."""
    for node in view.nodes:
        if node.op_type != "Add" or any(view.is_weight(name) for name in node.input):
            continue
        if view.is_dequantized(node.input[0]) != view.is_dequantized(node.input[1]):
            yield view.where(node), "one side is quantized: the Add is float, and a layer before it cannot fuse with it"


def one_sided(view: GraphView, _: LintTarget) -> Hits:
    """A layer with weights that is large enough reads int8 on both sides, or on neither."""
    for node in view.weighted():
        activation, weight = (view.is_dequantized(name) for name in node.input[:2])
        if weight and not activation:
            yield view.where(node), "its weight alone has Q/DQ: it computes in float"
        elif activation and not weight and _is_large(view, node):
            yield view.where(node), "what it reads has Q/DQ, its weight has none: it computes in float"


def _is_large(view: GraphView, node: onnx.NodeProto) -> bool:
    """Whether a layer with a constant weight has channels enough for int8 to pay."""
    shape = view.shapes.get(node.input[1])
    return view.is_weight(node.input[1]) and shape is not None and min(shape[:2], default=0) >= LEAST_CHANNELS


def _product(view: GraphView, node: onnx.NodeProto) -> tuple[int, int, int] | None:
    """(m, K, n) of an int8 Gemm or MatMul; None of another node, and where a shape is not known."""
    if node.op_type not in ("Gemm", "MatMul") or not view.is_int8(node):
        return None
    left, right = (view.shapes.get(name) for name in node.input[:2])
    if left is None or right is None or len(left) < 2 or len(right) < 2:
        return None
    left, right = _transposed(left, node, "transA"), _transposed(right, node, "transB")
    rows = left[:-1] if len(right) == 2 else left[-2:-1]
    return int(np.prod(rows)), left[-1], right[-1]


def _transposed(shape: Shape, node: onnx.NodeProto, name: str) -> Shape:
    return shape[::-1] if attribute(node, name, 0) else shape


def _pays(kernel: Shape, groups: int) -> bool:
    """Whether NVIDIA's own quantizer makes a convolution of that weight, (out, in of a group, ...), int8."""
    given, read, *sides = kernel
    if min(given, read) >= LEAST_CHANNELS:
        return True
    if groups > 1:
        return given % 8 == 0 and min(sides) >= 3
    return max(given, read) >= LEAST_CHANNELS and 0 in (given % 8, read % 8)
