"""Quantization schemes, one for each kind of backend, and what each of them makes int8 in a graph.

Measured on an Intel CPU with AVX512-VNNI, one thread, a window of 500 frames, 64 and 96 channels (see also
reference/openvino-onnxruntime.md); fp32 takes as many times longer as stated:

- ONNX Runtime: with convolutions alone quantized 1.8 and 2.1; with the residual Adds too, both inputs of the Concat
  that brings the memory, and the features that attention pools, 2.4 and 2.8. Nothing between two convolutions is then
  float. A zero point at the lowest integer also absorbs the Relu.
- OpenVINO 2026.4: with unsigned activations 1.8 and 2.2. With int8 activations 0.95 and 1.0, and predictions further
  from fp32 than int8 explains: so activations are uint8 there, unlike TensorRT's, and the bias stays float32.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import onnx

from edge_msa_calibrate.affine import S8, S8_SYMMETRIC, U8, Integers
from edge_msa_calibrate.errors import CalibrationError
from edge_msa_calibrate.layers import LinearSite, find_sites

# TensorRT's own advice: below 16 channels a side, int8 costs more than it saves.
MIN_CHANNELS = 16
ATTENTION = "attention is sensitive"


@dataclass(frozen=True)
class QuantizationScheme:
    """How int8 is laid out for one kind of backend. Weights are int8, symmetric, per output channel in all of them.

    `activations`: the integers of activations, one scale a tensor. `weight_limit`: the largest integer of a weight; 63
    where two products are summed in 16 bits, which 127 would saturate. `bias_int32`: the bias as int32 with scale
    input * weight, else float32. `memory`: whether the memory of a causal convolution is quantized on its own, so that
    the Concat works on integers; TensorRT moves Q/DQ through a Concat by itself.
    """

    name: str
    activations: Integers
    weight_limit: int = 127
    bias_int32: bool = False
    memory: bool = True


SCHEMES: Mapping[str, QuantizationScheme] = {
    rules.name: rules
    for rules in (
        QuantizationScheme("ort-x86-vnni", U8, bias_int32=True),
        QuantizationScheme("ort-x86-avx2", U8, weight_limit=63, bias_int32=True),
        QuantizationScheme("ort-arm", S8, bias_int32=True),
        QuantizationScheme("openvino-x86", U8),
        QuantizationScheme("tensorrt", S8_SYMMETRIC, memory=False),
    )
}


@dataclass(frozen=True)
class Decision:
    """Whether one node computes in int8, and why; `weight` is its weight's name, its cache key in every graph, or ""."""

    node: str
    op_type: str
    weight: str
    int8: bool
    reason: str


@dataclass(frozen=True)
class QuantizationPlan:
    """What is int8 in one graph.

    `sites`: whose weights become int8. `tensors`: the activations that get Q/DQ, by name, with the key of their range;
    tensors that share a key share a scale. `decisions`: of every node that could be int8, in graph order.
    """

    scheme: QuantizationScheme
    sites: tuple[LinearSite, ...]
    tensors: Mapping[str, str]
    decisions: tuple[Decision, ...]


def scheme_named(name: str) -> QuantizationScheme:
    """The quantization scheme of that name.

    Raises:
        CalibrationError: there is none.
    """
    if name not in SCHEMES:
        raise CalibrationError(f"there is no quantization scheme {name!r}; choose one of {', '.join(SCHEMES)}")
    return SCHEMES[name]


def place(
    model: onnx.ModelProto,
    scheme: QuantizationScheme,
    seen: Collection[str] | None = None,
    fp32_weights: Collection[str] = (),
) -> QuantizationPlan:
    """Decide what is int8 in a float32 graph.

    Encoder convolutions that are wide enough and the Adds that join them, and a language text encoder's linear layers.

    Args:
        model: float32.
        scheme: how int8 is laid out.
        seen: owners (a modality, or `text_encoder`) that calibration had frames of; those of others stay float. None: all.
        fp32_weights: weights whose nodes stay float whatever the rules say; a mapping gives the reason of each.
    """
    sites = find_sites(model)
    chosen = _Chosen(seen, fp32_weights)
    int8 = tuple(site for site in sites if chosen.why_float(site) is None)
    tensors = _tensors(model, [site for site in sites if site.weight not in fp32_weights], int8, scheme)
    decisions = _Decisions(model, sites, int8, tensors, chosen)
    return QuantizationPlan(scheme, int8, tensors, tuple(decisions.all()))


