"""Makes graph files small: short names, no default attributes, and weights that the graphs of a folder share.

Calibration needs the names of the weights, so this is the last step before a graph is written. The result is
deterministic.
"""

from __future__ import annotations

import string
from collections.abc import Iterator

import onnx
from onnx import TensorProto, defs, helper, numpy_helper

from edge_msa_export.transforms.opset17 import OPSET
from edge_msa_runtime.bundle.manifest import WEIGHTS_NAME

_LETTERS = string.ascii_letters + string.digits
# A reference to external data takes about 60 bytes per graph, so smaller constants stay inside.
_MIN_EXTERNAL_BYTES = 128
_ALIGNMENT = 64


def compact_graph(model: onnx.ModelProto, *, keep_inferable: bool = False) -> onnx.ModelProto:
    """Return the same graph with short names and without redundant attributes and constants.

    The names of inputs and outputs stay.

    Args:
        model: a graph at opset 17.
        keep_inferable: keep the kernel shapes and zero points that ONNX Runtime and OpenVINO can infer. Set this for
            TensorRT, whose parser may need them. Defaults of the ONNX standard are dropped in either case.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    if not keep_inferable:
        _drop_inferable(graph)
    _merge_equal_constants(graph)
    _rename_tensors(graph)
    for node in graph.node:
        node.ClearField("name")
        _drop_default_attributes(node)
    return result


class WeightsFile:
    """Collects the large constants of several graphs into one file; equal constants are stored once."""

    def __init__(self) -> None:
        self._content = bytearray()
        self._offsets: dict[bytes, int] = {}

    def move_out(self, graph: onnx.GraphProto) -> bool:
        """Move the large constants of a graph into this file. Return whether the graph had any."""
        large = [tensor for tensor in graph.initializer if numpy_helper.to_array(tensor).nbytes >= _MIN_EXTERNAL_BYTES]
        for tensor in large:
            data = numpy_helper.to_array(tensor).tobytes()
            if data not in self._offsets:
                self._content.extend(bytes(-len(self._content) % _ALIGNMENT))
                self._offsets[data] = len(self._content)
                self._content.extend(data)
            _refer_to_file(tensor, self._offsets[data], len(data))
        return bool(large)

    @property
    def content(self) -> bytes:
        """The bytes of the file."""
        return bytes(self._content)


def _refer_to_file(tensor: onnx.TensorProto, offset: int, length: int) -> None:
    name, dims, kind = tensor.name, list(tensor.dims), tensor.data_type
    tensor.Clear()
    tensor.name, tensor.data_type, tensor.data_location = name, kind, TensorProto.EXTERNAL
    tensor.dims.extend(dims)
    for key, value in (("location", WEIGHTS_NAME), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)


def _rename_tensors(graph: onnx.GraphProto) -> None:
    """Give every tensor except inputs and outputs a short name, in the order of the nodes."""
    fixed = {value.name for value in (*graph.input, *graph.output)} | {""}
    unused = (name for name in _generate_names() if name not in fixed)
    short = {name: name for name in fixed}
    for node in graph.node:
        for name in (*node.input, *node.output):
            if name not in short:
                short[name] = next(unused)
        node.input[:] = [short[name] for name in node.input]
        node.output[:] = [short[name] for name in node.output]
    for tensor in graph.initializer:
        tensor.name = short[tensor.name]


def _generate_names() -> Iterator[str]:
    """Yield `a`, `b`, ..., `aa`, `ab`, ...."""
    previous = [""]
    while True:
        previous = [head + letter for head in previous for letter in _LETTERS]
        yield from previous


def _merge_equal_constants(graph: onnx.GraphProto) -> None:
    """Keep one of several equal constants. No constant is an output of the graph."""
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


def _drop_inferable(graph: onnx.GraphProto) -> None:
    """Drop the kernel shapes of convolutions and the zero points of their weights, which follow from the weights.

    Linear layers keep their zero points: without them ONNX Runtime runs a float Gemm, which is four times slower.
    """
    constants = {tensor.name: tensor for tensor in graph.initializer}
    used_elsewhere = {name for node in graph.node if node.op_type != "Conv" for name in node.input}
    for node in graph.node:
        is_weight = node.op_type == "DequantizeLinear" and node.input[0] in constants and len(node.input) > 2
        if is_weight and node.output[0] not in used_elsewhere:
            zero = constants.get(node.input[2])
            if zero is not None and not numpy_helper.to_array(zero).any():
                del node.input[2:]
        attributes = [item for item in node.attribute if (node.op_type, item.name) != ("Conv", "kernel_shape")]
        del node.attribute[:]
        node.attribute.extend(attributes)
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _drop_default_attributes(node: onnx.NodeProto) -> None:
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
