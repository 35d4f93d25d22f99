from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_msa_export.errors import ExportError
from edge_msa_export.transforms.fp16 import to_fp16
from edge_msa_runtime.bundle.manifest import GraphKey
from tests.unit.export.onnx_models import Arrays, assert_close, make_inputs, make_model, run_onnx

Graphs = dict[GraphKey, onnx.ModelProto]


def make_state_inputs(model: onnx.ModelProto) -> Arrays:
    inputs = make_inputs(model)
    if "state.mass" in inputs:
        inputs["state.mass"][:] = 2
    return inputs


def test_fp16_graphs_approximate_fp32_graphs(student_graphs: Graphs) -> None:
    for model in student_graphs.values():
        inputs = make_state_inputs(model)
        for expected, actual in zip(run_onnx(model, inputs), run_onnx(to_fp16(model), inputs), strict=True):
            assert_close(actual, expected, rtol=0.01)


def test_fp16_graphs_keep_float32_inputs_and_outputs(student_graphs: Graphs) -> None:
    for model in student_graphs.values():
        fp16 = to_fp16(model)
        for value in (*fp16.graph.input, *fp16.graph.output):
            assert value.type.tensor_type.elem_type == TensorProto.FLOAT
        kinds = {tensor.name: tensor.data_type for tensor in fp16.graph.initializer}
        layers = [node for node in fp16.graph.node if node.op_type in ("Conv", "Gemm")]
        assert {kinds[node.input[1]] for node in layers} == {TensorProto.FLOAT16}
        assert {kinds[name] for node in layers for name in node.input[2:] if name in kinds} == {TensorProto.FLOAT16}


def test_weight_beyond_the_range_of_float16_is_an_error(student_graphs: Graphs) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(student_graphs[GraphKey.step("audio")])
    tensor = next(item for item in model.graph.initializer if item.name == "encoders.audio.embed.weight")
    values = numpy_helper.to_array(tensor).copy()
    values[0] = 1e6
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    with pytest.raises(ExportError, match=r"encoders\.audio\.embed\.weight must be within .*, got 1e\+06"):
        to_fp16(model)


def test_lower_bound_of_a_divisor_stays_a_normal_number() -> None:
    product = helper.make_node("MatMul", ["x", "w"], ["p"])
    clip = helper.make_node("Clip", ["p", "bound"], ["y"])
    fp16 = to_fp16(make_model([product, clip], {"w": np.eye(8, dtype=np.float32), "bound": np.array(1e-6, np.float32)}))
    bound = next(numpy_helper.to_array(item) for item in fp16.graph.initializer if item.name == "bound.fp16")
    assert bound == np.finfo(np.float16).tiny


@pytest.mark.case("F9")
def test_running_sums_maxima_and_tokens_stay_float32(student_graphs: Graphs) -> None:
    fp16 = onnx.shape_inference.infer_shapes(to_fp16(student_graphs[GraphKey.step("audio")]))
    values = (*fp16.graph.value_info, *fp16.graph.output)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    for op_type in ("Exp", "Max", "Div", "Clip", "ReduceMax"):
        for node in fp16.graph.node:
            if node.op_type == op_type:
                assert {types[name] for name in node.output} == {TensorProto.FLOAT}, op_type
    producers = {name: node.op_type for node in fp16.graph.node for name in node.output}
    assert {name: producers[f"next.{name}"] for name in ("peak", "mass", "tokens", "conv0")} == {
        "peak": "Max",
        "mass": "Add",
        "tokens": "Div",
        "conv0": "Cast",
    }


def test_scores_that_a_layer_takes_are_cast_once() -> None:
    """The scores of the pooling become float32, and a layer takes them in float16."""
    weights: Arrays = {
        "encoders.audio.score.weight": np.ones((1, 3, 1), np.float32),
        "w": np.ones((8, 2), np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "encoders.audio.score.weight"], ["s"]),
        helper.make_node("MatMul", ["s", "w"], ["p"]),
        helper.make_node("Add", ["p", "p"], ["y"]),
    ]
    fp16 = to_fp16(make_model(nodes, weights, output_shape=(1, 1, 2)))
    names = [name for node in fp16.graph.node for name in node.output]
    assert len(names) == len(set(names))


@pytest.mark.case("F15")
def test_fp16_normalizes_raw_features_beyond_float16() -> None:
    names = ("low", "high", "mean", "std")
    constants: Arrays = {
        f"normalization.audio.{n}": np.full(8, v, np.float32)
        for n, v in zip(names, (9e5, 1e6, 9.5e5, 2e4), strict=True)
    }
    constants["w"] = np.eye(8, dtype=np.float32)
    nodes = [
        helper.make_node(op_type, [source, f"normalization.audio.{name}"], [target])
        for op_type, name, source, target in (
            ("Max", "low", "x", "a"),
            ("Min", "high", "a", "b"),
            ("Sub", "mean", "b", "c"),
            ("Div", "std", "c", "d"),
        )
    ]
    model = make_model([*nodes, helper.make_node("MatMul", ["d", "w"], ["y"])], constants)
    inputs = {"x": np.linspace(8e5, 1.1e6, 24, dtype=np.float32).reshape(1, 3, 8)}
    assert_close(run_onnx(to_fp16(model), inputs)[0], run_onnx(model, inputs)[0], rtol=1e-3)
