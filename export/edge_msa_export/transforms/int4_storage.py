"""Stores the weights of a text encoder in 4 bits, for graphs that compute in int8.

On CPUs, kernels with 4-bit weights are slower than int8: for a text of 24 tokens and an encoder with 12 layers and 33M
parameters, ONNX Runtime's MatMulNBits takes 2.5 times as long as its int8 graph. A graph at int4 therefore computes as
the int8 graph does, and only its file is smaller: when a backend loads the graph, constant folding turns the 4-bit
integers into the int8 weights.

A block of 32 weights of one output channel, along the input channels, has an int8 factor. Each of its int8 weights is
`round(q * factor / 8)` with a 4-bit integer q from -8 to 7, as in QServe (Lin et al. 2024). The int8 weights contain
the smoothing factors, so those of channels with large activations are large and lose least, as in AWQ (Lin et al.
2023). Embedding tables have one factor per 32 features of a row. Tables are not folded: only the rows that are looked
up are unpacked.

Two integers share a byte. The standard integer operators of opset 17 unpack them, so no backend needs a 4-bit type.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge_msa_calibrate.layers import TEXT_ENCODER
from edge_msa_export.transforms.opset17 import check_opset17

BLOCK = 32
"""Weights per factor."""
_LOWEST, _HIGHEST = -8, 7
_FACTOR_STEPS = 8
"""Steps of a factor per integer: factors are stored as integers from -127 to 127."""
_SHRINKING = np.linspace(1, 0.75, 6)
"""Factors that are tried, relative to the one that represents the largest weight of the block."""
_PACKED = ".packed"


class Int4Packer:
    """Packs the graphs of one text encoder under one quantization scheme, which share their weights."""

    def __init__(self) -> None:
        self._blocks: dict[str, tuple[NDArray[np.uint8], NDArray[np.int8]]] = {}

    def pack(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """Return an int8 graph with the weights and embedding tables of its text encoder stored in 4 bits.

        Weights whose number of input channels, and tables whose number of features, is no multiple of 32 stay int8. So
        do the graphs of the student.

        Args:
            model: a graph that `quantize` and `compress_weights` wrote. It is not modified.
        """
        result = onnx.ModelProto()
        result.CopyFrom(model)
        graph = result.graph
        constants = {tensor.name: tensor for tensor in graph.initializer}
        nodes: list[onnx.NodeProto] = []
        for node in graph.node:
            tensor = constants.get(node.input[0]) if node.input else None
            if tensor is None or not _is_packable(node, tensor):
                nodes.append(node)
            elif node.op_type == "Gather":
                nodes += self._unpack_rows(graph, node, tensor)
            else:
                nodes += self._unpack_weight(graph, node, tensor)
        del graph.node[:]
        graph.node.extend(nodes)
        used = {name for node in graph.node for name in node.input}
        kept = [tensor for tensor in graph.initializer if tensor.name in used]
        del graph.initializer[:]
        graph.initializer.extend(kept)
        check_opset17(result)
        return result

    def _unpack_weight(
        self, graph: onnx.GraphProto, node: onnx.NodeProto, tensor: onnx.TensorProto
    ) -> Iterator[onnx.NodeProto]:
        """Yield the nodes that compute an int8 weight, and the node that dequantizes it."""
        values, axis, name = numpy_helper.to_array(tensor), _channel_axis(node), tensor.name
        by_channel = values if axis == 0 else values.T
        self._add_packed(graph, name, by_channel)
        _add(graph, f"{name}.shape", np.array(by_channel.shape, np.int64))
        scales = next(numpy_helper.to_array(item) for item in graph.initializer if item.name == node.input[1])
        _add(graph, f"{name}.steps", (scales / _FACTOR_STEPS)[:, None])
        yield from _unpack(graph, f"{name}{_PACKED}", f"{name}.factors", name)
        yield helper.make_node("Cast", [f"{name}.products"], [f"{name}.blocks"], to=TensorProto.FLOAT)
        yield helper.make_node("Reshape", [f"{name}.blocks", f"{name}.shape"], [f"{name}.rows"])
        yield helper.make_node("Mul", [f"{name}.rows", f"{name}.steps"], [f"{name}.scaled"])
        if axis:
            yield helper.make_node("Transpose", [f"{name}.scaled"], [f"{name}.columns"], perm=[1, 0])
        source = f"{name}.columns" if axis else f"{name}.scaled"
        yield helper.make_node("QuantizeLinear", [source, *node.input[1:]], [f"{name}.int8"], axis=axis)
        node.input[0] = f"{name}.int8"
        yield node

    def _unpack_rows(
        self, graph: onnx.GraphProto, node: onnx.NodeProto, tensor: onnx.TensorProto
    ) -> Iterator[onnx.NodeProto]:
        """Yield the nodes that replace the lookup of int8 rows."""
        (index, result), name = (node.input[1], node.output[0]), tensor.name
        self._add_packed(graph, name, numpy_helper.to_array(tensor))
        _add(graph, "int4.inverse", np.array(1 / _FACTOR_STEPS, np.float32))
        _add(graph, f"{name}.shape", np.array([0, 0, tensor.dims[1]], np.int64))
        yield helper.make_node("Gather", [f"{name}{_PACKED}", index], [f"{result}.bytes8"], axis=0)
        yield helper.make_node("Gather", [f"{name}.factors", index], [f"{result}.factors"], axis=0)
        yield from _unpack(graph, f"{result}.bytes8", f"{result}.factors", result)
        yield helper.make_node("Cast", [f"{result}.products"], [f"{result}.float"], to=TensorProto.FLOAT)
        yield helper.make_node("Mul", [f"{result}.float", "int4.inverse"], [f"{result}.blocks"])
        yield helper.make_node("Reshape", [f"{result}.blocks", f"{name}.shape"], [result])

    def _add_packed(self, graph: onnx.GraphProto, name: str, values: NDArray[np.int8]) -> None:
        """Add the bytes (rows, blocks, 16) and the factors (rows, blocks) of a weight or table."""
        if name not in self._blocks:
            integers, factors = quantize_blocks(values.reshape(len(values), -1, BLOCK))
            self._blocks[name] = _pack(integers), factors
        packed, factors = self._blocks[name]
        _add(graph, f"{name}{_PACKED}", packed)
        _add(graph, f"{name}.factors", factors)


def count_packed(model: onnx.ModelProto) -> int:
    """Return how many weights of a graph are stored in 4 bits."""
    return sum(2 * int(np.prod(tensor.dims)) for tensor in model.graph.initializer if tensor.name.endswith(_PACKED))


def quantize_blocks(values: NDArray[np.int8]) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Quantize int8 weights (rows, blocks, 32) to 4 bits.

    Returns:
        Integers from -8 to 7 with the shape of `values`, and factors (rows, blocks), those with the smallest squared
        error that were tried.
    """
    weights = values.astype(np.float32)
    largest = np.take_along_axis(weights, np.abs(weights).argmax(axis=-1, keepdims=True), axis=-1)
    best_error = np.full(largest.shape, np.inf, np.float32)
    best = np.zeros(values.shape, np.int8)
    best_factor = np.zeros(largest.shape, np.int8)
    for share in _SHRINKING:
        # The largest weight becomes -8, the integer with the largest magnitude.
        factor = np.clip(np.rint(largest * np.float32(share * _FACTOR_STEPS / _LOWEST)), -127, 127)
        factor[factor == 0] = 1
        integers = np.clip(np.rint(weights * (_FACTOR_STEPS / factor)), _LOWEST, _HIGHEST)
        error = np.square(integers * (factor / _FACTOR_STEPS) - weights).sum(axis=-1, keepdims=True)
        better = error < best_error
        best_error = np.where(better, error, best_error)
        best = np.where(better, integers, best).astype(np.int8)
        best_factor = np.where(better, factor, best_factor).astype(np.int8)
    return best, best_factor[..., 0]


