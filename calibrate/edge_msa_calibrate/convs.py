"""The encoder convolutions of an ONNX graph: found by their weights' names, which every graph of a student shares."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx
from onnx import helper

ENCODERS = "encoders."


@dataclass(frozen=True)
class ConvSite:
    """One encoder convolution in one graph.

    `weight`: name of the initialiser, its identity in every graph. `node`: name of the node. `source`: the tensor it
    reads, (1, channels_in, memory + T). `features`: where `source` is a Concat of a memory with this chunk's frames,
    the latter, (1, channels_in, T); else None. `memory`: the former, else None. `result`: the tensor it makes,
    (1, channels_out, T), after the Relu that follows if it is the only one that reads the convolution.
    """

    weight: str
    node: str
    source: str
    memory: str | None
    features: str | None
    result: str
    bias: str | None
    channels_in: int
    channels_out: int

    @property
    def modality(self) -> str:
        """The modality whose encoder this belongs to."""
        return self.weight.split(".")[1]

    @property
    def input_key(self) -> str:
        """Key of the statistics and the range of what it reads."""
        return f"{self.weight}:input"

    @property
    def output_key(self) -> str:
        """Key of the statistics and the range of what it makes."""
        return f"{self.weight}:output"


def find_convs(model: onnx.ModelProto) -> tuple[ConvSite, ...]:
    """Every encoder convolution with a constant weight, in graph order; a fuse graph has none."""
    return tuple(_sites(model.graph))


def readers_of(graph: onnx.GraphProto) -> dict[str, list[onnx.NodeProto]]:
    """The nodes that read each tensor, a node once for each time it reads it."""
    found: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            found.setdefault(name, []).append(node)
    return found


def _sites(graph: onnx.GraphProto) -> Iterator[ConvSite]:
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    readers = readers_of(graph)
    outputs = {value.name for value in graph.output}
    for node in graph.node:
        if node.op_type != "Conv" or not node.input[1].startswith(ENCODERS) or node.input[1] not in shapes:
            continue
        memory, features = _joined(makers.get(node.input[0]))
        after = readers.get(node.output[0], [])
        follows = len(after) == 1 and after[0].op_type == "Relu" and node.output[0] not in outputs
        yield ConvSite(
            weight=node.input[1],
            node=node.name or node.output[0],
            source=node.input[0],
            memory=memory,
            features=features,
            result=after[0].output[0] if follows else node.output[0],
            bias=node.input[2] if len(node.input) > 2 else None,
            channels_in=shapes[node.input[1]][1] * _groups(node),
            channels_out=shapes[node.input[1]][0],
        )


def _joined(maker: onnx.NodeProto | None) -> tuple[str | None, str | None]:
    """Memory and features of a Concat along time, the last of three axes; None and None of anything else."""
    if maker is None or maker.op_type != "Concat" or len(maker.input) != 2:
        return None, None
    axis = next(helper.get_attribute_value(item) for item in maker.attribute if item.name == "axis")
    return (maker.input[0], maker.input[1]) if axis in (2, -1) else (None, None)


def _groups(node: onnx.NodeProto) -> int:
    return next((int(item.i) for item in node.attribute if item.name == "group"), 1)
