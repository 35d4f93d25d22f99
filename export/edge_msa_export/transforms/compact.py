"""Small graph files: short names, nothing that is a default anyway, and weights stored once a folder.

Names of weights matter to calibration, so this comes last, as a graph is written. The same graph gives the same bytes.
"""

from __future__ import annotations

import string
from collections.abc import Iterator

import onnx
from onnx import TensorProto, defs, helper, numpy_helper

from edge_msa_export.transforms.opset17 import OPSET
from edge_msa_runtime.bundle.manifest import WEIGHTS_NAME

_LETTERS = string.ascii_letters + string.digits
# Naming a place in another file takes some 60 bytes a graph.
_LEAST_BYTES = 128
_ALIGNMENT = 64


def shrink(model: onnx.ModelProto, *, plain: bool = False) -> onnx.ModelProto:
    """The same graph under short names; those of its inputs and outputs stay.

    Args:
        model: any.
        plain: leave out only what the standard says is a default, and not what ONNX Runtime and OpenVINO were seen to
            find out by themselves; for TensorRT's parser, which cannot be tried everywhere.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    if not plain:
        _drop_what_weights_tell(graph)
    _merge_equal(graph)
    kept = {value.name for value in (*graph.input, *graph.output)} | {""}
    fresh = (name for name in _names() if name not in kept)
    short = {name: name for name in kept}
    for node in graph.node:
        node.ClearField("name")
        _drop_defaults(node)
        for name in (*node.input, *node.output):
            if name not in short:
                short[name] = next(fresh)
        node.input[:] = [short[name] for name in node.input]
        node.output[:] = [short[name] for name in node.output]
    for tensor in graph.initializer:
        tensor.name = short[tensor.name]
    return result


class WeightsFile:
    """The large constants of many graphs, each content once."""

    def __init__(self) -> None:
        self._content = bytearray()
        self._places: dict[bytes, int] = {}

    def move_out(self, graph: onnx.GraphProto) -> bool:
        """Put the large constants of a graph here; whether there were any."""
        large = [tensor for tensor in graph.initializer if numpy_helper.to_array(tensor).nbytes >= _LEAST_BYTES]
        for tensor in large:
            data = numpy_helper.to_array(tensor).tobytes()
            if data not in self._places:
                self._content.extend(bytes(-len(self._content) % _ALIGNMENT))
                self._places[data] = len(self._content)
                self._content.extend(data)
            _refer(tensor, self._places[data], len(data))
        return bool(large)

    @property
    def content(self) -> bytes:
        """The file's bytes."""
        return bytes(self._content)


def _refer(tensor: onnx.TensorProto, offset: int, length: int) -> None:
    name, dims, kind = tensor.name, list(tensor.dims), tensor.data_type
    tensor.Clear()
    tensor.name, tensor.data_type, tensor.data_location = name, kind, TensorProto.EXTERNAL
    tensor.dims.extend(dims)
    for key, value in (("location", WEIGHTS_NAME), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)


def _names() -> Iterator[str]:
    """`a`, `b`, ..., `aa`, `ab`, ...."""
    previous = [""]
    while True:
        previous = [head + letter for head in previous for letter in _LETTERS]
        yield from previous


def _merge_equal(graph: onnx.GraphProto) -> None:
    """Keep one of each constant; a graph's outputs are never constants."""
    first: dict[tuple[int, tuple[int, ...], bytes], str] = {}
    renamed: dict[str, str] = {}
    for tensor in graph.initializer:
        content = numpy_helper.to_array(tensor).tobytes()
        renamed[tensor.name] = first.setdefault((tensor.data_type, tuple(tensor.dims), content), tensor.name)
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
    kept = [tensor for tensor in graph.initializer if renamed[tensor.name] == tensor.name]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _drop_what_weights_tell(graph: onnx.GraphProto) -> None:
    """The kernel's shape, and the zero point of a convolution's constant, whose own type says what its zero is.

    A linear layer keeps its zero points: without them ONNX Runtime takes it for a float Gemm, and is four times slower.
    """
    constants = {tensor.name: tensor for tensor in graph.initializer}
    elsewhere = {name for node in graph.node if node.op_type != "Conv" for name in node.input}
    for node in graph.node:
        stored = node.op_type == "DequantizeLinear" and node.input[0] in constants and len(node.input) > 2
        if stored and node.output[0] not in elsewhere:
            zero = constants.get(node.input[2])
            if zero is not None and not numpy_helper.to_array(zero).any():
                del node.input[2:]
        kept_attributes = [item for item in node.attribute if (node.op_type, item.name) != ("Conv", "kernel_shape")]
        del node.attribute[:]
        node.attribute.extend(kept_attributes)
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _drop_defaults(node: onnx.NodeProto) -> None:
    schema = defs.get_schema(node.op_type, OPSET)
    kept = [item for item in node.attribute if not _is_default(node.op_type, schema, item)]
    del node.attribute[:]
    node.attribute.extend(kept)


def _is_default(op_type: str, schema: defs.OpSchema, item: onnx.AttributeProto) -> bool:
    if op_type == "Conv" and item.name in ("strides", "dilations", "pads"):
        return set(item.ints) == {0 if item.name == "pads" else 1}
    default = schema.attributes[item.name].default_value if item.name in schema.attributes else None
    if default is None or default.type != item.type:
        return False
    return bool(helper.get_attribute_value(default) == helper.get_attribute_value(item))
