"""Checks of graphs for a Jetson's DLA: what falls back to the GPU there, without a word."""

from __future__ import annotations

import onnx

from edge_msa_export.lint.check_model import has_half
from edge_msa_export.lint.lint_target import LintTarget
from edge_msa_export.lint.operators import DLA
from edge_msa_export.lint.rule import Hits
from edge_msa_export.lint.view import QUANTIZERS, GraphView

_LARGEST_KERNEL, _LARGEST_STRIDE, _LARGEST_SIDE, _LARGEST_BATCH = 32, 8, 8192, 4096


def version(_: GraphView, lint_target: LintTarget) -> Hits:
    """A TensorRT that drives the DLA."""
    yield (
        "model",
        f"{lint_target}: 10.7 was the last of TensorRT 10 with a DLA, and 11.4.1 is the next that has it again",
    )


def board(_: GraphView, __: LintTarget) -> Hits:
    """Of TensorRT 11, AGX Orin alone."""
    yield "model", "TensorRT 11 drives the DLA of AGX Orin alone, from JetPack 7.2.2 on"


def operator(view: GraphView, _: LintTarget) -> Hits:
    """Operators that the DLA runs."""
    for node in view.nodes:
        if node.op_type not in DLA and node.op_type not in (*QUANTIZERS, "Cast"):
            yield view.where(node), "does not run on the DLA and falls back to the GPU, with a copy each way"


def constant_weights(view: GraphView, _: LintTarget) -> Hits:
    """The second input of a product is constant."""
    for node in view.weighted():
        if not view.is_weight(node.input[1]):
            yield view.where(node), "multiplies two activations; the DLA wants the second constant, this falls back"


def quantizers(view: GraphView, _: LintTarget) -> Hits:
    """No Q/DQ: the DLA takes implicit scales."""
    count = sum(node.op_type in QUANTIZERS for node in view.nodes)
    if count:
        yield "model", f"{count} Q/DQ nodes: the DLA has none, its int8 takes implicit scales; the fp16 graph fits it"


def precision(view: GraphView, _: LintTarget) -> Hits:
    """Float16 or int8."""
    if not view.quantized and not has_half(view):
        yield "model", "is float32, the DLA computes in float16 and int8 alone: give it the fp16 graph"


def sizes(view: GraphView, _: LintTarget) -> Hits:
    """Kernels, strides, sides and batches that fit."""
    for node in view.nodes:
        if node.op_type == "Conv":
            yield from _convolution(view, node)
    for value in (*view.graph.input, *view.graph.output):
        shape = view.shapes.get(value.name, ())
        if shape and (shape[0] > _LARGEST_BATCH or max(shape) > _LARGEST_SIDE):
            yield value.name, f"is {shape}; the DLA takes a batch of {_LARGEST_BATCH} and sides of {_LARGEST_SIDE}"


def _convolution(view: GraphView, node: onnx.NodeProto) -> Hits:
    shape = view.shapes.get(node.input[1], ())
    if any(side > _LARGEST_KERNEL for side in shape[2:]) or any(side > _LARGEST_SIDE for side in shape[:2]):
        yield (
            view.where(node),
            f"has a kernel of {shape}; the DLA takes {_LARGEST_KERNEL} wide, {_LARGEST_SIDE} channels",
        )
    strides = [step for item in node.attribute if item.name == "strides" for step in item.ints]
    if any(step > _LARGEST_STRIDE for step in strides):
        yield view.where(node), f"has strides {strides}; the DLA takes up to {_LARGEST_STRIDE}"
