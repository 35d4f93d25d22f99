"""A view of a graph with what the rules need: producers and consumers of tensors, shapes, and what is quantized."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

from edge_msa_export.transforms.opset17 import collect_constants

# Shape inference uses the values of small constants only. Copying the weights of a text encoder would take seconds.
_SMALL_CONSTANT_BYTES = 1024
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# Operators that TensorRT fuses with the Q/DQ around them (TensorRT documentation, "Explicit Quantization").
INT8 = (*WEIGHTED, "Add", "AveragePool", "GlobalAveragePool", "MaxPool")
QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")

Shape = tuple[int, ...]


class GraphView:
    """A model, and the properties of its graph that the rules need. Each property is computed once, on first use.

    Args:
        model: the model.
        folder: folder of the files that hold external weights; None to skip the values of external weights.
    """

    def __init__(self, model: onnx.ModelProto, folder: Path | None = None) -> None:
        self.model = model
        self.folder = folder
        self.graph = model.graph
        self.nodes = list(_iterate_nodes(model.graph))

    @cached_property
    def constants(self) -> dict[str, TensorProto]:
        """Every constant by name."""
        return collect_constants(self.graph)

    @cached_property
    def producers(self) -> dict[str, onnx.NodeProto]:
        """The node that produces each tensor, by the name of the tensor."""
        return {name: node for node in self.nodes for name in node.output if name}

    @cached_property
    def consumers(self) -> dict[str, list[onnx.NodeProto]]:
        """The nodes that take each tensor as input, by the name of the tensor."""
        consumers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.nodes:
            for name in node.input:
                consumers.setdefault(name, []).append(node)
        return consumers

    @cached_property
    def opset(self) -> int:
        """Version of the standard ONNX opset; 0 if the model does not import it."""
        return next((entry.version for entry in self.model.opset_import if entry.domain in ("", "ai.onnx")), 0)

    @cached_property
    def quantized(self) -> bool:
        """Whether the graph has any Q/DQ node."""
        return any(node.op_type in QUANTIZERS for node in self.nodes)

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """The shape of each tensor whose dimensions are all known, by name."""
        known = {name: tuple(tensor.dims) for name, tensor in self.constants.items()}
        for value in self._infer_values():
            tensor = value.type.tensor_type
            if tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in tensor.shape.dim):
                known.setdefault(value.name, tuple(dim.dim_value for dim in tensor.shape.dim))
        return known

    def describe(self, node: onnx.NodeProto) -> str:
        """Return the operator and name of a node, as findings show it."""
        return f"{node.op_type} {node.name or next(iter(node.output), '')}".strip()

    def value(self, name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]] | None:
        """Return the value of a constant, or None if it is not a constant or its file is not available."""
        tensor = self.constants.get(name)
        if tensor is None or (tensor.data_location == TensorProto.EXTERNAL and self.folder is None):
            return None
        return numpy_helper.to_array(tensor, base_dir=str(self.folder or ""))

    def is_dequantized(self, name: str) -> bool:
        """Return whether a DequantizeLinear produces this tensor."""
        return name in self.producers and self.producers[name].op_type == "DequantizeLinear"

    def is_weight(self, name: str) -> bool:
        """Return whether a tensor is a constant, possibly behind Q/DQ and casts."""
        while name in self.producers and self.producers[name].op_type in (*QUANTIZERS, "Cast", "Identity"):
            name = self.producers[name].input[0]
        return name in self.constants

    def weighted(self) -> Iterator[onnx.NodeProto]:
        """Iterate over convolutions and matrix products."""
        return (node for node in self.nodes if node.op_type in WEIGHTED)

    def is_int8(self, node: onnx.NodeProto) -> bool:
        """Return whether a backend may compute a node in int8: a supported operator with dequantized inputs.

        The bias is not considered.
        """
        return node.op_type in INT8 and all(self.is_dequantized(name) for name in node.input[:2])

    def _infer_values(self) -> list[onnx.ValueInfoProto]:
        light = onnx.ModelProto(ir_version=self.model.ir_version)
        light.opset_import.extend(self.model.opset_import)
        light.graph.name = "light"
        light.graph.node.extend(self.graph.node)
        light.graph.input.extend(self.graph.input)
        light.graph.output.extend(self.graph.output)
        for tensor in self.graph.initializer:
            if tensor.data_location != TensorProto.EXTERNAL and tensor.ByteSize() <= _SMALL_CONSTANT_BYTES:
                light.graph.initializer.append(tensor)
            else:
                light.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
        try:
            inferred = shape_inference.infer_shapes(light)
        except (shape_inference.InferenceError, ValueError):
            inferred = light  # The opset rules report the cause. Here, fewer shapes are known.
        return [*inferred.graph.input, *inferred.graph.output, *inferred.graph.value_info]


def get_int_attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    """Return an integer attribute of a node, or `default` if the node does not have it."""
    return next((int(item.i) for item in node.attribute if item.name == name), default)


def _iterate_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yield the nodes of a graph. The bodies of If, Loop and Scan follow their node."""
    for node in graph.node:
        yield node
        for item in node.attribute:
            for body in (item.g, *item.graphs):
                yield from _iterate_nodes(body)