def _tensors(
    model: onnx.ModelProto, free: Collection[LinearSite], int8: tuple[LinearSite, ...], scheme: QuantizationScheme
) -> dict[str, str]:
    """The activations that get Q/DQ; `free` are the sites that nobody asked to keep float."""
    # Tensors that some convolution reads take the range it was observed to read, so that a value which is quantized
    # as a residual and again behind the Concat stays on one grid, and step and window graphs agree bit for bit.
    read_as: dict[str, str] = {}
    for site in free:
        read_as.setdefault(site.features or site.source, site.input_key)
    tensors: dict[str, str] = {}
    for site in int8:
        tensors[site.source] = site.input_key if site.features is not None else read_as[site.source]
        if site.features is not None:
            tensors[site.features] = site.input_key
        if site.memory is not None and scheme.memory:
            tensors[site.memory] = site.input_key
        if site.op_type == "Conv":
            tensors[site.result] = read_as.get(site.result, site.output_key)
    for add in _residual_adds(model, int8):
        tensors.update({name: read_as[name] for name in (*add.input, *add.output) if name in read_as})
    return tensors


def _residual_adds(model: onnx.ModelProto, sites: tuple[LinearSite, ...]) -> Iterator[onnx.NodeProto]:
    results = {site.result for site in sites if site.op_type == "Conv"}
    return (node for node in model.graph.node if node.op_type == "Add" and results.intersection(node.input))


@dataclass(frozen=True)
class _Chosen:
    """What people and calibration leave of the rules."""

    seen: Collection[str] | None
    fp32_weights: Collection[str]

    def why_float(self, site: LinearSite) -> str | None:
        """The reason a site stays float, None where it becomes int8."""
        if min(site.channels_in, site.channels_out) < MIN_CHANNELS:
            return f"{_channels(site)}: fewer than {MIN_CHANNELS} on a side"
        if self.seen is not None and site.owner not in self.seen:
            return f"calibration had no frame of {site.owner}"
        return self.asked(site.weight)

    def asked(self, weight: str) -> str | None:
        """The reason a weight was asked to stay float, None where it was not."""
        if weight not in self.fp32_weights:
            return None
        given = self.fp32_weights[weight] if isinstance(self.fp32_weights, Mapping) else ""
        return str(given) or "kept float on request"


@dataclass(frozen=True)
class _Decisions:
    """Every node that could be int8, told one by one."""

    model: onnx.ModelProto
    sites: tuple[LinearSite, ...]
    int8: tuple[LinearSite, ...]
    tensors: Mapping[str, str]
    chosen: _Chosen

    def all(self) -> Iterator[Decision]:
        by_node = {site.node: site for site in self.sites}
        results = {site.result for site in self.sites if site.op_type == "Conv"}
        constants = {tensor.name for tensor in self.model.graph.initializer}
        for node in self.model.graph.node:
            name = node.name or node.output[0]
            if site := by_node.get(name):
                reason = self.chosen.why_float(site)
                yield Decision(name, node.op_type, site.weight, reason is None, reason or _channels(site))
            elif node.op_type == "Conv":
                yield Decision(name, "Conv", "", False, "not an encoder's convolution with a constant weight")
            elif node.op_type == "Add" and results.intersection(node.input):
                yield self._add(name, node)
            elif node.op_type in ("Gemm", "MatMul"):
                learned = bool(constants.intersection(node.input))
                reason = "one row at batch 1 waits for memory, not for sums" if learned else ATTENTION
                yield Decision(name, node.op_type, "", False, reason)

    def _add(self, name: str, node: onnx.NodeProto) -> Decision:
        int8 = all(item in self.tensors for item in (*node.input, *node.output))
        reason = "residual of quantized tensors" if int8 else "one side of the residual stays float"
        return Decision(name, node.op_type, "", int8, reason)


def _channels(site: LinearSite) -> str:
    grouped = f" in {site.groups} groups" if site.groups > 1 else ""
    return f"{site.channels_in} -> {site.channels_out} channels{grouped}"
