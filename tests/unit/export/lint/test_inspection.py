from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from edge_msa_export.errors import ExportError, LintError
from edge_msa_export.lint import ERROR, LintTarget
from edge_msa_export.lint.inspection import InspectedGraph, inspect_bundle, inspect_file
from edge_msa_runtime.bundle.loader import Bundle, open_bundle
from tests.unit.export.onnx_models import make_int8_product, make_model

TENSORRT_8, TENSORRT_10 = LintTarget("tensorrt", (8, 5)), LintTarget("tensorrt", (10, 3))


@pytest.fixture(scope="module")
def jetson_bundle(jetson_candidate: Path) -> Bundle:
    return open_bundle(jetson_candidate)


def list_errors(inspected: InspectedGraph) -> str:
    return "; ".join(str(finding) for finding in inspected.findings if finding.severity == ERROR)


def make_value(name: str, shape: Sequence[int] = (1, 4), kind: int = TensorProto.FLOAT) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def write_model(path: Path, nodes: Sequence[NodeProto], **weights: np.ndarray) -> Path:
    """Write a graph from x (1, 4) to y without any check."""
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    inputs = [make_value("x"), make_value("which", (), TensorProto.BOOL)]
    graph = helper.make_graph(nodes, "g", inputs, [make_value("y")], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def write_model_with_external_constant(folder: Path, name: str, location: str) -> Path:
    """Write a graph with an int8 product, one of whose constants is in another file."""
    model = make_int8_product((1, 32, 64), (64, 64))
    tensor = next(item for item in model.graph.initializer if item.name == name)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.case("D1")
def test_constant_of_a_subgraph_in_another_folder_is_an_error(tmp_path: Path) -> None:
    path = write_model_with_external_constant(tmp_path, "w_s", "w.bin")
    (tmp_path / "w.bin").write_bytes(bytes(1 << 16))
    model = onnx.load(path, load_external_data=False)
    (tensor,) = (item for item in model.graph.initializer if item.data_location == TensorProto.EXTERNAL)
    tensor.external_data[0].value = "*/_ORT_MEM_ADDR_/*"
    node = helper.make_node("Constant", [], ["c"], value=tensor)
    body = helper.make_graph([node], "body", [], [make_value("c")])
    tensor.external_data[0].value = "w.bin"
    model.graph.node.append(helper.make_node("If", ["which"], ["z"], then_branch=body, else_branch=body))
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ExportError, match=r"stores w_s in '\*/_ORT_MEM_ADDR_/\*', which is not in the same folder"):
        inspect_file(path, TENSORRT_10)


def test_bundle_inspection_covers_every_tensorrt_graph(jetson_bundle: Bundle) -> None:
    graphs = inspect_bundle(jetson_bundle, TENSORRT_10)
    expected = [spec.file for spec in jetson_bundle.manifest.graphs if spec.backend == "tensorrt"]
    assert [graph.name for graph in graphs] == expected
    assert {finding.rule for graph in graphs for finding in graph.findings} == {"external-weights"}


def test_nodes_are_counted_by_operator_and_in_int8(jetson_bundle: Bundle) -> None:
    for graph in inspect_bundle(jetson_bundle, TENSORRT_10):
        model = onnx.load(jetson_bundle.path / graph.name, load_external_data=False)
        assert sum(graph.operators.values()) == len(model.graph.node)
        has_int8 = graph.precision == "int8" and "fuse" not in graph.name
        assert (graph.int8_nodes > 0) == has_int8
        assert graph.int8_nodes <= graph.operators.get("Conv", 0) + graph.operators.get("Add", 0)


def test_bundle_without_tensorrt_graphs_is_an_error(laptop_candidate: Path) -> None:
    with pytest.raises(LintError, match=r"laptop has no graphs for TensorRT. It is for laptop-x86 \(openvino"):
        inspect_bundle(open_bundle(laptop_candidate), TENSORRT_10)


