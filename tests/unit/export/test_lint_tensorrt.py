from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edge_msa_export.lint import NOTE, LintTarget, lint
from tests.unit.export.graphs import SCALE, ZERO, Arrays, model, pair, scales

V = {name: LintTarget("tensorrt", version) for name, version in
     {"8.5": (8, 5, 2, 2), "8.6": (8, 6, 2, 3), "10.0": (10, 0), "10.1": (10, 1), "10.3": (10, 3), "10.13": (10, 13),
      "10.16": (10, 16, 2), "11": (11, 4, 1)}.items()}  # fmt: skip
ALL = set(V)


def found(graph: onnx.ModelProto) -> dict[str, set[str]]:
    """By rule the versions that have a finding, of a graph of somebody else's."""
    hits: dict[str, set[str]] = {}
    for name, lint_target in V.items():
        for finding in lint(graph, lint_target, ours=False):
            if finding.rule != "strong-types":
                hits.setdefault(finding.rule, set()).add(name)
    return hits


@pytest.mark.parametrize(
    ("node", "opset", "lacking"),
    [
        (helper.make_node("LayerNormalization", ["x", "w"], ["y"]), 17, {"8.5"}),
        (helper.make_node("IsInf", ["x"], ["y"]), 17, {"8.5"}),
        (helper.make_node("Gelu", ["x"], ["y"]), 20, {"8.5", "8.6", "10.0"}),
        (helper.make_node("HannWindow", ["x"], ["y"]), 17, {"8.5", "8.6", "10.0", "10.1", "10.3"}),
        (helper.make_node("Mish", ["x"], ["y"]), 18, ALL - {"10.16", "11"}),
        (helper.make_node("Det", ["x"], ["y"]), 17, ALL),
        (helper.make_node("Softmax", ["x"], ["y"]), 17, set()),
    ],
    ids=lambda value: getattr(value, "op_type", None),
)
def test_an_operator_is_read_from_its_version_on(node: onnx.NodeProto, opset: int, lacking: set[str]) -> None:
    hits = found(model([node], {"w": np.ones(8, np.float32)}, opset=opset))
    assert hits.get("operator", set()) == lacking
    assert hits.get("opset", set()) == ({"8.5", "8.6"} if opset > 17 else set())


def test_a_missing_operator_names_the_version_that_has_it() -> None:
    graph = model([helper.make_node("LayerNormalization", ["x", "w"], ["y"])], {"w": np.ones(8, np.float32)})
    finding = lint(graph, V["8.5"])[0]
    assert "TensorRT 8.6 is the first" in finding.message
    assert "8.5-GA" in finding.document


@pytest.mark.parametrize(
    ("opset", "refused"), [(8, ALL), (17, set()), (19, {"8.5", "8.6"}), (22, ALL - {"10.16", "11"})]
)
def test_an_opset_is_read_up_to_the_one_of_the_version(opset: int, refused: set[str]) -> None:
    assert found(model([helper.make_node("Relu", ["x"], ["y"])], opset=opset)).get("opset", set()) == refused


def test_axes_of_a_reduce_that_are_an_input_are_read_from_10_on() -> None:
    node = helper.make_node("ReduceMax", ["x", "axes"], ["y"])
    hits = found(model([node], {"axes": np.array([1])}, opset=18))
    assert hits["reduce-axes"] == {"8.5", "8.6"}
    # The same under a claimed 17 is what torch's exporter gives: no backend should have to guess.
    assert found(model([node], {"axes": np.array([1])}))["true-opset"] == ALL


def test_axes_that_are_computed_are_refused() -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["axes"], to=TensorProto.INT64),
        helper.make_node("ReduceMax", ["x", "axes"], ["y"]),
    ]
    assert found(model(nodes, opset=18))["reduce-axes"] == ALL


def test_an_attribute_or_operator_of_a_newer_opset_is_found() -> None:
    split = helper.make_node("Split", ["x"], ["y", "z"], axis=2, num_outputs=2)
    assert found(model([split]))["true-opset"] == ALL
    assert found(model([split], opset=18)).get("true-opset") is None
    assert found(model([helper.make_node("Mish", ["x"], ["y"])]))["true-opset"] == ALL


