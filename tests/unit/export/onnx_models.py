"""Builds small ONNX models by hand and runs models with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

Arrays = dict[str, np.ndarray]

SCALE = np.array(0.1, np.float32)
ZERO = np.array(0, np.int8)


def make_model(
    nodes: list[onnx.NodeProto],
    constants: Mapping[str, np.ndarray] | None = None,
    shape: tuple[int | str, ...] = (1, 3, 8),
    *,
    kind: int = TensorProto.FLOAT,
    output_shape: tuple[int, ...] | None = None,
    output_kind: int | None = None,
    opset: int = 17,
    ir_version: int = 8,
) -> onnx.ModelProto:
    """Return a model from `x` to `y`. The output has the shape and type of the input by default."""
    output = helper.make_tensor_value_info("y", output_kind or kind, list(output_shape or shape))
    graph = helper.make_graph(
        nodes,
        "edge_msa",
        [helper.make_tensor_value_info("x", kind, list(shape))],
        [output],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)


def make_qdq_pair(name: str, *, axis: int | None = None) -> list[onnx.NodeProto]:
    """Return Q and DQ nodes from `name` to `<name>_dq`, with the constants `<name>_s` and `<name>_z`."""
    attributes: dict[str, Any] = {} if axis is None else {"axis": axis}
    return [
        helper.make_node("QuantizeLinear", [name, f"{name}_s", f"{name}_z"], [f"{name}_q"], **attributes),
        helper.make_node("DequantizeLinear", [f"{name}_q", f"{name}_s", f"{name}_z"], [f"{name}_dq"], **attributes),
    ]


def make_scales(*names: str) -> Arrays:
    """Return the constants for Q/DQ pairs of these names, with one scale per tensor."""
    return {key: value for name in names for key, value in ((f"{name}_s", SCALE), (f"{name}_z", ZERO))}


def make_int8_product(left: tuple[int, ...], right: tuple[int, ...]) -> onnx.ModelProto:
    """Return an int8 MatMul of an activation and a weight, both behind Q/DQ."""
    nodes = [*make_qdq_pair("x"), *make_qdq_pair("w"), helper.make_node("MatMul", ["x_dq", "w_dq"], ["y"])]
    constants = {**make_scales("x", "w"), "w": np.ones(right, np.float32)}
    return make_model(nodes, constants, left, output_shape=(*left[:-1], right[-1]))


def make_inputs(model: onnx.ModelProto, seed: int = 0) -> Arrays:
    """Return random inputs for the graph of a student. All frames are valid and all modalities available."""
    rng = np.random.default_rng(seed)
    inputs: Arrays = {}
    for value in model.graph.input:
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        is_mask = value.name.startswith(("valid", "available"))
        inputs[value.name] = np.ones(shape, np.float32) if is_mask else rng.normal(size=shape).astype(np.float32)
    return inputs


def run_onnx(model: onnx.ModelProto, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Return the outputs of ONNX Runtime on the CPU."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [np.asarray(output) for output in session.run(None, dict(inputs))]


def assert_close(actual: np.ndarray, expected: np.ndarray, rtol: float) -> None:
    """Assert that arrays differ by at most `rtol` times the largest absolute expected value."""
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=0, atol=rtol * float(np.abs(expected).max()))
