from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edge_msa_export.lint import ERROR, WARNING, LintTarget, lint
from tests.unit.export.onnx_models import make_model, make_qdq_pair, make_scales

DLA = LintTarget("tensorrt", (8, 5), dla=True)


def make_fp16_model(nodes: list[onnx.NodeProto], shape: tuple[int, ...] = (1, 3, 8)) -> onnx.ModelProto:
    return make_model(nodes, {"k": np.ones(1, np.float16)}, shape, kind=TensorProto.FLOAT16)


def find_warnings(model: onnx.ModelProto) -> set[str]:
    findings = lint(model, DLA)
    assert {finding.severity for finding in findings} <= {WARNING}
    return {finding.rule for finding in findings}


def test_graph_that_runs_on_the_dla_has_no_findings() -> None:
    nodes = [helper.make_node("Mul", ["x", "k"], ["z"]), helper.make_node("Relu", ["z"], ["y"])]
    assert find_warnings(make_fp16_model(nodes)) == set()


@pytest.mark.parametrize("operator", ["Erf", "Exp", "ReduceMax", "LayerNormalization", "GRU"])
def test_operator_that_the_dla_lacks_has_a_warning(operator: str) -> None:
    graph = make_fp16_model([helper.make_node("Mul", ["x", "k"], ["z"]), helper.make_node(operator, ["z"], ["y"])])
    for dla in (True, False):
        target = LintTarget("tensorrt", (10, 3), dla=dla)
        rules = {finding.rule for finding in lint(graph, target, project_graph=False)}
        assert ("dla-operator" in rules) == dla


def test_float32_has_a_warning() -> None:
    assert find_warnings(make_model([helper.make_node("Relu", ["x"], ["y"])])) == {"dla-precision"}


def test_qdq_has_a_warning() -> None:
    nodes = make_qdq_pair("x")
    nodes[1].output[0] = "y"
    assert find_warnings(make_model(nodes, make_scales("x"))) == {"dla-qdq"}


def test_product_of_two_activations_has_a_warning() -> None:
    nodes = [helper.make_node("Mul", ["x", "k"], ["z"]), helper.make_node("MatMul", ["z", "x"], ["y"])]
    assert find_warnings(make_fp16_model(nodes, (1, 8, 8))) == {"dla-product"}


def test_large_dimension_has_a_warning() -> None:
    nodes = [helper.make_node("Mul", ["x", "k"], ["y"])]
    assert find_warnings(make_fp16_model(nodes, (1, 3, 9000))) == {"dla-size"}


@pytest.mark.parametrize(("stride", "kernel"), [(9, 1), (1, 33)])
def test_large_stride_or_kernel_has_a_warning(stride: int, kernel: int) -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], strides=[stride])
    graph = make_model(
        [node],
        {"w": np.ones((3, 3, kernel), np.float16)},
        (1, 3, 99),
        kind=TensorProto.FLOAT16,
        output_shape=(1, 3, 99 - kernel + 1),
    )
    assert "dla-size" in find_warnings(graph)


@pytest.mark.parametrize(
    ("version", "is_error"),
    [
        ((8, 5, 2, 2), False),
        ((10, 3), False),
        ((10, 7), False),
        ((10, 8), True),
        ((10, 16, 2), True),
        ((11, 4), True),
        ((11, 4, 1), False),
    ],
)
def test_dla_needs_at_most_10_7_or_at_least_11_4_1(version: tuple[int, ...], *, is_error: bool) -> None:
    graph = make_fp16_model([helper.make_node("Mul", ["x", "k"], ["y"])])
    findings = lint(graph, LintTarget("tensorrt", version, dla=True))
    assert ("dla-version" in {finding.rule for finding in findings if finding.severity == ERROR}) == is_error
    assert ("dla-board" in {finding.rule for finding in findings}) == (version == (11, 4, 1))
