from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper

from edge_msa_export.errors import ExportError
from edge_msa_export.transforms.fp16 import to_fp16
from edge_msa_runtime.bundle.manifest import GraphKey


def _run(model: onnx.ModelProto) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    feed = {}
    for value in model.graph.input:
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        feed[value.name] = rng.normal(size=shape).astype(np.float32)
        if value.name.startswith(("valid", "available")):
            feed[value.name][:] = 1
        if value.name == "state.mass":
            feed[value.name][:] = 2
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [np.asarray(value) for value in session.run(None, feed)]


def test_every_graph_runs_in_half_with_float32_edges_and_is_close(graphs: dict[GraphKey, onnx.ModelProto]) -> None:
    for model in graphs.values():
        half = to_fp16(model)
        for value in (*half.graph.input, *half.graph.output):
            assert value.type.tensor_type.elem_type == TensorProto.FLOAT
        assert not [tensor.name for tensor in half.graph.initializer if tensor.data_type == TensorProto.FLOAT]
        for exact, close in zip(_run(model), _run(half), strict=True):
            np.testing.assert_allclose(close, exact, atol=0.01)


def test_a_weight_beyond_float16_is_refused(graphs: dict[GraphKey, onnx.ModelProto]) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(graphs[GraphKey.step("audio")])
    tensor = next(item for item in model.graph.initializer if item.name == "encoders.audio.embed.weight")
    values = numpy_helper.to_array(tensor).copy()
    values[0] = 1e6
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    with pytest.raises(ExportError, match=r"encoders\.audio\.embed\.weight reaches 1e\+06"):
        to_fp16(model)


def test_what_guards_a_division_stays_a_normal_number(graphs: dict[GraphKey, onnx.ModelProto]) -> None:
    half = to_fp16(graphs[GraphKey.step("audio")])
    clip = next(node for node in half.graph.node if node.op_type == "Clip")
    baseline = next(numpy_helper.to_array(item) for item in half.graph.initializer if item.name == clip.input[1])
    assert baseline == np.finfo(np.float16).tiny
