"""Find the layers of an ONNX graph that INT8 can quantize.

Layers are identified by the names of their weights, which all graphs of a student share. The convolutions of an encoder
have weights named `encoders.<modality>.…`. The linear layers of a text encoder are MatMul or Gemm nodes with weights
named `text_encoder.…`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx
from onnx import helper

ENCODERS = "encoders."
TEXT_ENCODER = "text_encoder"


@dataclass(frozen=True)
class QuantizableLayer:
    """One layer with a constant weight in one graph.

    `weight`: name of the weight's initializer. It identifies the layer in every graph.
    `node`: name of the node. `op_type`: Conv, MatMul or Gemm.
    `input`: name of the input tensor, (1, in_channels, memory + T) for a convolution, else (…, in_channels).
    `memory`, `features`: if `input` concatenates the memory of a causal convolution with the frames of this chunk, the
    names of these two tensors; else None. `features` has shape (1, in_channels, T).
    `output`: name of the output tensor. It is the output of the Relu after a convolution if nothing else uses the
    output of the convolution.
    `bias`: name of the bias; for a MatMul, the constant that the following Add adds, if nothing else uses it.
    `channel_axis`: the axis of the weight that holds the output channels.
    """

    weight: str
    node: str
    op_type: str
    input: str
    memory: str | None
    features: str | None
    output: str
    bias: str | None
    channel_axis: int
    in_channels: int
    out_channels: int
    groups: int = 1

    @property
    def encoder(self) -> str:
        """The encoder that the layer belongs to: a modality or `text_encoder`."""
        return encoder_of(self.weight)

    @property
    def input_key(self) -> str:
        """Key of the statistics and the range of the layer's input."""
        return f"{self.weight}:input"

    @property
    def output_key(self) -> str:
        """Key of the statistics and the range of the layer's output."""
        return f"{self.weight}:output"


def encoder_of(name: str) -> str:
    """Return the encoder (a modality or `text_encoder`) that a weight name or a statistics key belongs to."""
    return name.split(".")[1] if name.startswith(ENCODERS) else TEXT_ENCODER


def find_layers(model: onnx.ModelProto) -> tuple[QuantizableLayer, ...]:
    """Return the quantizable layers of a graph in graph order. A fuse graph has none."""
    return tuple(_layers(model.graph, _GraphIndex.of(model.graph)))


@dataclass(frozen=True)
class _GraphIndex:
    """Look-up tables of a graph by tensor name.

    `shapes`: of the constants. `producers`: the node that computes a tensor. `consumers`: the nodes that use a tensor,
    one entry per use. `outputs`: the graph's outputs.
    """

    shapes: dict[str, tuple[int, ...]]
    producers: dict[str, onnx.NodeProto]
    consumers: dict[str, list[onnx.NodeProto]]
    outputs: set[str]

    @classmethod
    def of(cls, graph: onnx.GraphProto) -> _GraphIndex:
        consumers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                consumers.setdefault(name, []).append(node)
        return cls(
            {tensor.name: tuple(tensor.dims) for tensor in graph.initializer},
            {name: node for node in graph.node for name in node.output},
            consumers,
            {value.name for value in graph.output},
        )


def _layers(graph: onnx.GraphProto, index: _GraphIndex) -> Iterator[QuantizableLayer]:
    for node in graph.node:
        if len(node.input) < 2 or node.input[1] not in index.shapes:
            continue
        weight = node.input[1]
        if node.op_type == "Conv" and weight.startswith(ENCODERS):
            yield _conv_layer(node, index)
        elif node.op_type in ("MatMul", "Gemm") and weight.startswith(f"{TEXT_ENCODER}.") and _is_plain(node):
            yield _linear_layer(node, index)


def _conv_layer(node: onnx.NodeProto, index: _GraphIndex) -> QuantizableLayer:
    memory, features = _memory_and_features(index.producers.get(node.input[0]))
    consumers = index.consumers.get(node.output[0], [])
    has_relu = len(consumers) == 1 and consumers[0].op_type == "Relu" and node.output[0] not in index.outputs
    shape, groups = index.shapes[node.input[1]], int(_attribute(node, "group", 1))
    return QuantizableLayer(
        weight=node.input[1],
        node=node.name or node.output[0],
        op_type=node.op_type,
        input=node.input[0],
        memory=memory,
        features=features,
        output=consumers[0].output[0] if has_relu else node.output[0],
        bias=node.input[2] if len(node.input) > 2 else None,
        channel_axis=0,
        in_channels=shape[1] * groups,
        out_channels=shape[0],
        groups=groups,
    )


def _linear_layer(node: onnx.NodeProto, index: _GraphIndex) -> QuantizableLayer:
    axis = 0 if _attribute(node, "transB", 0) else 1
    shape = index.shapes[node.input[1]]
    return QuantizableLayer(
        weight=node.input[1],
        node=node.name or node.output[0],
        op_type=node.op_type,
        input=node.input[0],
        memory=None,
        features=None,
        output=node.output[0],
        bias=node.input[2] if len(node.input) > 2 else _added_bias(node.output[0], index),
        channel_axis=axis,
        in_channels=shape[1 - axis],
        out_channels=shape[axis],
    )


def _added_bias(tensor: str, index: _GraphIndex) -> str | None:
    """Return the constant vector that the only consumer of a tensor adds to it, if nothing else uses the vector."""
    consumers = index.consumers.get(tensor, [])
    if len(consumers) != 1 or consumers[0].op_type != "Add" or tensor in index.outputs:
        return None
    other = next((name for name in consumers[0].input if name != tensor), "")
    is_bias = len(index.shapes.get(other, ())) == 1 and len(index.consumers.get(other, [])) == 1
    return other if is_bias else None


def _is_plain(node: onnx.NodeProto) -> bool:
    """Return whether a Gemm computes x @ W + b and nothing else."""
    return not _attribute(node, "transA", 0) and _attribute(node, "alpha", 1) == 1 and _attribute(node, "beta", 1) == 1


def _memory_and_features(producer: onnx.NodeProto | None) -> tuple[str | None, str | None]:
    """Return the inputs of a Concat along time, the last of three axes; (None, None) for any other node."""
    if producer is None or producer.op_type != "Concat" or len(producer.input) != 2:
        return None, None
    return (producer.input[0], producer.input[1]) if _attribute(producer, "axis", 0) in (2, -1) else (None, None)


def _attribute(node: onnx.NodeProto, name: str, default: float) -> float:
    return next((float(helper.get_attribute_value(item)) for item in node.attribute if item.name == name), default)
