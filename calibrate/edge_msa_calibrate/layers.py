"""The linear layers of an ONNX graph that int8 is about, found by their weights' names, which every graph shares.

An encoder's convolutions have weights `encoders.<modality>.…`. The linear layers of a language text encoder, a BERT-like
encoder of token ids, are MatMul or Gemm nodes with weights `text_encoder.…`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx
from onnx import helper

ENCODERS = "encoders."
TEXT_ENCODER = "text_encoder."


@dataclass(frozen=True)
class LinearSite:
    """One linear layer with a constant weight in one graph.

    `weight`: name of the initializer, its cache key in every graph. `node`: name of the node, `op_type` Conv, MatMul or
    Gemm. `source`: the tensor it reads; of a convolution (1, channels_in, memory + T), else (…, channels_in).
    `features`: where `source` is a Concat of a memory with this chunk's frames, the latter, (1, channels_in, T); else
    None. `memory`: the former, else None. `result`: the tensor it makes, after the Relu that follows a convolution if
    it is the only one that reads it. `bias`: of a MatMul the constant that the Add behind it adds, if nobody else reads
    it. `axis`: of the weight, where its output channels lie.
    """

    weight: str
    node: str
    op_type: str
    source: str
    memory: str | None
    features: str | None
    result: str
    bias: str | None
    axis: int
    channels_in: int
    channels_out: int
    groups: int = 1

    @property
    def owner(self) -> str:
        """The modality whose encoder this belongs to, or `text_encoder`."""
        return owner_of(self.weight)

    @property
    def input_key(self) -> str:
        """Key of the statistics and the range of what it reads."""
        return f"{self.weight}:input"

    @property
    def output_key(self) -> str:
        """Key of the statistics and the range of what it makes."""
        return f"{self.weight}:output"


def owner_of(name: str) -> str:
    """The modality of a weight or a key of an encoder, `text_encoder` of a text encoder's."""
    return name.split(".")[1] if name.startswith(ENCODERS) else TEXT_ENCODER.rstrip(".")


def find_sites(model: onnx.ModelProto) -> tuple[LinearSite, ...]:
    """Every such layer, in graph order; a fuse graph has none."""
    graph = model.graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    parts = _Parts(
        shapes,
        {name: node for node in graph.node for name in node.output},
        readers_of(graph),
        {value.name for value in graph.output},
    )
    return tuple(_sites(graph, parts))


def readers_of(graph: onnx.GraphProto) -> dict[str, list[onnx.NodeProto]]:
    """The nodes that read each tensor, a node once for each time it reads it."""
    found: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            found.setdefault(name, []).append(node)
    return found


@dataclass(frozen=True)
class _Parts:
    """A graph by its tensors: shapes of constants, who makes and who reads a tensor, what leaves the graph."""

    shapes: dict[str, tuple[int, ...]]
    makers: dict[str, onnx.NodeProto]
    readers: dict[str, list[onnx.NodeProto]]
    outputs: set[str]


def _sites(graph: onnx.GraphProto, parts: _Parts) -> Iterator[LinearSite]:
    for node in graph.node:
        if len(node.input) < 2 or node.input[1] not in parts.shapes:
            continue
        if node.op_type == "Conv" and node.input[1].startswith(ENCODERS):
            yield _conv_site(node, parts)
        elif node.op_type in ("MatMul", "Gemm") and node.input[1].startswith(TEXT_ENCODER) and _is_plain(node):
            yield _linear_site(node, parts)


def _conv_site(node: onnx.NodeProto, parts: _Parts) -> LinearSite:
    memory, features = _joined(parts.makers.get(node.input[0]))
    after = parts.readers.get(node.output[0], [])
    follows = len(after) == 1 and after[0].op_type == "Relu" and node.output[0] not in parts.outputs
    shape, groups = parts.shapes[node.input[1]], int(_attribute(node, "group", 1))
    return LinearSite(
        weight=node.input[1],
        node=node.name or node.output[0],
        op_type=node.op_type,
        source=node.input[0],
        memory=memory,
        features=features,
        result=after[0].output[0] if follows else node.output[0],
        bias=node.input[2] if len(node.input) > 2 else None,
        axis=0,
        channels_in=shape[1] * groups,
        channels_out=shape[0],
        groups=groups,
    )


def _linear_site(node: onnx.NodeProto, parts: _Parts) -> LinearSite:
    axis = 0 if _attribute(node, "transB", 0) else 1
    shape = parts.shapes[node.input[1]]
    return LinearSite(
        weight=node.input[1],
        node=node.name or node.output[0],
        op_type=node.op_type,
        source=node.input[0],
        memory=None,
        features=None,
        result=node.output[0],
        bias=node.input[2] if len(node.input) > 2 else _added(node.output[0], parts),
        axis=axis,
        channels_in=shape[1 - axis],
        channels_out=shape[axis],
    )


def _added(tensor: str, parts: _Parts) -> str | None:
    """The vector that the only reader of a tensor adds to it, where that is all the vector is for."""
    after = parts.readers.get(tensor, [])
    if len(after) != 1 or after[0].op_type != "Add" or tensor in parts.outputs:
        return None
    other = next((name for name in after[0].input if name != tensor), "")
    alone = len(parts.shapes.get(other, ())) == 1 and len(parts.readers.get(other, [])) == 1
    return other if alone else None


def _is_plain(node: onnx.NodeProto) -> bool:
    """Whether a Gemm is x @ W + b and nothing else."""
    return not _attribute(node, "transA", 0) and _attribute(node, "alpha", 1) == 1 and _attribute(node, "beta", 1) == 1


def _joined(maker: onnx.NodeProto | None) -> tuple[str | None, str | None]:
    """Memory and features of a Concat along time, the last of three axes; None and None of anything else."""
    if maker is None or maker.op_type != "Concat" or len(maker.input) != 2:
        return None, None
    return (maker.input[0], maker.input[1]) if _attribute(maker, "axis", 0) in (2, -1) else (None, None)


def _attribute(node: onnx.NodeProto, name: str, default: float) -> float:
    return next((float(helper.get_attribute_value(item)) for item in node.attribute if item.name == name), default)
