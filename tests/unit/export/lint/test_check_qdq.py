from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from edge_msa_export.lint import LintTarget, lint
from tests.unit.export.lint.versions import ALL, find_by_version
from tests.unit.export.onnx_models import SCALE, ZERO, Arrays, make_model, make_qdq_pair, make_scales


def make_quantized_model(scale: np.ndarray, zero_point: np.ndarray) -> onnx.ModelProto:
    nodes = make_qdq_pair("x", axis=1)
    nodes[1].output[0] = "y"
    return make_model(nodes, {"x_s": np.asarray(scale), "x_z": np.asarray(zero_point)})


@pytest.mark.parametrize(
    ("scale", "zero_point", "rule"),
    [
        (SCALE, ZERO, None),
        (SCALE, np.int8(3), "zero-point"),
        (SCALE, np.uint8(0), "zero-point"),
        (np.float32(0), ZERO, "scale"),
        (np.float32("nan"), ZERO, "scale"),
        (np.full(3, 0.1, np.float32), np.zeros(3, np.int8), "activation-scale"),
    ],
)
def test_scale_and_zero_point_must_be_valid(scale: np.ndarray, zero_point: np.ndarray, rule: str | None) -> None:
    graph = make_quantized_model(scale, zero_point)
    assert find_by_version(graph) == ({} if rule is None else {rule: ALL})
    assert lint(graph, LintTarget("onnxruntime")) == []


def test_computed_scale_is_an_error() -> None:
    nodes = [helper.make_node("Identity", ["scale"], ["x_s"]), *make_qdq_pair("x")]
    nodes[2].output[0] = "y"
    assert find_by_version(make_model(nodes, {"scale": SCALE, "x_z": ZERO})) == {"scale": ALL}


def test_missing_zero_point_is_an_error() -> None:
    nodes = make_qdq_pair("x")
    nodes[1].output[0] = "y"
    for node in nodes:
        del node.input[2:]
    assert find_by_version(make_model(nodes, {"x_s": SCALE})) == {"zero-point": ALL}


def make_convolution(axis: int, count: int, *, transposed: bool = False) -> onnx.ModelProto:
    operator = "ConvTranspose" if transposed else "Conv"
    nodes = [*make_qdq_pair("x"), *make_qdq_pair("w", axis=axis), helper.make_node(operator, ["x_dq", "w_dq"], ["y"])]
    weights: Arrays = {
        "w": np.ones((32, 16, 1), np.float32),
        "w_s": np.full(count, 0.1, np.float32),
        "w_z": np.zeros(count, np.int8),
    }
    inputs, outputs = (32, 16) if transposed else (16, 32)
    return make_model(nodes, {**make_scales("x"), **weights}, (1, inputs, 8), output_shape=(1, outputs, 8))


def test_convolution_scales_must_be_per_output_channel() -> None:
    assert find_by_version(make_convolution(0, 32)) == {}
    assert find_by_version(make_convolution(1, 16)) == {"weight-axis": ALL}
    assert find_by_version(make_convolution(1, 16, transposed=True)) == {}


@pytest.mark.parametrize(("axis", "rules"), [(1, {}), (0, {"weight-axis": ALL})])
def test_matmul_scales_must_be_on_the_last_axis(axis: int, rules: dict[str, set[str]]) -> None:
    nodes = [*make_qdq_pair("x"), *make_qdq_pair("w", axis=axis), helper.make_node("MatMul", ["x_dq", "w_dq"], ["y"])]
    weights: Arrays = {
        "w": np.ones((16, 32), np.float32),
        "w_s": np.full(32, 0.1, np.float32),
        "w_z": np.zeros(32, np.int8),
    }
    graph = make_model(nodes, {**make_scales("x"), **weights}, (1, 4, 16), output_shape=(1, 4, 32))
    assert find_by_version(graph) == rules


def test_quantized_bias_is_an_error() -> None:
    pairs = [node for name in ("x", "w", "b") for node in make_qdq_pair(name)]
    nodes = [*pairs, helper.make_node("Conv", ["x_dq", "w_dq", "b_dq"], ["y"])]
    constants = {**make_scales("x", "w", "b"), "w": np.ones((16, 16, 1), np.float32), "b": np.ones(16, np.float32)}
    assert find_by_version(make_model(nodes, constants, (1, 16, 8))) == {"quantized-bias": ALL}


def test_int8_constant_is_an_error_before_10() -> None:
    nodes = [*make_qdq_pair("x"), make_qdq_pair("w")[1], helper.make_node("MatMul", ["x_dq", "w_dq"], ["y"])]
    constants = {**make_scales("x", "w"), "w_q": np.ones((16, 16), np.int8)}
    assert find_by_version(make_model(nodes, constants, (1, 4, 16))) == {"int8-constant": {"8.5", "8.6"}}


def test_quantized_tensor_must_be_dequantized_before_use() -> None:
    quantize = make_qdq_pair("x")[0]
    pool = helper.make_node("MaxPool", ["x_q"], ["y"], kernel_shape=[1])
    assert find_by_version(make_model([quantize, pool], make_scales("x"))) == {"qdq-pair": ALL}
    unused = [quantize, helper.make_node("Identity", ["x"], ["y"])]
    assert find_by_version(make_model(unused, make_scales("x"))) == {}


def test_quantized_output_of_the_graph_is_an_error() -> None:
    quantize = make_qdq_pair("x")[0]
    quantize.output[0] = "y"
    assert find_by_version(make_model([quantize], make_scales("x"))) == {"qdq-pair": ALL}
