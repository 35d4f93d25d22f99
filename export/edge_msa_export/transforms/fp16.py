"""Converts a graph to FP16 with FP32 inputs and outputs, for backends that take their types from the graph.

TensorRT 11 is strongly typed and has no FP16 flag, and earlier versions accept the same graph (TensorRT documentation,
"Migrating from TensorRT 10.x to 11.x"). Inputs, outputs and states stay float32, so that callers feed every precision
in the same way.

float16 has 11 significant bits: a sum of ones stops growing at 2048. Therefore only the layers compute in float16, and
what combines their results. These parts compute in float32:

- clipping and normalization, because raw features may be beyond the range of float16;
- everything between the scores of the pooling and the next layer: scores, maxima, exponentials, sums and tokens;
- every other operation that is not a layer and has a state or a count of frames as an input.
"""

from __future__ import annotations

import re

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

from edge_msa_export.errors import ExportError
from edge_msa_export.normalization import PREFIX
from edge_msa_export.transforms.layer_norm import EPSILON_SUFFIX
from edge_msa_export.transforms.opset17 import check_opset17, collect_constants

_FLOAT, _HALF = int(TensorProto.FLOAT), int(TensorProto.FLOAT16)
_SUFFIXES = {_FLOAT: ".fp32", _HALF: ".fp16"}
_FLOAT16 = np.finfo(np.float16)
# Operators with weights. A MatMul is one if a factor is constant, a Gather if the table is.
_LAYERS = ("Conv", "Gemm", "GRU", "LSTM", "MatMul", "Gather")
_SCORE_WEIGHT = re.compile(r"encoders\.\w+\.score\.weight")
# Inputs with values 0 and 1, which float16 represents exactly.
_MASKS = ("valid", "available")


def to_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the same graph with its layers in float16.

    Raises:
        ExportError: a constant is beyond the range of float16, or the graph is quantized.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    if any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in result.graph.node):
        raise ExportError("The graph must not be quantized to convert it to float16. Start from the float32 graph.")
    _Converter(result).convert()
    check_opset17(result)
    return result


class _Converter:
    """Rewrites one graph in place: chooses the type of each node and casts its inputs to that type."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._graph = model.graph
        self._constants = collect_constants(model.graph)
        self._inputs = {value.name for value in model.graph.input}
        self._lower_bounds = {n.input[1] for n in model.graph.node if n.op_type == "Clip" and len(n.input) > 1}
        inferred = shape_inference.infer_shapes(model).graph
        values = (*inferred.input, *inferred.value_info, *inferred.output)
        self._floats = {value.name for value in values if value.type.tensor_type.elem_type == _FLOAT}
        self._floats.update(name for name, tensor in self._constants.items() if tensor.data_type == _FLOAT)
        self._types = dict.fromkeys(self._inputs & self._floats, _FLOAT)
        self._casts: set[str] = set()
        self._nodes: list[onnx.NodeProto] = []

    def convert(self) -> None:
        outputs = [value.name for value in self._graph.output]
        for node in self._graph.node:
            if node.op_type != "Constant":
                self._convert_node(node)
        for name in outputs:
            if self._types.get(name) == _HALF:
                self._rename(name, name + _SUFFIXES[_HALF])
                self._nodes.append(_make_cast(name + _SUFFIXES[_HALF], name, _FLOAT))
        constants = [node for node in self._graph.node if node.op_type == "Constant"]
        used = {name for node in self._nodes for name in node.input} | set(outputs)
        del self._graph.node[:]
        self._graph.node.extend(node for node in (*constants, *self._nodes) if used.intersection(node.output))
        kept = [tensor for tensor in self._graph.initializer if tensor.name in used]
        del self._graph.initializer[:]
        self._graph.initializer.extend(kept)

    def _convert_node(self, node: onnx.NodeProto) -> None:
        kind = self._choose_type(node)
        node.input[:] = [self._as_type(name, kind) if name in self._floats else name for name in node.input]
        self._nodes.append(node)
        is_score = node.op_type == "Conv" and _SCORE_WEIGHT.match(node.input[1].removesuffix(_SUFFIXES[_HALF]))
        for name in node.output:
            if name in self._floats:
                self._types[name] = kind
        if is_score and kind == _HALF:
            self._promote(node.output[0])

    def _choose_type(self, node: onnx.NodeProto) -> int:
        if self._is_layer(node):
            return _HALF
        constants = [name for name in node.input if name in self._constants]
        if any(name.startswith(PREFIX) for name in constants):
            return _FLOAT
        if node.op_type == "ReduceSum" and node.input[0] in self._inputs:
            return _FLOAT  # a count of frames
        masks = {name for name in self._inputs.intersection(node.input) if name.startswith(_MASKS)}
        sources = [name for name in node.input if name in self._types and name not in masks]
        if not sources and not masks:
            return _FLOAT  # a cast of integers
        types = {self._types[name] for name in sources} or {_HALF}
        if node.op_type == "Concat" and _HALF in types:
            return _HALF  # the memory of a convolution consists of earlier results in float16
        return _FLOAT if _FLOAT in types else _HALF

    def _is_layer(self, node: onnx.NodeProto) -> bool:
        if node.op_type not in _LAYERS:
            return False
        candidates = node.input[:1] if node.op_type == "Gather" else node.input
        weights = [name for name in candidates if name in self._constants and name in self._floats]
        return bool(weights) and not any(name.startswith(PREFIX) for name in weights)

    def _as_type(self, name: str, kind: int) -> str:
        """Return the name of a float tensor or constant in this type, and add it if it does not exist yet."""
        if name in self._constants:
            return self._constant_as_type(name, kind)
        if self._types[name] == kind:
            return name
        cast = name + _SUFFIXES[kind]
        if cast not in self._casts:
            self._nodes.append(_make_cast(name, cast, kind))
            self._casts.add(cast)
        return cast

    def _constant_as_type(self, name: str, kind: int) -> str:
        if kind == _FLOAT:
            return name
        converted = name + _SUFFIXES[_HALF]
        if converted not in self._casts:
            keep_positive = name in self._lower_bounds or name.endswith(EPSILON_SUFFIX)
            values = _to_float16(name, numpy_helper.to_array(self._constants[name]), keep_positive=keep_positive)
            self._graph.initializer.append(numpy_helper.from_array(values, converted))
            self._casts.add(converted)
        return converted

    def _promote(self, name: str) -> None:
        """Cast the output of the last node to float32, under its own name."""
        half = name + _SUFFIXES[_HALF]
        self._nodes[-1].output[0] = half
        self._nodes.append(_make_cast(half, name, _FLOAT))
        self._types[name] = _FLOAT
        self._casts.add(half)  # a layer that takes it in float16 needs no second cast

    def _rename(self, name: str, new_name: str) -> None:
        for node in self._nodes:
            node.input[:] = [new_name if item == name else item for item in node.input]
            node.output[:] = [new_name if item == name else item for item in node.output]


def _to_float16(name: str, values: np.ndarray, *, keep_positive: bool) -> np.ndarray:
    if values.size and not np.abs(values).max() <= _FLOAT16.max:
        raise ExportError(
            f"{name} must be within the range of float16 (up to {_FLOAT16.max:g}), got "
            f"{np.abs(values).max():g}. Use fp32 or int8."
        )
    if keep_positive:
        # These values keep a divisor above zero, so they must not become subnormal: some devices flush those to zero.
        values = np.where((values > 0) & (values < _FLOAT16.tiny), _FLOAT16.tiny, values)
    return values.astype(np.float16)


def _make_cast(source: str, target: str, kind: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], name=f"cast.{target}", to=kind)
