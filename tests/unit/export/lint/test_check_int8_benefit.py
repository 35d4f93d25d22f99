from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from edge_msa_export.lint import WARNING, LintTarget, lint
from tests.unit.export.onnx_models import make_int8_product, make_model, make_qdq_pair, make_scales

TENSORRT = LintTarget("tensorrt", (10, 3))


def find_warnings(model: onnx.ModelProto) -> set[str]:
    findings = lint(model, TENSORRT)
    assert {finding.severity for finding in findings} <= {WARNING}
    return {finding.rule for finding in findings}


@pytest.mark.parametrize(
    ("left", "right", "rules"),
    [
        ((1, 32, 64), (64, 64), set()),
        ((1, 64), (64, 64), {"int8-vector"}),
        ((1, 1, 64), (64, 64), {"int8-vector"}),
        ((1, 32, 64), (64, 1), {"int8-vector"}),
        ((1, 32, 15), (15, 64), {"int8-small"}),
        ((1, 32, 64), (64, 15), {"int8-small"}),
        ((1, 32, 16), (16, 16), set()),
    ],
)
def test_small_int8_product_has_a_warning(left: tuple[int, ...], right: tuple[int, ...], rules: set[str]) -> None:
    assert find_warnings(make_int8_product(left, right)) == rules


@pytest.mark.parametrize(("transposed", "rules"), [(1, {"int8-vector"}), (0, set())])
def test_gemm_sizes_respect_transposition(transposed: int, rules: set[str]) -> None:
    gemm = helper.make_node("Gemm", ["x_dq", "w_dq"], ["y"], transB=transposed)
    weight = np.ones((1, 64) if transposed else (64, 32), np.float32)
    nodes = [*make_qdq_pair("x"), *make_qdq_pair("w"), gemm]
    graph = make_model(nodes, {**make_scales("x", "w"), "w": weight}, (32, 64), output_shape=(32, 1))
    assert find_warnings(graph) == rules


@pytest.mark.parametrize(
    ("inputs", "outputs", "groups", "kernel", "is_faster"),
    [
        (16, 16, 1, 3, True),
        (8, 32, 1, 3, True),
        (9, 33, 1, 3, False),
        (8, 8, 1, 3, False),
        (32, 32, 32, 3, True),
        (32, 32, 32, 1, False),
    ],
)
def test_int8_convolution_with_few_channels_has_a_warning(
    *, inputs: int, outputs: int, groups: int, kernel: int, is_faster: bool
) -> None:
    weight = np.ones((outputs, inputs // groups, kernel), np.float32)
    convolution = helper.make_node("Conv", ["x_dq", "w_dq"], ["y"], group=groups, pads=[kernel // 2] * 2)
    nodes = [*make_qdq_pair("x"), *make_qdq_pair("w"), convolution]
    constants = {**make_scales("x", "w"), "w": weight}
    graph = make_model(nodes, constants, (1, inputs, 8), output_shape=(1, outputs, 8))
    assert find_warnings(graph) == (set() if is_faster else {"int8-small"})


@pytest.mark.parametrize("operator", ["Softmax", "Erf", "LayerNormalization"])
def test_qdq_before_a_float_layer_has_a_warning(operator: str) -> None:
    inputs = ["x_dq", "k"] if operator == "LayerNormalization" else ["x_dq"]
    nodes = [*make_qdq_pair("x"), helper.make_node(operator, inputs, ["y"])]
    assert find_warnings(make_model(nodes, {**make_scales("x"), "k": np.ones(8, np.float32)})) == {"int8-float-layer"}


def test_quantized_gru_has_a_warning() -> None:
    constants = {**make_scales("x"), "w": np.ones((1, 24, 8), np.float32), "r": np.ones((1, 24, 8), np.float32)}
    nodes = [*make_qdq_pair("x"), helper.make_node("GRU", ["x_dq", "w", "r"], ["y"], hidden_size=8)]
    assert find_warnings(make_model(nodes, constants, output_shape=(1, 1, 3, 8))) == {"int8-recurrent"}


def test_int8_product_of_two_activations_has_a_warning() -> None:
    nodes = [*make_qdq_pair("x"), helper.make_node("MatMul", ["x_dq", "x_dq"], ["y"])]
    assert find_warnings(make_model(nodes, make_scales("x"), (1, 32, 32))) == {"int8-attention"}


def test_residual_add_with_one_quantized_input_has_a_warning() -> None:
    relu = helper.make_node("Relu", ["x"], ["r"])
    nodes = [relu, *make_qdq_pair("x"), helper.make_node("Add", ["x_dq", "r"], ["y"])]
    assert find_warnings(make_model(nodes, make_scales("x"))) == {"int8-residual"}


def test_residual_add_with_two_quantized_inputs_has_none() -> None:
    relu = helper.make_node("Relu", ["x"], ["r"])
    nodes = [relu, *make_qdq_pair("x"), *make_qdq_pair("r"), helper.make_node("Add", ["x_dq", "r_dq"], ["y"])]
    assert find_warnings(make_model(nodes, make_scales("x", "r"))) == set()


def test_add_of_a_bias_has_none() -> None:
    nodes = [*make_qdq_pair("x"), helper.make_node("Add", ["x_dq", "k"], ["y"])]
    assert find_warnings(make_model(nodes, {**make_scales("x"), "k": np.ones(8, np.float32)})) == set()


@pytest.mark.parametrize(
    ("quantized", "width", "rules"), [("w", 32, {"int8-one-sided"}), ("x", 32, {"int8-one-sided"}), ("x", 8, set())]
)
def test_large_layer_with_one_quantized_side_has_a_warning(quantized: str, width: int, rules: set[str]) -> None:
    inputs = [f"{name}_dq" if name == quantized else name for name in ("x", "w")]
    nodes = [*make_qdq_pair(quantized), helper.make_node("MatMul", inputs, ["y"])]
    constants = {**make_scales(quantized), "w": np.ones((32, width), np.float32)}
    assert find_warnings(make_model(nodes, constants, (1, 4, 32), output_shape=(1, 4, width))) == rules