def test_operators_that_compute_in_int8_are_refused_once() -> None:
    for kind in ("DynamicQuantizeLinear", "MatMulInteger", "QLinearConv"):
        hits = found(model([helper.make_node(kind, ["x"], ["y"])]))
        assert hits["quantized-operator"] == ALL
        assert "operator" not in hits


def test_a_second_output_of_a_layer_normalization_is_refused() -> None:
    graph = model([helper.make_node("LayerNormalization", ["x", "w"], ["y", "mean"])], {"w": np.ones(8, np.float32)})
    assert found(graph)["layer-norm-outputs"] == ALL - {"8.5"}


def test_int64_is_bound_as_int32_before_9() -> None:
    graph = model([helper.make_node("Identity", ["x"], ["y"])], kind=TensorProto.INT64)
    assert found(graph) == {"int64-edge": {"8.5", "8.6"}}
    assert {finding.severity for finding in lint(graph, V["8.5"])} == {NOTE}


def test_int64_beyond_int32_is_refused_before_9_but_at_the_end_of_a_slice() -> None:
    big = {"k": np.array([2**40])}
    assert found(model([helper.make_node("Add", ["x", "k"], ["y"])], big, kind=TensorProto.INT64))["int64-range"] == {
        "8.5",
        "8.6",
    }
    ends = {"start": np.array([0]), "end": np.array([2**63 - 1]), "axes": np.array([1])}
    assert found(model([helper.make_node("Slice", ["x", "start", "end", "axes"], ["y"])], ends)) == {}


@pytest.mark.parametrize(
    ("kind", "rule", "refused"),
    [
        (TensorProto.DOUBLE, "edge-type", ALL),
        (TensorProto.INT16, "edge-type", ALL),
        (TensorProto.STRING, "edge-type", ALL),
        (TensorProto.BFLOAT16, "edge-type", {"8.5", "8.6"}),
        (TensorProto.BOOL, "edge-type", set()),
        (TensorProto.UINT8, "edge-type", set()),
    ],
)
def test_inputs_are_of_types_that_are_bound(kind: int, rule: str, refused: set[str]) -> None:
    assert found(model([helper.make_node("Identity", ["x"], ["y"])], kind=kind)).get(rule, set()) == refused


def test_uint8_and_double_inside_are_told() -> None:
    assert found(model([helper.make_node("Gather", ["x", "k"], ["y"])], {"k": np.array([1], np.uint8)}))["type"] == ALL
    assert found(model([helper.make_node("Cast", ["x"], ["y"], to=TensorProto.UINT16)]))["type"] == ALL
    double = lint(model([helper.make_node("Add", ["x", "k"], ["y"])], {"k": np.array(1.0)}), V["8.5"])
    assert [(finding.rule, finding.severity) for finding in double] == [("double", NOTE)]


def quantized(scale: np.ndarray, zero: np.ndarray) -> onnx.ModelProto:
    nodes = pair("x", axis=1)
    nodes[1].output[0] = "y"
    return model(nodes, {"x_s": np.asarray(scale), "x_z": np.asarray(zero)})


@pytest.mark.parametrize(
    ("scale", "zero", "rule"),
    [
        (SCALE, ZERO, None),
        (SCALE, np.int8(3), "zero-point"),
        (SCALE, np.uint8(0), "zero-point"),
        (np.float32(0), ZERO, "scale"),
        (np.float32("nan"), ZERO, "scale"),
        (np.full(3, 0.1, np.float32), np.zeros(3, np.int8), "activation-scale"),
    ],
)
def test_scales_and_zero_points_that_are_refused(scale: np.ndarray, zero: np.ndarray, rule: str | None) -> None:
    assert found(quantized(scale, zero)) == ({} if rule is None else {rule: ALL})
    assert lint(quantized(scale, zero), LintTarget("onnxruntime")) == []


def test_scales_and_zero_points_are_constant_and_there() -> None:
    nodes = [helper.make_node("Identity", ["scale"], ["x_s"]), *pair("x")]
    nodes[2].output[0] = "y"
    hits = found(model(nodes, {"scale": SCALE, "x_z": ZERO}))
    assert hits == {"scale": ALL}
    bare = pair("x")
    bare[1].output[0] = "y"
    for node in bare:
        del node.input[2:]
    assert found(model(bare, {"x_s": SCALE})) == {"zero-point": ALL}


