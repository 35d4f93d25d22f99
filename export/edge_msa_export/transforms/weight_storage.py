"""Stores float weights in fewer bytes: as float16, and embedding tables as int8 rows.

Backends fold the casts when they load a graph, so speed stays the same and sums stay in float32. Tables are not folded:
only the rows that are looked up are converted.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge_msa_export.normalization import PREFIX
from edge_msa_export.text import quantize_rows
from edge_msa_export.transforms.opset17 import check_opset17

_MIN_BYTES = 1024
_MAX_FLOAT16 = float(np.finfo(np.float16).max)
_QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")


def compress_weights(model: onnx.ModelProto, *, int8_tables: bool) -> onnx.ModelProto:
    """Return the same graph with large float constants stored as float16, except those that normalize frames.

    Args:
        model: a float32 or quantized graph. Scales of Q/DQ and constants beyond the range of float16 stay as they are.
        int8_tables: store the tables of Gather nodes as int8 rows with one scale per row.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    consumers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            consumers.setdefault(name, []).append(node)
    large = [tensor for tensor in graph.initializer if _is_compressible(tensor, consumers.get(tensor.name, []))]
    casts: list[onnx.NodeProto] = []
    for tensor in large:
        if all(_is_lookup(consumer, tensor.name) for consumer in consumers[tensor.name]):
            _compress_table(graph, tensor, consumers[tensor.name], int8=int8_tables)
        else:
            casts.append(helper.make_node("Cast", [f"{tensor.name}.fp16"], [tensor.name], to=TensorProto.FLOAT))
            _replace_values(tensor, numpy_helper.to_array(tensor).astype(np.float16), f"{tensor.name}.fp16")
    body = list(graph.node)
    del graph.node[:]
    graph.node.extend([*casts, *body])
    check_opset17(result)
    return result


def _is_compressible(tensor: onnx.TensorProto, consumers: list[onnx.NodeProto]) -> bool:
    if tensor.name.startswith(PREFIX):
        return False
    if tensor.data_type != TensorProto.FLOAT or any(consumer.op_type in _QUANTIZERS for consumer in consumers):
        return False
    values = numpy_helper.to_array(tensor)
    return values.nbytes >= _MIN_BYTES and bool(np.abs(values).max() <= _MAX_FLOAT16)


def _is_lookup(node: onnx.NodeProto, table: str) -> bool:
    axis = next((int(item.i) for item in node.attribute if item.name == "axis"), 0)
    return node.op_type == "Gather" and node.input[0] == table and axis == 0


def _compress_table(
    graph: onnx.GraphProto, tensor: onnx.TensorProto, lookups: list[onnx.NodeProto], *, int8: bool
) -> None:
    values = numpy_helper.to_array(tensor)
    name = tensor.name
    int8 = int8 and values.ndim == 2
    if int8:
        integers, scales = quantize_rows(values)
        graph.initializer.append(numpy_helper.from_array(scales[:, None], f"{name}.scales"))
        _replace_values(tensor, integers, f"{name}.rows")
    else:
        _replace_values(tensor, values.astype(np.float16), f"{name}.fp16")
    for lookup in lookups:
        position = list(graph.node).index(lookup)
        nodes = list(_make_lookup(lookup, tensor.name, f"{name}.scales" if int8 else ""))
        graph.node.remove(lookup)
        for offset, node in enumerate(nodes):
            graph.node.insert(position + offset, node)


def _make_lookup(lookup: onnx.NodeProto, table: str, scales: str) -> Iterator[onnx.NodeProto]:
    """Yield the nodes that replace one lookup: the rows as float32, times their scales if the table is int8."""
    index, result = lookup.input[1], lookup.output[0]
    yield helper.make_node("Gather", [table, index], [f"{result}.row"], axis=0)
    if not scales:
        yield helper.make_node("Cast", [f"{result}.row"], [result], to=TensorProto.FLOAT)
        return
    yield helper.make_node("Cast", [f"{result}.row"], [f"{result}.integers"], to=TensorProto.FLOAT)
    yield helper.make_node("Gather", [scales, index], [f"{result}.scales"], axis=0)
    yield helper.make_node("Mul", [f"{result}.integers", f"{result}.scales"], [result])


def _replace_values(
    tensor: onnx.TensorProto, values: np.ndarray[tuple[int, ...], np.dtype[np.generic]], name: str
) -> None:
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), name))
