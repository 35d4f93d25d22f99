"""Turns the zeros before the frames of a window graph into the padding of the convolution that reads them.

In a step graph, a causal convolution reads the concatenation of its memory and the new frames. In a window graph the
memory is a constant of zeros, so the convolution can pad its input itself, and needs no Concat.
"""

from __future__ import annotations

import onnx
from onnx import helper, numpy_helper

_TIME_AXIS = 2


def fold_causal_padding(graph: onnx.GraphProto) -> None:
    """Replace every Concat of constant zeros and frames (B, C, T) along time by padding of the convolutions, in place.

    A Concat stays if anything else than convolutions without padding uses its result.
    """
    zeros = {tensor.name: tensor.dims[_TIME_AXIS] for tensor in graph.initializer if _is_zero_memory(tensor)}
    outputs = {value.name for value in graph.output}
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    kept = []
    for node in graph.node:
        convolutions = users.get(node.output[0], [])
        if (
            _is_causal_concat(node, zeros)
            and node.output[0] not in outputs
            and all(_can_pad(convolution, node.output[0]) for convolution in convolutions)
        ):
            for convolution in convolutions:
                convolution.input[0] = node.input[1]
                _set_padding(convolution, zeros[node.input[0]])
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)


def _is_zero_memory(tensor: onnx.TensorProto) -> bool:
    return len(tensor.dims) == _TIME_AXIS + 1 and not numpy_helper.to_array(tensor).any()


def _is_causal_concat(node: onnx.NodeProto, zeros: dict[str, int]) -> bool:
    if node.op_type != "Concat" or len(node.input) != 2 or node.input[0] not in zeros:
        return False
    return any(item.name == "axis" and item.i in (_TIME_AXIS, -1) for item in node.attribute)


def _can_pad(node: onnx.NodeProto, name: str) -> bool:
    """Return whether a node is a convolution over time of this tensor alone, without padding of its own."""
    attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    return (
        node.op_type == "Conv"
        and node.input[0] == name
        and name not in node.input[1:]
        and not any(attributes.get("pads", ()))
        and attributes.get("auto_pad", b"NOTSET") == b"NOTSET"
    )


def _set_padding(node: onnx.NodeProto, before: int) -> None:
    kept = [item for item in node.attribute if item.name not in ("pads", "auto_pad")]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute("pads", [before, 0])])
