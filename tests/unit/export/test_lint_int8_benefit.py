from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edge_msa_export.lint import REFUSED, SLOW, LintTarget, lint
from tests.unit.export.graphs import model, pair, product, scales

TENSORRT = LintTarget("tensorrt", (10, 3))


def slow(graph: onnx.ModelProto, lint_target: LintTarget = TENSORRT) -> set[str]:
    findings = lint(graph, lint_target)
    assert {finding.severity for finding in findings} <= {SLOW}
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
def test_int8_products_that_do_not_pay(left: tuple[int, ...], right: tuple[int, ...], rules: set[str]) -> None:
    assert slow(product(left, right)) == rules


@pytest.mark.parametrize(("transposed", "rules"), [(1, {"int8-vector"}), (0, set())])
def test_a_gemm_is_looked_at_as_it_is_transposed(transposed: int, rules: set[str]) -> None:
    gemm = helper.make_node("Gemm", ["x_dq", "w_dq"], ["y"], transB=transposed)
    weight = np.ones((1, 64) if transposed else (64, 32), np.float32)
    graph = model([*pair("x"), *pair("w"), gemm], {**scales("x", "w"), "w": weight}, (32, 64), made=(32, 1))
    assert slow(graph) == rules


@pytest.mark.parametrize(
    ("read", "given", "groups", "wide", "pays"),
    [
        (16, 16, 1, 3, True),
        (8, 32, 1, 3, True),
        (9, 33, 1, 3, False),
        (8, 8, 1, 3, False),
        (32, 32, 32, 3, True),
        (32, 32, 32, 1, False),
    ],
)
def test_int8_convolutions_of_few_channels(*, read: int, given: int, groups: int, wide: int, pays: bool) -> None:
    weight = np.ones((given, read // groups, wide), np.float32)
    pads = [wide // 2] * 2
    nodes = [*pair("x"), *pair("w"), helper.make_node("Conv", ["x_dq", "w_dq"], ["y"], group=groups, pads=pads)]
    graph = model(nodes, {**scales("x", "w"), "w": weight}, (1, read, 8), made=(1, given, 8))
    assert slow(graph) == (set() if pays else {"int8-small"})


@pytest.mark.parametrize("kind", ["Softmax", "Erf", "LayerNormalization"])
def test_q_dq_before_a_layer_that_is_float(kind: str) -> None:
    inputs = ["x_dq", "k"] if kind == "LayerNormalization" else ["x_dq"]
    graph = model([*pair("x"), helper.make_node(kind, inputs, ["y"])], {**scales("x"), "k": np.ones(8, np.float32)})
    assert slow(graph) == {"int8-float-layer"}


def test_a_gru_stays_float() -> None:
    constants = {**scales("x"), "w": np.ones((1, 24, 8), np.float32), "r": np.ones((1, 24, 8), np.float32)}
    graph = model(
        [*pair("x"), helper.make_node("GRU", ["x_dq", "w", "r"], ["y"], hidden_size=8)], constants, made=(1, 1, 3, 8)
    )
    assert slow(graph) == {"int8-recurrent"}


def test_a_product_of_two_activations_stays_float() -> None:
    nodes = [*pair("x"), helper.make_node("MatMul", ["x_dq", "x_dq"], ["y"])]
    assert slow(model(nodes, scales("x"), (1, 32, 32))) == {"int8-attention"}


def test_a_residual_is_quantized_on_both_sides_or_on_neither() -> None:
    relu = helper.make_node("Relu", ["x"], ["r"])
    one = model([relu, *pair("x"), helper.make_node("Add", ["x_dq", "r"], ["y"])], scales("x"))
    assert slow(one) == {"int8-residual"}
    both = model([relu, *pair("x"), *pair("r"), helper.make_node("Add", ["x_dq", "r_dq"], ["y"])], scales("x", "r"))
    assert slow(both) == set()
    bias = model(
        [*pair("x"), helper.make_node("Add", ["x_dq", "k"], ["y"])], {**scales("x"), "k": np.ones(8, np.float32)}
    )
    assert slow(bias) == set()


@pytest.mark.parametrize(
    ("given", "wide", "rules"), [("w", 32, {"int8-one-side"}), ("x", 32, {"int8-one-side"}), ("x", 8, set())]
)
def test_a_layer_reads_int8_on_both_sides_or_on_neither(given: str, wide: int, rules: set[str]) -> None:
    inputs = [f"{name}_dq" if name == given else name for name in ("x", "w")]
    constants = {**scales(given), "w": np.ones((32, wide), np.float32)}
    graph = model([*pair(given), helper.make_node("MatMul", inputs, ["y"])], constants, (1, 4, 32), made=(1, 4, wide))
    assert slow(graph) == rules


def dla(version: tuple[int, ...]) -> LintTarget:
    return LintTarget("tensorrt", version, dla=True)


def half(nodes: list[onnx.NodeProto], shape: tuple[int, ...] = (1, 3, 8)) -> onnx.ModelProto:
    return model(nodes, {"k": np.ones(1, np.float16)}, shape, kind=TensorProto.FLOAT16)


def test_what_runs_on_the_dla_has_no_findings() -> None:
    graph = half([helper.make_node("Mul", ["x", "k"], ["z"]), helper.make_node("Relu", ["z"], ["y"])])
    assert slow(graph, dla((8, 5))) == set()


@pytest.mark.parametrize("kind", ["Erf", "Exp", "ReduceMax", "LayerNormalization", "GRU"])
def test_operators_that_the_dla_lacks_fall_back(kind: str) -> None:
    graph = half([helper.make_node("Mul", ["x", "k"], ["z"]), helper.make_node(kind, ["z"], ["y"])])
    rules = {finding.rule for finding in lint(graph, dla((10, 3)), ours=False)}
    assert "dla-operator" in rules
    assert "dla-operator" not in {finding.rule for finding in lint(graph, TENSORRT, ours=False)}


def test_float32_and_q_dq_are_not_for_the_dla() -> None:
    assert slow(model([helper.make_node("Relu", ["x"], ["y"])]), dla((8, 5))) == {"dla-precision"}
    nodes = pair("x")
    nodes[1].output[0] = "y"
    assert slow(model(nodes, scales("x")), dla((8, 5))) == {"dla-qdq"}


def test_a_product_of_activations_and_large_sizes_fall_back() -> None:
    assert slow(
        half([helper.make_node("Mul", ["x", "k"], ["z"]), helper.make_node("MatMul", ["z", "x"], ["y"])], (1, 8, 8)),
        dla((8, 5)),
    ) == {"dla-product"}
    assert slow(half([helper.make_node("Mul", ["x", "k"], ["y"])], (1, 3, 9000)), dla((8, 5))) == {"dla-size"}
    for stride, kernel in ((9, 1), (1, 33)):
        node = helper.make_node("Conv", ["x", "w"], ["y"], strides=[stride])
        constants = {"w": np.ones((3, 3, kernel), np.float16)}
        graph = model([node], constants, (1, 3, 99), kind=TensorProto.FLOAT16, made=(1, 3, 99 - kernel + 1))
        assert "dla-size" in slow(graph, dla((8, 5)))


@pytest.mark.parametrize(
    ("version", "refused"),
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
def test_the_dla_is_driven_up_to_10_7_and_again_from_11_4_1_on(version: tuple[int, ...], refused: bool) -> None:
    findings = lint(half([helper.make_node("Mul", ["x", "k"], ["y"])]), dla(version))
    assert ("dla-version" in {finding.rule for finding in findings if finding.severity == REFUSED}) == refused
    assert ("dla-board" in {finding.rule for finding in findings}) == (version == (11, 4, 1))
