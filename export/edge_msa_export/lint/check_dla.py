"""Checks for a Jetson's DLA: which parts of a graph would silently fall back to the GPU."""

from __future__ import annotations

import onnx

from edge_msa_export.lint.check_model import has_float16
from edge_msa_export.lint.graph_view import QUANTIZERS, GraphView
from edge_msa_export.lint.rule import Matches
from edge_msa_export.lint.target import LintTarget

_MAX_KERNEL, _MAX_STRIDE, _MAX_SIDE, _MAX_BATCH = 32, 8, 8192, 4096

# "Native" through TensorRT in Deep-Learning-Accelerator-SW, operators/README.md. Constants are folded.
_DLA_OPERATORS = frozenset(
    {
        "Abs",
        "Add",
        "AveragePool",
        "BatchNormalization",
        "Clip",
        "Concat",
        "Constant",
        "Conv",
        "ConvTranspose",
        "Equal",
        "Gemm",
        "LRN",
        "LeakyRelu",
        "MatMul",
        "Max",
        "MaxPool",
        "Mul",
        "PRelu",
        "Relu",
        "Reshape",
        "Resize",
        "Sigmoid",
        "Slice",
        "Softmax",
        "Split",
        "Sub",
        "Sum",
        "Tanh",
        "Transpose",
        "Upsample",
    }
)


def version(_: GraphView, target: LintTarget) -> Matches:
    """Require a TensorRT version that supports the DLA."""
    yield "model", f"{target}: TensorRT 10.7 is the last 10.x version that supports the DLA; 11.4.1 supports it again."


def board(_: GraphView, __: LintTarget) -> Matches:
    """Note which board TensorRT 11 supports."""
    yield "model", "TensorRT 11 supports the DLA on AGX Orin only, from JetPack 7.2.2 on."


def operator(view: GraphView, _: LintTarget) -> Matches:
    """Require operators that run on the DLA."""
    for node in view.nodes:
        if node.op_type not in _DLA_OPERATORS and node.op_type not in (*QUANTIZERS, "Cast"):
            yield (
                view.describe(node),
                f"The DLA does not support {node.op_type}; it falls back to the GPU, with a copy each way.",
            )


def constant_weights(view: GraphView, _: LintTarget) -> Matches:
    """Require a constant second input for products and convolutions."""
    for node in view.weighted():
        if not view.is_weight(node.input[1]):
            yield (
                view.describe(node),
                "Multiplies two activations; the DLA needs a constant second input, so this falls back to the GPU.",
            )


def quantizers(view: GraphView, _: LintTarget) -> Matches:
    """Require a graph without Q/DQ, because the DLA takes implicit scales."""
    count = sum(node.op_type in QUANTIZERS for node in view.nodes)
    if count:
        yield "model", f"Has {count} Q/DQ nodes; int8 on the DLA uses implicit scales only. Use the fp16 graph."


def precision(view: GraphView, _: LintTarget) -> Matches:
    """Require float16 or int8."""
    if not view.quantized and not has_float16(view):
        yield "model", "Computes in float32; the DLA supports float16 and int8 only. Use the fp16 graph."


def sizes(view: GraphView, _: LintTarget) -> Matches:
    """Require kernels, strides, dimensions and batches within the limits of the DLA."""
    for node in view.nodes:
        if node.op_type == "Conv":
            yield from _check_convolution(view, node)
    for value in (*view.graph.input, *view.graph.output):
        shape = view.shapes.get(value.name, ())
        if shape and (shape[0] > _MAX_BATCH or max(shape) > _MAX_SIDE):
            yield (
                value.name,
                f"Has shape {shape}; the DLA supports batches up to {_MAX_BATCH} and dimensions up to {_MAX_SIDE}.",
            )


def _check_convolution(view: GraphView, node: onnx.NodeProto) -> Matches:
    shape = view.shapes.get(node.input[1], ())
    if any(side > _MAX_KERNEL for side in shape[2:]) or any(side > _MAX_SIDE for side in shape[:2]):
        limits = f"kernels up to {_MAX_KERNEL} and channels up to {_MAX_SIDE}"
        yield view.describe(node), f"Has a weight of shape {shape}; the DLA supports {limits}."
    strides = [step for item in node.attribute if item.name == "strides" for step in item.ints]
    if any(step > _MAX_STRIDE for step in strides):
        yield view.describe(node), f"Has strides {strides}; the DLA supports strides up to {_MAX_STRIDE}."
