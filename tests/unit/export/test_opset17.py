from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_msa_export.errors import ExportError
from edge_msa_export.lint import LintTarget, lint
from edge_msa_export.transforms.opset17 import check, to_opset17


def _model(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], opset: int = 18) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def _with_output(model: onnx.ModelProto, shape: list[int]) -> onnx.ModelProto:
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, shape))
    return model


def _run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


@pytest.mark.parametrize("kind", ["ReduceMax", "ReduceMean", "ReduceSum"])
def test_a_reduce_keeps_its_axes_at_opset_17(kind: str) -> None:
    node = helper.make_node(kind, ["x", "axes"], ["y"], keepdims=0)
    model = _with_output(_model([node], {"axes": np.array([1])}), [1, 6])
    x = np.random.default_rng(0).normal(size=(1, 4, 6)).astype(np.float32)
    portable = to_opset17(model)
    np.testing.assert_allclose(_run(portable, x), _run(model, x), rtol=1e-6)
    assert not [finding for finding in lint(portable, LintTarget("tensorrt", (8, 5))) if finding.rule == "reduce-axes"]
    by_attribute = [item for item in portable.graph.node[0].attribute if item.name == "axes"]
    assert bool(by_attribute) == (kind != "ReduceSum")


def test_a_split_loses_the_attribute_that_17_lacks() -> None:
    nodes = [
        helper.make_node("Split", ["x"], ["a", "b"], axis=1, num_outputs=2),
        helper.make_node("Add", ["a", "b"], ["y"]),
    ]
    portable = to_opset17(_with_output(_model(nodes, {}), [1, 2, 6]))
    assert _run(portable, np.ones((1, 4, 6), np.float32)).shape == (1, 2, 6)


def test_a_reduce_of_computed_axes_is_refused() -> None:
    nodes = [
        helper.make_node("Identity", ["c"], ["axes"]),
        helper.make_node("ReduceMax", ["x", "axes"], ["y"], keepdims=0),
    ]
    with pytest.raises(ExportError, match="computes its axes"):
        to_opset17(_with_output(_model(nodes, {"c": np.array([1])}), [1, 6]))


def test_an_operator_newer_than_17_is_refused() -> None:
    with pytest.raises(ExportError, match="opset 17"):
        to_opset17(_with_output(_model([helper.make_node("Mish", ["x"], ["y"])], {}), [1, 4, 6]))


def test_a_pad_with_axes_is_refused() -> None:
    node = helper.make_node("Pad", ["x", "pads", "", "axes"], ["y"])
    model = _model([node], {"pads": np.array([1, 0]), "axes": np.array([2])})
    with pytest.raises(ExportError, match="Pad"):
        to_opset17(_with_output(model, [1, 4, 7]))


def test_traces_of_where_it_was_made_are_gone() -> None:
    node = helper.make_node("Relu", ["x"], ["y"], doc_string="File /home/somebody/model.py, line 3")
    model = _with_output(_model([node], {}), [1, 4, 6])
    entry = model.graph.node[0].metadata_props.add()
    entry.key, entry.value = "stack_trace", "/home/somebody/model.py"
    portable = to_opset17(model)
    assert b"somebody" not in portable.SerializeToString()
    assert b"somebody" in model.SerializeToString()


def test_check_refuses_what_only_says_that_it_is_17() -> None:
    model = to_opset17(_with_output(_model([helper.make_node("Relu", ["x"], ["y"])], {}), [1, 4, 6]))
    model.opset_import[0].version = 18
    with pytest.raises(ExportError, match="opset"):
        check(model)
