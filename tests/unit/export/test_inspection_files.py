"""Files of anybody's, as `edge-msa inspect` reads them: what the standard itself refuses is told too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from edge_msa_export.lint import REFUSED, LintTarget
from edge_msa_export.lint.inspection import Inspected, inspect_file

LINT_TARGET = LintTarget("tensorrt", (10, 3))


def value(name: str, shape: Sequence[int] = (1, 4), kind: int = TensorProto.FLOAT) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def written(path: Path, nodes: Sequence[NodeProto], **weights: np.ndarray) -> Path:
    """A graph from x (1, 4) to y, as it is, checked by nobody."""
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "g", [value("x"), value("which", (), TensorProto.BOOL)], [value("y")], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def refused(found: Inspected) -> str:
    return "; ".join(str(finding) for finding in found.findings if finding.severity == REFUSED)


def body(node: NodeProto) -> onnx.GraphProto:
    return helper.make_graph([node], "body", [], [value("inner")])


def test_the_bodies_of_an_if_are_looked_at(tmp_path: Path) -> None:
    plain = body(helper.make_node("Relu", ["x"], ["inner"]))
    random = body(helper.make_node("Bernoulli", ["x"], ["inner"]))
    for other, is_refused in ((plain, False), (random, True)):
        node = helper.make_node("If", ["which"], ["y"], then_branch=plain, else_branch=other)
        found = inspect_file(written(tmp_path / "if.onnx", [node]), LINT_TARGET)
        assert ("Bernoulli" in refused(found)) == is_refused
        assert found.nodes["Relu"] == (1 if is_refused else 2)


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([helper.make_node("Add", ["x", "nobody"], ["y"])], "nobody"),
        ([helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Tanh", ["x"], ["y"])], "y"),
        ([helper.make_node("Add", ["x", "z"], ["y"]), helper.make_node("Relu", ["y"], ["z"])], "z"),
        ([helper.make_node("Reshape", ["x", "far"], ["y"])], "Reshape"),
    ],
    ids=["made by nobody", "made twice", "a cycle", "another size"],
)
def test_what_the_standard_refuses_is_refused(nodes: list[NodeProto], said: str, tmp_path: Path) -> None:
    found = refused(inspect_file(written(tmp_path / "g.onnx", nodes, far=np.array([3, 3])), LINT_TARGET))
    assert found.startswith("standard: model: ")
    assert said in found
    assert "\n" not in found


def test_weights_that_are_shorter_than_the_graph_says_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "g.onnx", [helper.make_node("Add", ["x", "w"], ["y"])], w=np.ones((1, 4), "f4"))
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    assert refused(inspect_file(path, LINT_TARGET)) == ""
    (tmp_path / "w.bin").write_bytes(b"1234")
    assert "w has 4 bytes in w.bin, 16 are needed" in refused(inspect_file(path, LINT_TARGET))


def test_a_constant_with_less_than_it_says_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "g.onnx", [helper.make_node("Add", ["x", "w"], ["y"])], w=np.ones((1, 4), "f4"))
    model = onnx.load(path)
    model.graph.initializer[0].raw_data = b"1234"
    path.write_bytes(model.SerializeToString())
    assert "tensor name: w" in refused(inspect_file(path, LINT_TARGET))
