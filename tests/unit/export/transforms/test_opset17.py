from __future__ import annotations

from functools import partial

import numpy as np
import onnx
import pytest
from onnx import helper

from edge_msa_export.errors import ExportError
from edge_msa_export.lint import LintTarget, lint
from edge_msa_export.transforms.opset17 import check_opset17, to_opset17
from tests.tolerances import assert_close_to_scale
from tests.unit.export import onnx_models
from tests.unit.export.onnx_models import run_onnx

make_opset18_model = partial(onnx_models.make_model, shape=(1, 4, 6), opset=18, ir_version=10)


@pytest.mark.parametrize("operator", ["ReduceMax", "ReduceMean", "ReduceSum"])
def test_reduce_keeps_its_axes(operator: str) -> None:
    node = helper.make_node(operator, ["x", "axes"], ["y"], keepdims=0)
    model = make_opset18_model([node], {"axes": np.array([1])}, output_shape=(1, 6))
    x = np.random.default_rng(0).normal(size=(1, 4, 6)).astype(np.float32)
    lowered = to_opset17(model)
    assert_close_to_scale(run_onnx(lowered, {"x": x})[0], run_onnx(model, {"x": x})[0])
    assert "reduce-axes" not in {finding.rule for finding in lint(lowered, LintTarget("tensorrt", (8, 5)))}
    has_attribute = any(item.name == "axes" for item in lowered.graph.node[0].attribute)
    assert has_attribute == (operator != "ReduceSum")


def test_split_drops_the_attribute_that_opset_17_lacks() -> None:
    nodes = [
        helper.make_node("Split", ["x"], ["a", "b"], axis=1, num_outputs=2),
        helper.make_node("Add", ["a", "b"], ["y"]),
    ]
    lowered = to_opset17(make_opset18_model(nodes, output_shape=(1, 2, 6)))
    assert run_onnx(lowered, {"x": np.ones((1, 4, 6), np.float32)})[0].shape == (1, 2, 6)


def test_computed_axes_are_an_error() -> None:
    nodes = [
        helper.make_node("Identity", ["c"], ["axes"]),
        helper.make_node("ReduceMax", ["x", "axes"], ["y"], keepdims=0),
    ]
    with pytest.raises(ExportError, match="must have constant axes"):
        to_opset17(make_opset18_model(nodes, {"c": np.array([1])}, output_shape=(1, 6)))


def test_operator_newer_than_opset_17_is_an_error() -> None:
    with pytest.raises(ExportError, match="opset 17"):
        to_opset17(make_opset18_model([helper.make_node("Mish", ["x"], ["y"])]))


def test_pad_with_axes_is_an_error() -> None:
    node = helper.make_node("Pad", ["x", "pads", "", "axes"], ["y"])
    constants = {"pads": np.array([1, 0]), "axes": np.array([2])}
    with pytest.raises(ExportError, match="Pad"):
        to_opset17(make_opset18_model([node], constants, output_shape=(1, 4, 7)))


def test_traces_of_the_machine_are_removed() -> None:
    node = helper.make_node("Relu", ["x"], ["y"], doc_string="File /home/somebody/model.py, line 3")
    model = make_opset18_model([node])
    entry = model.graph.node[0].metadata_props.add()
    entry.key, entry.value = "stack_trace", "/home/somebody/model.py"
    assert b"somebody" in model.SerializeToString()
    assert b"somebody" not in to_opset17(model).SerializeToString()


def test_check_rejects_another_declared_opset() -> None:
    model = to_opset17(make_opset18_model([helper.make_node("Relu", ["x"], ["y"])]))
    check_opset17(model)
    model.opset_import[0].version = 18
    with pytest.raises(ExportError, match="must have opset 17 only"):
        check_opset17(model)


def test_local_functions_are_an_error() -> None:
    model: onnx.ModelProto = make_opset18_model([helper.make_node("Relu", ["x"], ["y"])])
    model.functions.append(helper.make_function("here", "f", ["x"], ["y"], [], []))
    with pytest.raises(ExportError, match="must not have local functions, got 'f'"):
        to_opset17(model)
