from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edge_msa_export.lint import NOTE, LintTarget, lint
from tests.unit.export.lint.versions import ALL, TARGETS, find_by_version
from tests.unit.export.onnx_models import make_model

BACKENDS = [LintTarget("onnxruntime"), LintTarget("openvino"), LintTarget("tensorrt", (10, 3))]


@pytest.mark.parametrize("target", BACKENDS, ids=str)
def test_operator_of_another_domain_is_an_error(target: LintTarget) -> None:
    fused = make_model([helper.make_node("FusedConv", ["x"], ["y"], domain="com.microsoft")])
    findings = lint(fused, target)
    assert [finding.rule for finding in findings] == ["operator"]
    assert "com.microsoft:FusedConv" in findings[0].message


def test_operator_may_be_unsupported_by_one_backend_only() -> None:
    trilu = make_model([helper.make_node("Trilu", ["x"], ["y"])])
    onnxruntime, _, tensorrt = (lint(trilu, target) for target in BACKENDS)
    assert [finding.rule for finding in onnxruntime] == ["operator"]
    assert tensorrt == []


@pytest.mark.parametrize(
    ("node", "opset", "versions"),
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
def test_operator_is_an_error_before_the_version_that_adds_it(
    node: onnx.NodeProto, opset: int, versions: set[str]
) -> None:
    rules = find_by_version(make_model([node], {"w": np.ones(8, np.float32)}, opset=opset))
    assert rules.get("operator", set()) == versions
    assert rules.get("opset-version", set()) == ({"8.5", "8.6"} if opset > 17 else set())


def test_message_names_the_version_that_adds_the_operator() -> None:
    graph = make_model([helper.make_node("LayerNormalization", ["x", "w"], ["y"])], {"w": np.ones(8, np.float32)})
    finding = lint(graph, TARGETS["8.5"])[0]
    assert finding.message == "TensorRT 8.5.2.2 does not support operator LayerNormalization; it was added in 8.6."
    assert "8.5-GA" in finding.document


@pytest.mark.parametrize("operator", ["DynamicQuantizeLinear", "MatMulInteger", "QLinearConv"])
def test_integer_operator_is_reported_by_one_rule(operator: str) -> None:
    rules = find_by_version(make_model([helper.make_node(operator, ["x"], ["y"])]))
    assert rules["integer-operator"] == ALL
    assert "operator" not in rules


def test_second_output_of_a_layer_norm_is_an_error() -> None:
    node = helper.make_node("LayerNormalization", ["x", "w"], ["y", "mean"])
    rules = find_by_version(make_model([node], {"w": np.ones(8, np.float32)}))
    assert rules["layer-norm-outputs"] == ALL - {"8.5"}


def test_int64_input_has_a_note_before_9() -> None:
    graph = make_model([helper.make_node("Identity", ["x"], ["y"])], kind=TensorProto.INT64)
    assert find_by_version(graph) == {"int64-io": {"8.5", "8.6"}}
    assert {finding.severity for finding in lint(graph, TARGETS["8.5"])} == {NOTE}


def test_int64_constant_beyond_int32_is_an_error_before_9() -> None:
    graph = make_model([helper.make_node("Add", ["x", "k"], ["y"])], {"k": np.array([2**40])}, kind=TensorProto.INT64)
    assert find_by_version(graph)["int64-range"] == {"8.5", "8.6"}


def test_int64_end_of_a_slice_may_be_beyond_int32() -> None:
    constants = {"start": np.array([0]), "end": np.array([2**63 - 1]), "axes": np.array([1])}
    graph = make_model([helper.make_node("Slice", ["x", "start", "end", "axes"], ["y"])], constants)
    assert find_by_version(graph) == {}


@pytest.mark.parametrize(
    ("kind", "versions"),
    [
        (TensorProto.DOUBLE, ALL),
        (TensorProto.INT16, ALL),
        (TensorProto.STRING, ALL),
        (TensorProto.BFLOAT16, {"8.5", "8.6"}),
        (TensorProto.BOOL, set()),
        (TensorProto.UINT8, set()),
    ],
)
def test_inputs_and_outputs_must_have_supported_types(kind: int, versions: set[str]) -> None:
    graph = make_model([helper.make_node("Identity", ["x"], ["y"])], kind=kind)
    assert find_by_version(graph).get("io-type", set()) == versions


def test_uint8_inside_the_graph_is_an_error() -> None:
    constant = make_model([helper.make_node("Gather", ["x", "k"], ["y"])], {"k": np.array([1], np.uint8)})
    assert find_by_version(constant)["tensor-type"] == ALL
    cast = make_model([helper.make_node("Cast", ["x"], ["y"], to=TensorProto.UINT16)])
    assert find_by_version(cast)["tensor-type"] == ALL


def test_float64_constant_has_a_note() -> None:
    findings = lint(make_model([helper.make_node("Add", ["x", "k"], ["y"])], {"k": np.array(1.0)}), TARGETS["8.5"])
    assert [(finding.rule, finding.severity) for finding in findings] == [("float64", NOTE)]
