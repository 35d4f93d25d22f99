"""Small graphs by hand, for tests of rules."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Arrays = dict[str, np.ndarray]

SCALE = np.array(0.1, np.float32)
ZERO = np.array(0, np.int8)


def model(
    nodes: list[onnx.NodeProto],
    constants: Arrays | None = None,
    shape: tuple[int | str, ...] = (1, 3, 8),
    *,
    kind: int = TensorProto.FLOAT,
    made: tuple[int, ...] | None = None,
    opset: int = 17,
) -> onnx.ModelProto:
    """A graph from `x` to `y`, of IR version 8."""
    graph = helper.make_graph(
        nodes,
        "edge_msa",
        [helper.make_tensor_value_info("x", kind, list(shape))],
        [helper.make_tensor_value_info("y", kind, list(made or shape))],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def pair(name: str, *, axis: int | None = None) -> list[onnx.NodeProto]:
    """`name` quantized and back, as `name_dq`; the constants are `<name>_s` and `<name>_z`."""
    more: dict[str, Any] = {} if axis is None else {"axis": axis}
    return [
        helper.make_node("QuantizeLinear", [name, f"{name}_s", f"{name}_z"], [f"{name}_q"], **more),
        helper.make_node("DequantizeLinear", [f"{name}_q", f"{name}_s", f"{name}_z"], [f"{name}_dq"], **more),
    ]


def scales(*names: str) -> Arrays:
    """One scale a tensor, for pairs of those names."""
    return {key: value for name in names for key, value in ((f"{name}_s", SCALE), (f"{name}_z", ZERO))}


def product(left: tuple[int, ...], right: tuple[int, ...]) -> onnx.ModelProto:
    """An int8 MatMul of an activation and a weight, both behind Q/DQ."""
    nodes = [*pair("x"), *pair("w"), helper.make_node("MatMul", ["x_dq", "w_dq"], ["y"])]
    constants = {**scales("x", "w"), "w": np.ones(right, np.float32)}
    return model(nodes, constants, left, made=(*left[:-1], right[-1]))
