"""Quantization plans: which nodes of a graph compute in INT8 under a quantization scheme, and why."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import onnx

from edge_msa_calibrate.layers import QuantizableLayer, find_layers
from edge_msa_calibrate.schemes import QuantizationScheme

# NVIDIA's advice for TensorRT: with fewer than 16 input or output channels, INT8 costs more than it saves.
MIN_CHANNELS = 16


@dataclass(frozen=True)
class NodeDecision:
    """Whether one node computes in INT8, and why. `weight` is the name of its weight, empty if it has none."""

    node: str
    op_type: str
    weight: str
    int8: bool
    reason: str


@dataclass(frozen=True)
class QuantizationPlan:
    """The INT8 parts of one graph.

    `layers`: the layers whose weights become int8. `tensors`: the activations that get a Q/DQ pair, each with the key
    of its range; tensors with the same key share a scale. `decisions`: one per node that could be INT8, in graph order.
    """

    scheme: QuantizationScheme
    layers: tuple[QuantizableLayer, ...]
    tensors: Mapping[str, str]
    decisions: tuple[NodeDecision, ...]


def make_plan(
    model: onnx.ModelProto,
    scheme: QuantizationScheme,
    calibrated_encoders: Collection[str] | None = None,
    fp32_weights: Collection[str] = (),
) -> QuantizationPlan:
    """Decide which nodes of a float32 graph become INT8.

    Candidates are the encoder convolutions with enough channels, the residual Adds between them, and the linear layers
    of a text encoder.

    Args:
        model: float32.
        scheme: how INT8 is laid out.
        calibrated_encoders: the encoders (modalities or `text_encoder`) that calibration has ranges for; all others
            stay FP32. None means all encoders.
        fp32_weights: names of weights whose layers stay FP32 in any case; a mapping gives the reason for each.
    """
    layers = find_layers(model)
    exclusions = _Exclusions(calibrated_encoders, fp32_weights)
    int8 = tuple(layer for layer in layers if exclusions.reason(layer) is None)
    tensors = _quantized_tensors(model, [layer for layer in layers if layer.weight not in fp32_weights], int8, scheme)
    return QuantizationPlan(scheme, int8, tensors, tuple(_decisions(model, layers, tensors, exclusions)))


@dataclass(frozen=True)
class _Exclusions:
    """The conditions that keep a layer in FP32."""

    calibrated_encoders: Collection[str] | None
    fp32_weights: Collection[str]

    def reason(self, layer: QuantizableLayer) -> str | None:
        """Return why a layer stays FP32, or None if it becomes INT8."""
        if min(layer.in_channels, layer.out_channels) < MIN_CHANNELS:
            return f"{_format_channels(layer)}: fewer than {MIN_CHANNELS} input or output channels"
        if self.calibrated_encoders is not None and layer.encoder not in self.calibrated_encoders:
            return f"no calibration sample has {layer.encoder}"
        if layer.weight not in self.fp32_weights:
            return None
        reason = self.fp32_weights[layer.weight] if isinstance(self.fp32_weights, Mapping) else ""
        return str(reason) or "kept in fp32 on request"


def _quantized_tensors(
    model: onnx.ModelProto,
    candidates: Collection[QuantizableLayer],
    int8: tuple[QuantizableLayer, ...],
    scheme: QuantizationScheme,
) -> dict[str, str]:
    """Return the activations that get a Q/DQ pair, each with the key of its range.

    `candidates` are all layers except those that the caller keeps in FP32.
    """
    # The input of a convolution gets the range that was observed at that input. A value that is quantized as a residual
    # and again after the Concat then keeps its grid, so step and window graphs agree bit for bit.
    input_keys: dict[str, str] = {}
    for layer in candidates:
        input_keys.setdefault(layer.features or layer.input, layer.input_key)
    tensors: dict[str, str] = {}
    for layer in int8:
        tensors[layer.input] = layer.input_key if layer.features is not None else input_keys[layer.input]
        if layer.features is not None:
            tensors[layer.features] = layer.input_key
        if layer.memory is not None and scheme.quantizes_memory:
            tensors[layer.memory] = layer.input_key
        if layer.op_type == "Conv":
            tensors[layer.output] = input_keys.get(layer.output, layer.output_key)
    outputs = _conv_outputs(int8)
    for node in model.graph.node:
        if _is_residual(node, outputs):
            tensors.update({name: input_keys[name] for name in (*node.input, *node.output) if name in input_keys})
    return tensors


def _decisions(
    model: onnx.ModelProto,
    layers: tuple[QuantizableLayer, ...],
    tensors: Mapping[str, str],
    exclusions: _Exclusions,
) -> Iterator[NodeDecision]:
    by_node = {layer.node: layer for layer in layers}
    outputs = _conv_outputs(layers)
    constants = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        name = node.name or node.output[0]
        if layer := by_node.get(name):
            reason = exclusions.reason(layer)
            yield NodeDecision(name, node.op_type, layer.weight, reason is None, reason or _format_channels(layer))
        elif node.op_type == "Conv":
            yield NodeDecision(name, "Conv", "", False, "not a convolution of an encoder with a constant weight")
        elif _is_residual(node, outputs):
            int8 = all(item in tensors for item in (*node.input, *node.output))
            reason = "residual of quantized tensors" if int8 else "one side of the residual stays fp32"
            yield NodeDecision(name, node.op_type, "", int8, reason)
        elif node.op_type in ("Gemm", "MatMul"):
            has_weight = bool(constants.intersection(node.input))
            reason = "memory-bound at batch size 1" if has_weight else "attention is sensitive to rounding"
            yield NodeDecision(name, node.op_type, "", False, reason)


def _conv_outputs(layers: Collection[QuantizableLayer]) -> set[str]:
    return {layer.output for layer in layers if layer.op_type == "Conv"}


def _is_residual(node: onnx.NodeProto, conv_outputs: set[str]) -> bool:
    return node.op_type == "Add" and bool(conv_outputs.intersection(node.input))


def _format_channels(layer: QuantizableLayer) -> str:
    groups = f" in {layer.groups} groups" if layer.groups > 1 else ""
    return f"{layer.in_channels} -> {layer.out_channels} channels{groups}"