def convolution(axis: int, count: int, *, transposed: bool = False) -> onnx.ModelProto:
    kind = "ConvTranspose" if transposed else "Conv"
    nodes = [*pair("x"), *pair("w", axis=axis), helper.make_node(kind, ["x_dq", "w_dq"], ["y"])]
    weights: Arrays = {
        "w": np.ones((32, 16, 1), np.float32),
        "w_s": np.full(count, 0.1, np.float32),
        "w_z": np.zeros(count, np.int8),
    }
    return model(
        nodes, {**scales("x"), **weights}, (1, 32 if transposed else 16, 8), made=(1, 16 if transposed else 32, 8)
    )


def test_a_weight_has_its_scales_on_the_axis_of_what_it_gives() -> None:
    assert found(convolution(0, 32)) == {}
    assert found(convolution(1, 16)) == {"weight-axis": ALL}
    assert found(convolution(1, 16, transposed=True)) == {}
    nodes = [*pair("x"), *pair("w", axis=1), helper.make_node("MatMul", ["x_dq", "w_dq"], ["y"])]
    weight: Arrays = {
        "w": np.ones((16, 32), np.float32),
        "w_s": np.full(32, 0.1, np.float32),
        "w_z": np.zeros(32, np.int8),
    }
    graph = model(nodes, {**scales("x"), **weight}, (1, 4, 16), made=(1, 4, 32))
    assert found(graph) == {}
    nodes[2].attribute[0].i, nodes[3].attribute[0].i = 0, 0
    assert found(model(nodes, {**scales("x"), **weight}, (1, 4, 16), made=(1, 4, 32))) == {"weight-axis": ALL}


def test_a_bias_stays_float() -> None:
    nodes = [*pair("x"), *pair("w"), *pair("b"), helper.make_node("Conv", ["x_dq", "w_dq", "b_dq"], ["y"])]
    constants = {**scales("x", "w", "b"), "w": np.ones((16, 16, 1), np.float32), "b": np.ones(16, np.float32)}
    assert found(model(nodes, constants, (1, 16, 8))) == {"quantized-bias": ALL}


def test_an_int8_constant_is_read_from_10_on() -> None:
    nodes = [*pair("x"), pair("w")[1], helper.make_node("MatMul", ["x_dq", "w_dq"], ["y"])]
    constants = {**scales("x", "w"), "w_q": np.ones((16, 16), np.int8)}
    assert found(model(nodes, constants, (1, 4, 16))) == {"int8-weight": {"8.5", "8.6"}}


def test_what_is_quantized_is_dequantized_before_it_is_read() -> None:
    quantize = pair("x")[0]
    assert found(model([quantize, helper.make_node("MaxPool", ["x_q"], ["y"], kernel_shape=[1])], scales("x"))) == {
        "qdq-pair": ALL
    }
    assert found(model([quantize, helper.make_node("Identity", ["x"], ["y"])], scales("x"))) == {}
    quantize.output[0] = "y"
    assert found(model([quantize], scales("x"))) == {"qdq-pair": ALL}


def test_types_come_from_the_graph_from_11_on() -> None:
    graph = model([helper.make_node("Relu", ["x"], ["y"])])
    assert [finding.rule for finding in lint(graph, V["10.16"])] == []
    assert [(finding.rule, finding.severity) for finding in lint(graph, V["11"])] == [("strong-types", NOTE)]
    half = model([helper.make_node("Add", ["x", "k"], ["y"])], {"k": np.ones(1, np.float16)}, kind=TensorProto.FLOAT16)
    assert lint(half, V["11"]) == []


def test_weights_beside_the_graph_are_told() -> None:
    graph = model([helper.make_node("Add", ["x", "k"], ["y"])], {"k": np.ones(8, np.float32)})
    tensor = graph.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="w.bin")
    assert [(finding.rule, finding.severity) for finding in lint(graph, V["8.5"])] == [("external-weights", NOTE)]