def test_file_is_not_checked_for_project_rules(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(make_model([helper.make_node("Gelu", ["x"], ["y"])], opset=20).SerializeToString())
    assert inspect_file(path, TENSORRT_10).findings == ()
    assert {finding.rule for finding in inspect_file(path, TENSORRT_8).findings} == {"operator", "opset-version"}


def test_int8_product_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(make_int8_product((1, 1, 64), (64, 64)).SerializeToString())
    inspected = inspect_file(path, TENSORRT_10)
    assert inspected.int8_nodes == 1
    assert inspected.operators == {"QuantizeLinear": 2, "DequantizeLinear": 2, "MatMul": 1}
    assert inspected.to_json()["findings"][0]["rule"] == "int8-vector"


@pytest.mark.parametrize(("scale", "rules"), [(0.5, {"external-weights"}), (0.0, {"external-weights", "scale"})])
def test_external_scale_is_checked(scale: float, rules: set[str], tmp_path: Path) -> None:
    path = write_model_with_external_constant(tmp_path, "w_s", "w.bin")
    (tmp_path / "w.bin").write_bytes(np.float32(scale).tobytes())
    assert {finding.rule for finding in inspect_file(path, TENSORRT_10).findings} == rules


def test_truncated_external_scale_is_an_error(tmp_path: Path) -> None:
    path = write_model_with_external_constant(tmp_path, "w_s", "w.bin")
    (tmp_path / "w.bin").write_bytes(b"cut")
    with pytest.raises(ExportError, match=r"model\.onnx cannot be loaded"):
        inspect_file(path, TENSORRT_10)


@pytest.mark.parametrize("location", ["missing.bin", "../w.bin", "{folder}/w.bin"])
def test_weights_must_be_in_the_folder_of_the_graph(location: str, tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(4))
    folder = tmp_path / "deep"
    folder.mkdir()
    path = write_model_with_external_constant(folder, "w_s", location.format(folder=tmp_path))
    with pytest.raises(ExportError, match=r"stores w_s in .*, which is not in the same folder"):
        inspect_file(path, TENSORRT_10)


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.9])
def test_truncated_file_is_a_one_line_error(jetson_bundle: Bundle, tmp_path: Path, fraction: float) -> None:
    spec = next(spec for spec in jetson_bundle.manifest.graphs if spec.backend == "tensorrt")
    content = (jetson_bundle.path / spec.file).read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(content[: int(len(content) * fraction)])
    with pytest.raises(ExportError, match="is not a complete ONNX model") as caught:
        inspect_file(path, TENSORRT_10)
    assert "\n" not in str(caught.value)


def test_other_or_missing_file_is_a_one_line_error(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no graph at all\n" * 9)
    with pytest.raises(ExportError, match="is not a complete ONNX model"):
        inspect_file(tmp_path / "text.onnx", TENSORRT_10)
    with pytest.raises(ExportError, match=r"none\.onnx cannot be loaded"):
        inspect_file(tmp_path / "none.onnx", TENSORRT_10)


def make_body(node: NodeProto) -> onnx.GraphProto:
    return helper.make_graph([node], "body", [], [make_value("inner")])


@pytest.mark.parametrize("operator", ["Relu", "Bernoulli"])
def test_bodies_of_an_if_are_checked(operator: str, tmp_path: Path) -> None:
    then_branch = make_body(helper.make_node("Relu", ["x"], ["inner"]))
    else_branch = make_body(helper.make_node(operator, ["x"], ["inner"]))
    node = helper.make_node("If", ["which"], ["y"], then_branch=then_branch, else_branch=else_branch)
    inspected = inspect_file(write_model(tmp_path / "if.onnx", [node]), TENSORRT_10)
    assert ("Bernoulli" in list_errors(inspected)) == (operator == "Bernoulli")
    assert inspected.operators["Relu"] == (2 if operator == "Relu" else 1)


@pytest.mark.parametrize(
    ("nodes", "name"),
    [
        ([helper.make_node("Add", ["x", "nobody"], ["y"])], "nobody"),
        ([helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Tanh", ["x"], ["y"])], "y"),
        ([helper.make_node("Add", ["x", "z"], ["y"]), helper.make_node("Relu", ["y"], ["z"])], "z"),
        ([helper.make_node("Reshape", ["x", "far"], ["y"])], "Reshape"),
    ],
    ids=["undefined tensor", "tensor defined twice", "cycle", "wrong size"],
)
def test_errors_of_the_onnx_checker_are_reported(nodes: list[NodeProto], name: str, tmp_path: Path) -> None:
    errors = list_errors(inspect_file(write_model(tmp_path / "g.onnx", nodes, far=np.array([3, 3])), TENSORRT_10))
    assert errors.startswith("onnx-checker: model: ")
    assert name in errors
    assert "\n" not in errors


def test_truncated_external_weights_are_reported(tmp_path: Path) -> None:
    add = helper.make_node("Add", ["x", "w"], ["y"])
    path = write_model(tmp_path / "g.onnx", [add], w=np.ones((1, 4), np.float32))
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    assert list_errors(inspect_file(path, TENSORRT_10)) == ""
    (tmp_path / "w.bin").write_bytes(b"1234")
    assert "w needs 16 bytes in w.bin, got 4" in list_errors(inspect_file(path, TENSORRT_10))


def test_constant_with_too_few_bytes_is_reported(tmp_path: Path) -> None:
    add = helper.make_node("Add", ["x", "w"], ["y"])
    path = write_model(tmp_path / "g.onnx", [add], w=np.ones((1, 4), np.float32))
    model = onnx.load(path)
    model.graph.initializer[0].raw_data = b"1234"
    path.write_bytes(model.SerializeToString())
    assert "tensor name: w" in list_errors(inspect_file(path, TENSORRT_10))