def _pack(integers: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Return (..., 16) bytes: the first half of each block in the low bits, the second half in the high ones."""
    unsigned = (integers - _LOWEST).astype(np.uint8)
    low, high = np.split(unsigned, 2, axis=-1)
    return np.asarray(low | (high << 4), np.uint8)


def _is_packable(node: onnx.NodeProto, tensor: onnx.TensorProto) -> bool:
    """Return whether a node dequantizes an int8 weight of a text encoder, or looks up int8 rows, in blocks of 32."""
    if tensor.data_type != TensorProto.INT8 or len(tensor.dims) != 2 or not tensor.name.startswith(f"{TEXT_ENCODER}."):
        return False
    if node.op_type not in ("DequantizeLinear", "Gather"):
        return False
    axis = 1 if node.op_type == "Gather" else 1 - _channel_axis(node)
    return int(tensor.dims[axis]) % BLOCK == 0


def _channel_axis(node: onnx.NodeProto) -> int:
    return next((int(item.i) for item in node.attribute if item.name == "axis"), 1)


def _unpack(graph: onnx.GraphProto, packed: str, factors: str, name: str) -> Iterator[onnx.NodeProto]:
    """Yield the nodes that compute `<name>.products`, the 4-bit integers times their factors, as int32."""
    _add(graph, "int4.base", np.array(16, np.int32))
    _add(graph, "int4.lowest", np.array(-_LOWEST, np.int32))
    _add(graph, "int4.axis", np.array([-1], np.int64))
    yield helper.make_node("Cast", [packed], [f"{name}.bytes"], to=TensorProto.INT32)
    yield helper.make_node("Div", [f"{name}.bytes", "int4.base"], [f"{name}.high"])
    yield helper.make_node("Mul", [f"{name}.high", "int4.base"], [f"{name}.high16"])
    yield helper.make_node("Sub", [f"{name}.bytes", f"{name}.high16"], [f"{name}.low"])
    yield helper.make_node("Concat", [f"{name}.low", f"{name}.high"], [f"{name}.unsigned"], axis=-1)
    yield helper.make_node("Sub", [f"{name}.unsigned", "int4.lowest"], [f"{name}.integers"])
    # OpenVINO keeps a Cast of a constant that a Mul uses directly, and would unpack the weights in every prediction.
    yield helper.make_node("Cast", [factors], [f"{name}.wide"], to=TensorProto.INT32)
    yield helper.make_node("Unsqueeze", [f"{name}.wide", "int4.axis"], [f"{name}.column"])
    yield helper.make_node("Mul", [f"{name}.integers", f"{name}.column"], [f"{name}.products"])


def _add(graph: onnx.GraphProto, name: str, values: NDArray[np.generic]) -> None:
    """Add a constant, unless the graph has it."""
    if not any(tensor.name == name for tensor in graph.initializer):
        graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
