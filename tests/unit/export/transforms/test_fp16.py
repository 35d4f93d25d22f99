from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from edge_msa_export.errors import ExportError
from edge_msa_export.transforms.fp16 import to_fp16
from edge_msa_runtime.bundle.manifest import GraphKey
from tests.unit.export.onnx_models import Arrays, assert_close, make_inputs, run_onnx

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
        assert not [tensor.name for tensor in fp16.graph.initializer if tensor.data_type == TensorProto.FLOAT]


def test_weight_beyond_the_range_of_float16_is_an_error(student_graphs: Graphs) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(student_graphs[GraphKey.step("audio")])
    tensor = next(item for item in model.graph.initializer if item.name == "encoders.audio.embed.weight")
    values = numpy_helper.to_array(tensor).copy()
    values[0] = 1e6
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    with pytest.raises(ExportError, match=r"encoders\.audio\.embed\.weight must be within .*, got 1e\+06"):
        to_fp16(model)


def test_lower_bound_of_a_divisor_stays_a_normal_number(student_graphs: Graphs) -> None:
    fp16 = to_fp16(student_graphs[GraphKey.step("audio")])
    clip = next(node for node in fp16.graph.node if node.op_type == "Clip")
    bound = next(numpy_helper.to_array(item) for item in fp16.graph.initializer if item.name == clip.input[1])
    assert bound == np.finfo(np.float16).tiny
