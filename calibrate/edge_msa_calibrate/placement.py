"""Rule sets, one for each kind of engine, and what each of them makes int8 in a graph.

Measured on an Intel CPU with AVX512-VNNI, one thread, a window of 500 frames, 64 and 96 channels (see also
reference/openvino-onnxruntime.md); fp32 takes as many times longer as stated:

- ONNX Runtime: with convolutions alone quantised 1.8 and 2.1; with the residual Adds too, both inputs of the Concat
  that brings the memory, and the features that attention pools, 2.4 and 2.8. Nothing between two convolutions is then
  float. A zero point at the lowest integer also absorbs the Relu.
- OpenVINO 2026.4: with unsigned activations 1.8 and 2.2. With int8 activations 0.95 and 1.0, and readings further
  from fp32 than int8 explains: so activations are uint8 there, unlike TensorRT's, and the bias stays float32.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import onnx

from edge_msa_calibrate.affine import S8, S8_SYMMETRIC, U8, Integers
from edge_msa_calibrate.convs import ConvSite, find_convs
from edge_msa_calibrate.errors import CalibrationError

# TensorRT's own advice: below 16 channels a side, int8 costs more than it saves.
MIN_CHANNELS = 16


@dataclass(frozen=True)
class RuleSet:
    """How int8 is laid out for one kind of engine. Weights are int8, symmetric, per output channel in all of them.

    `activations`: the integers of activations, one scale a tensor. `weight_limit`: the largest integer of a weight; 63
    where two products are summed in 16 bits, which 127 would saturate. `bias_int32`: the bias as int32 with scale
    input * weight, else float32. `memory`: whether the memory of a causal convolution is quantised on its own, so that
    the Concat works on integers; TensorRT moves Q/DQ through a Concat by itself.
    """

    name: str
    activations: Integers
    weight_limit: int = 127
    bias_int32: bool = False
    memory: bool = True


RULE_SETS: Mapping[str, RuleSet] = {
    rules.name: rules
    for rules in (
        RuleSet("ort-x86-vnni", U8, bias_int32=True),
        RuleSet("ort-x86-avx2", U8, weight_limit=63, bias_int32=True),
        RuleSet("ort-arm", S8, bias_int32=True),
        RuleSet("openvino-x86", U8),
        RuleSet("tensorrt", S8_SYMMETRIC, memory=False),
    )
}


@dataclass(frozen=True)
class Decision:
    """Whether one node computes in int8, and why."""

    node: str
    op_type: str
    int8: bool
    reason: str


@dataclass(frozen=True)
class Placement:
    """What is int8 in one graph.

    `convs`: whose weights become int8. `tensors`: the activations that get Q/DQ, by name, with the key of their range;
    tensors that share a key share a scale. `decisions`: of every node that could be int8, in graph order.
    """

    rule_set: RuleSet
    convs: tuple[ConvSite, ...]
    tensors: Mapping[str, str]
    decisions: tuple[Decision, ...]


def rule_set_named(name: str) -> RuleSet:
    """The rule set of that name.

    Raises:
        CalibrationError: there is none.
    """
    if name not in RULE_SETS:
        raise CalibrationError(f"there is no rule set {name!r}; choose one of {', '.join(RULE_SETS)}")
    return RULE_SETS[name]


def place(model: onnx.ModelProto, rule_set: RuleSet, seen: Collection[str] | None = None) -> Placement:
    """Decide what is int8 in a float32 graph: encoder convolutions that are wide enough and the Adds that join them.

    Args:
        model: float32.
        rule_set: how int8 is laid out.
        seen: the modalities that calibration had frames of; the encoders of others stay float. None: all of them.
    """
    sites = find_convs(model)
    convs = tuple(site for site in sites if _is_wide(site) and (seen is None or site.modality in seen))
    # Tensors that some convolution reads take the range it was observed to read, so that a value which is quantised
    # as a residual and again behind the Concat stays on one grid, and step and window graphs agree bit for bit.
    read_as = {site.features or site.source: site.input_key for site in reversed(sites)}
    tensors: dict[str, str] = {}
    for site in convs:
        tensors[site.source] = site.input_key
        if site.features is not None:
            tensors[site.features] = site.input_key
        if site.memory is not None and rule_set.memory:
            tensors[site.memory] = site.input_key
        tensors[site.result] = read_as.get(site.result, site.output_key)
    for add in _residual_adds(model, convs):
        tensors.update({name: read_as[name] for name in (*add.input, *add.output) if name in read_as})
    return Placement(rule_set, convs, tensors, tuple(_decisions(model, sites, convs, tensors)))


def _is_wide(site: ConvSite) -> bool:
    return min(site.channels_in, site.channels_out) >= MIN_CHANNELS


def _residual_adds(model: onnx.ModelProto, convs: tuple[ConvSite, ...]) -> Iterator[onnx.NodeProto]:
    results = {site.result for site in convs}
    return (node for node in model.graph.node if node.op_type == "Add" and results.intersection(node.input))


def _decisions(
    model: onnx.ModelProto, sites: tuple[ConvSite, ...], convs: tuple[ConvSite, ...], tensors: Mapping[str, str]
) -> Iterator[Decision]:
    by_node = {site.node: site for site in sites}
    results = {site.result for site in sites}
    constants = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        name = node.name or node.output[0]
        if node.op_type == "Conv":
            yield _conv_decision(name, by_node.get(name), convs)
        elif node.op_type == "Add" and results.intersection(node.input):
            int8 = all(item in tensors for item in (*node.input, *node.output))
            reason = "residual of quantised tensors" if int8 else "one side of the residual stays float"
            yield Decision(name, node.op_type, int8, reason)
        elif node.op_type in ("Gemm", "MatMul"):
            learned = bool(constants.intersection(node.input))
            reason = "one row at batch 1 waits for memory, not for sums" if learned else "attention is sensitive"
            yield Decision(name, node.op_type, False, reason)


def _conv_decision(name: str, site: ConvSite | None, convs: tuple[ConvSite, ...]) -> Decision:
    if site is None:
        return Decision(name, "Conv", False, "not an encoder's convolution with a constant weight")
    channels = f"{site.channels_in} -> {site.channels_out} channels"
    if site in convs:
        return Decision(name, "Conv", True, channels)
    if _is_wide(site):
        return Decision(name, "Conv", False, f"calibration had no frame of {site.modality}")
    return Decision(name, "Conv", False, f"{channels}: fewer than {MIN_CHANNELS} on a side")
