from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edge_msa_export.lint import NOTE, LintTarget, lint
from tests.unit.export.lint.versions import ALL, TARGETS, find_by_version
from tests.unit.export.onnx_models import make_model

BACKENDS = [LintTarget("onnxruntime"), LintTarget("openvino"), LintTarget("tensorrt", (10, 3))]
ONNXRUNTIME, _, TENSORRT = BACKENDS


def find_rules(model: onnx.ModelProto, target: LintTarget = TENSORRT, *, project_graph: bool = True) -> set[str]:
    return {finding.rule for finding in lint(model, target, project_graph=project_graph)}


@pytest.fixture
def relu() -> onnx.ModelProto:
    return make_model([helper.make_node("Relu", ["x"], ["y"])])


@pytest.mark.parametrize("target", BACKENDS, ids=str)
def test_project_graphs_must_have_opset_17(target: LintTarget, relu: onnx.ModelProto) -> None:
    relu.opset_import[0].version, relu.ir_version = 18, 10
    assert find_rules(relu, target) == {"exported-opset"}
    assert find_rules(relu, target, project_graph=False) == set()


@pytest.mark.parametrize("operator", ["ReduceMean", "ReduceSum"])
def test_project_graphs_must_have_explicit_axes(operator: str) -> None:
    graph = make_model([helper.make_node(operator, ["x"], ["y"])])
    assert find_rules(graph, ONNXRUNTIME) == {"explicit-axes"}
    assert find_rules(graph, ONNXRUNTIME, project_graph=False) == set()


@pytest.mark.parametrize("target", BACKENDS, ids=str)
@pytest.mark.parametrize("shape", [(1, "time", 8), (1, 0, 8)])
def test_dimension_that_is_not_fixed_is_an_error(shape: tuple[int | str, ...], target: LintTarget) -> None:
    graph = make_model([helper.make_node("Relu", ["x"], ["y"])], shape=shape)
    assert find_rules(graph, target) == {"static-shape"}


def test_local_path_is_found_in_every_kind_of_string(relu: onnx.ModelProto) -> None:
    path = "/home/somebody/x.py"
    assert find_rules(make_model([helper.make_node("Relu", ["x"], ["y"], name=path)])) == {"local-path"}
    documented = make_model([helper.make_node("Relu", ["x"], ["y"], doc_string=f"File {path}, line 3")])
    assert find_rules(documented) == {"local-path"}
    entry = relu.graph.node[0].metadata_props.add()
    entry.key, entry.value = "trace", path
    assert find_rules(relu) == {"local-path"}
    assert find_rules(relu, project_graph=False) == set()


def test_local_functions_are_an_error(relu: onnx.ModelProto) -> None:
    relu.functions.append(helper.make_function("here", "f", ["x"], ["y"], [], []))
    assert find_rules(relu) == {"local-function"}


@pytest.mark.parametrize(
    ("opset", "versions"), [(8, ALL), (17, set()), (19, {"8.5", "8.6"}), (22, ALL - {"10.16", "11"})]
)
def test_each_version_supports_opsets_up_to_its_own(opset: int, versions: set[str]) -> None:
    graph = make_model([helper.make_node("Relu", ["x"], ["y"])], opset=opset)
    assert find_by_version(graph).get("opset-version", set()) == versions


def test_axes_as_an_input_are_an_error_before_10() -> None:
    node = helper.make_node("ReduceMax", ["x", "axes"], ["y"])
    assert find_by_version(make_model([node], {"axes": np.array([1])}, opset=18))["reduce-axes"] == {"8.5", "8.6"}


def test_axes_as_an_input_do_not_exist_at_opset_17() -> None:
    # torch's exporter writes such graphs.
    node = helper.make_node("ReduceMax", ["x", "axes"], ["y"])
    assert find_by_version(make_model([node], {"axes": np.array([1])}))["opset-schema"] == ALL


def test_computed_axes_are_an_error() -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["axes"], to=TensorProto.INT64),
        helper.make_node("ReduceMax", ["x", "axes"], ["y"]),
    ]
    assert find_by_version(make_model(nodes, opset=18))["reduce-axes"] == ALL


def test_attribute_or_operator_of_a_newer_opset_is_an_error() -> None:
    split = helper.make_node("Split", ["x"], ["y", "z"], axis=2, num_outputs=2)
    assert find_by_version(make_model([split]))["opset-schema"] == ALL
    assert "opset-schema" not in find_by_version(make_model([split], opset=18))
    assert find_by_version(make_model([helper.make_node("Mish", ["x"], ["y"])]))["opset-schema"] == ALL


def test_float32_graph_has_a_note_from_11_on(relu: onnx.ModelProto) -> None:
    assert lint(relu, TARGETS["10.16"]) == []
    assert [(finding.rule, finding.severity) for finding in lint(relu, TARGETS["11"])] == [("strong-typing", NOTE)]
    add = helper.make_node("Add", ["x", "k"], ["y"])
    fp16 = make_model([add], {"k": np.ones(1, np.float16)}, kind=TensorProto.FLOAT16)
    assert lint(fp16, TARGETS["11"]) == []


def test_external_weights_have_a_note() -> None:
    graph = make_model([helper.make_node("Add", ["x", "k"], ["y"])], {"k": np.ones(8, np.float32)})
    tensor = graph.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="w.bin")
    findings = lint(graph, TARGETS["8.5"])
    assert [(finding.rule, finding.severity) for finding in findings] == [("external-weights", NOTE)]
