"""A graph as rules look at it: who makes and who reads a tensor, its type and shape, and what is quantized."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

from edge_msa_export.transforms.opset17 import constants_of

# Shape inference attention maps at the values of small constants only; copying the weights of an encoder takes seconds.
_SMALL_BYTES = 1024
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# Of TensorRT, "Explicit Quantization": what it fuses with the Q/DQ around it.
INT8 = (*WEIGHTED, "Add", "AveragePool", "GlobalAveragePool", "MaxPool")
QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")

Shape = tuple[int, ...]


class GraphView:
    """One model, looked at by many rules; everything is worked out once, when a rule first asks.

    `folder`: where weights lie that are in files beside the graph; left out, they are not looked at.
    """

    def __init__(self, model: onnx.ModelProto, folder: Path | None = None) -> None:
        self.model = model
        self.folder = folder
        self.graph = model.graph
        self.nodes = list(_nodes(model.graph))

    @cached_property
    def constants(self) -> dict[str, TensorProto]:
        """Every constant by name."""
        return constants_of(self.graph)

    @cached_property
    def makers(self) -> dict[str, onnx.NodeProto]:
        """The node that makes a tensor, by the tensor's name."""
        return {name: node for node in self.nodes for name in node.output if name}

    @cached_property
    def users(self) -> dict[str, list[onnx.NodeProto]]:
        """The nodes that read a tensor, by its name."""
        found: dict[str, list[onnx.NodeProto]] = {}
        for node in self.nodes:
            for name in node.input:
                found.setdefault(name, []).append(node)
        return found

    @cached_property
    def opset(self) -> int:
        """Of the standard's own operators; 0 where the model imports none."""
        return next((entry.version for entry in self.model.opset_import if entry.domain in ("", "ai.onnx")), 0)

    @cached_property
    def quantized(self) -> bool:
        """Whether there is any Q/DQ."""
        return any(node.op_type in QUANTIZERS for node in self.nodes)

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """The shape of each tensor whose dimensions are all known."""
        known = {name: tuple(tensor.dims) for name, tensor in self.constants.items()}
        for value in self._values:
            tensor = value.type.tensor_type
            if tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in tensor.shape.dim):
                known.setdefault(value.name, tuple(dim.dim_value for dim in tensor.shape.dim))
        return known

    @cached_property
    def _values(self) -> list[onnx.ValueInfoProto]:
        light = onnx.ModelProto(ir_version=self.model.ir_version)
        light.opset_import.extend(self.model.opset_import)
        light.graph.name = "light"
        light.graph.node.extend(self.graph.node)
        light.graph.input.extend(self.graph.input)
        light.graph.output.extend(self.graph.output)
        for tensor in self.graph.initializer:
            if tensor.data_location != TensorProto.EXTERNAL and tensor.ByteSize() <= _SMALL_BYTES:
                light.graph.initializer.append(tensor)
            else:
                light.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
        try:
            inferred = shape_inference.infer_shapes(light)
        except (shape_inference.InferenceError, ValueError):
            inferred = light  # a rule on the opset says what is wrong; this one knows less
        return [*inferred.graph.input, *inferred.graph.output, *inferred.graph.value_info]

    def where(self, node: onnx.NodeProto) -> str:
        """How a finding names a node."""
        return f"{node.op_type} {node.name or next(iter(node.output), '')}".strip()

    def value(self, name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]] | None:
        """A constant's value; None where there is no such constant, or it lies in a file that is not at hand."""
        tensor = self.constants.get(name)
        if tensor is None or (tensor.data_location == TensorProto.EXTERNAL and self.folder is None):
            return None
        return numpy_helper.to_array(tensor, base_dir=str(self.folder or ""))

    def is_dequantized(self, name: str) -> bool:
        """Whether a DequantizeLinear makes it."""
        return name in self.makers and self.makers[name].op_type == "DequantizeLinear"

    def is_weight(self, name: str) -> bool:
        """Whether it follows from constants alone, through Q/DQ and casts."""
        while name in self.makers and self.makers[name].op_type in (*QUANTIZERS, "Cast", "Identity"):
            name = self.makers[name].input[0]
        return name in self.constants

    def weighted(self) -> Iterator[onnx.NodeProto]:
        """The nodes that multiply by weights."""
        return (node for node in self.nodes if node.op_type in WEIGHTED)

    def is_int8(self, node: onnx.NodeProto) -> bool:
        """Whether a backend may compute a node in int8: of those operators, and what it reads but a bias is a DQ's."""
        return node.op_type in INT8 and all(self.is_dequantized(name) for name in node.input[:2])


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a graph, those in the bodies of If, Loop and Scan behind the node that has them."""
    for node in graph.node:
        yield node
        for item in node.attribute:
            for body in (item.g, *item.graphs):
                yield from _nodes(body)


def attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    """A whole number that a node has as an attribute."""
    return next((int(item.i) for item in node.attribute if item.name == name), default)
