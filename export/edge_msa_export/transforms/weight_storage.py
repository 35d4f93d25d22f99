"""What stays float in a graph, stored in less: float16, and int8 rows of embedding tables.

A backend folds the casts when it loads, so nothing is slower for it and sums stay float32. Tables are not folded, as
only the rows that are asked for are brought back.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge_msa_export.text import int8_rows
from edge_msa_export.transforms.opset17 import check

_LEAST_BYTES = 1024
_LARGEST = float(np.finfo(np.float16).max)
_QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")


def with_compact_weights(model: onnx.ModelProto, *, int8_tables: bool) -> onnx.ModelProto:
    """The same graph with its large float constants in float16.

    Args:
        model: float32 or quantized; scales of Q/DQ stay as they are, and so does what float16 cannot hold.
        int8_tables: whether the rows of tables that a Gather reads become int8, each with its scale.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    large = [tensor for tensor in graph.initializer if _is_large(tensor, users.get(tensor.name, []))]
    head: list[onnx.NodeProto] = []
    for tensor in large:
        if all(_is_lookup(user, tensor.name) for user in users[tensor.name]):
            _store_table(graph, tensor, users[tensor.name], int8=int8_tables)
        else:
            head.append(helper.make_node("Cast", [f"{tensor.name}.half"], [tensor.name], to=TensorProto.FLOAT))
            _replace(tensor, numpy_helper.to_array(tensor).astype(np.float16), f"{tensor.name}.half")
    body = list(graph.node)
    del graph.node[:]
    graph.node.extend([*head, *body])
    check(result)
    return result


def _is_large(tensor: onnx.TensorProto, users: list[onnx.NodeProto]) -> bool:
    if tensor.data_type != TensorProto.FLOAT or any(user.op_type in _QUANTIZERS for user in users):
        return False
    values = numpy_helper.to_array(tensor)
    return values.nbytes >= _LEAST_BYTES and bool(np.abs(values).max() <= _LARGEST)


def _is_lookup(node: onnx.NodeProto, table: str) -> bool:
    axis = next((int(item.i) for item in node.attribute if item.name == "axis"), 0)
    return node.op_type == "Gather" and node.input[0] == table and axis == 0


def _store_table(
    graph: onnx.GraphProto, tensor: onnx.TensorProto, lookups: list[onnx.NodeProto], *, int8: bool
) -> None:
    values = numpy_helper.to_array(tensor)
    name = tensor.name
    if int8 and values.ndim == 2:
        integers, scales = int8_rows(values)
        graph.initializer.append(numpy_helper.from_array(scales[:, None], f"{name}.scales"))
        _replace(tensor, integers, f"{name}.rows")
    else:
        _replace(tensor, values.astype(np.float16), f"{name}.half")
    for lookup in lookups:
        position = list(graph.node).index(lookup)
        made = list(_looked_up(lookup, name, tensor.name))
        graph.node.remove(lookup)
        for offset, node in enumerate(made):
            graph.node.insert(position + offset, node)


def _looked_up(lookup: onnx.NodeProto, name: str, stored: str) -> Iterator[onnx.NodeProto]:
    """The nodes that take one lookup's place: the rows, as float32, and times their scales where they are int8."""
    index, result = lookup.input[1], lookup.output[0]
    yield helper.make_node("Gather", [stored, index], [f"{result}.stored"], axis=0)
    if stored.endswith(".half"):
        yield helper.make_node("Cast", [f"{result}.stored"], [result], to=TensorProto.FLOAT)
        return
    yield helper.make_node("Cast", [f"{result}.stored"], [f"{result}.integers"], to=TensorProto.FLOAT)
    yield helper.make_node("Gather", [f"{name}.scales", index], [f"{result}.scales"], axis=0)
    yield helper.make_node("Mul", [f"{result}.integers", f"{result}.scales"], [result])


def _replace(tensor: onnx.TensorProto, values: np.ndarray[tuple[int, ...], np.dtype[np.generic]], name: str) -> None:
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), name))
