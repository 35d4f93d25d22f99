from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from edge_msa_calibrate.qdq import quantize
from edge_msa_export.request import ExportRequest
from edge_msa_export.transforms.compact import WeightsFile, compact_graph
from edge_msa_runtime.backends import open_backend
from edge_msa_runtime.bundle.manifest import WEIGHTS_NAME, GraphKey
from edge_msa_runtime.modalities import Subset
from tests.unit.export.onnx_models import assert_close, make_inputs, make_model, run_onnx
from tests.unit.export.students import DIMS

RNG = np.random.default_rng(4)
Graphs = dict[GraphKey, onnx.ModelProto]


@pytest.mark.parametrize("int8", [False, True], ids=["fp32", "int8"])
@pytest.mark.parametrize("key", [GraphKey.window(Subset.LAV), GraphKey.step("audio"), GraphKey.fuse(DIMS)], ids=str)
def test_compact_graph_gives_the_same_outputs_bit_for_bit(
    student_graphs: Graphs, laptop_request: ExportRequest, key: GraphKey, *, int8: bool
) -> None:
    graph = student_graphs[key]
    if int8:
        assert laptop_request.ranges is not None
        graph = quantize(graph, laptop_request.ranges, "ort-x86-vnni")
    compact, inputs = compact_graph(graph), make_inputs(graph)
    onnx.checker.check_model(compact, full_check=True)
    np.testing.assert_array_equal(run_onnx(compact, inputs)[0], run_onnx(graph, inputs)[0])
    assert [value.name for value in compact.graph.input] == [value.name for value in graph.graph.input]
    assert compact.ByteSize() < graph.ByteSize()


def test_compact_graph_is_deterministic(student_graphs: Graphs) -> None:
    graph = student_graphs[GraphKey.window(Subset.LAV)]
    first, second = (compact_graph(graph).SerializeToString(deterministic=True) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("keep_inferable", [False, True])
def test_inferable_attributes_are_kept_only_on_request(
    student_graphs: Graphs, laptop_request: ExportRequest, *, keep_inferable: bool
) -> None:
    assert laptop_request.ranges is not None
    int8 = quantize(student_graphs[GraphKey.window(Subset.A)], laptop_request.ranges, "tensorrt")
    nodes = compact_graph(int8, keep_inferable=keep_inferable).graph.node
    convolutions = [{item.name for item in node.attribute} for node in nodes if node.op_type == "Conv"]
    assert all(("kernel_shape" in names) is keep_inferable for names in convolutions)
    inputs = {len(node.input) for node in nodes if node.op_type == "DequantizeLinear"}
    assert inputs == ({3} if keep_inferable else {2, 3})


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_graphs_of_a_folder_share_one_weights_file(student_graphs: Graphs, tmp_path: Path, backend: str) -> None:
    weights = WeightsFile()
    keys = [GraphKey.window(Subset.LA), GraphKey.window(Subset.A), GraphKey.step("audio")]
    sizes = []
    for key in keys:
        compact = compact_graph(student_graphs[key])
        assert weights.move_out(compact.graph)
        sizes.append(len(weights.content))
        (tmp_path / f"{key.file_stem}.onnx").write_bytes(compact.SerializeToString())
    (tmp_path / WEIGHTS_NAME).write_bytes(weights.content)
    assert sizes[0] == sizes[1]  # the graph of language and audio already has all weights of audio
    for key in keys:
        graph = student_graphs[key]
        inputs = make_inputs(graph)
        program = open_backend(backend).load(tmp_path / f"{key.file_stem}.onnx")
        assert_close(program(inputs)[graph.graph.output[0].name], run_onnx(graph, inputs)[0], rtol=2e-5)


def test_linear_layer_stays_an_integer_operator(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "text_encoder.up.weight"], ["product"]),
        helper.make_node("Add", ["product", "text_encoder.up.bias"], ["y"]),
    ]
    constants = {
        "text_encoder.up.weight": RNG.normal(size=(32, 32)).astype(np.float32),
        "text_encoder.up.bias": RNG.normal(size=32).astype(np.float32),
    }
    model = make_model(nodes, constants, (1, 8, 32))
    ranges = {"text_encoder.up.weight:input": (-3.0, 3.0), "text_encoder.up.weight:output": (-9.0, 9.0)}
    compact = compact_graph(quantize(model, ranges, "ort-x86-vnni"))
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(compact.SerializeToString(), options, providers=["CPUExecutionProvider"])
    operators = {node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node}
    assert operators & {"QGemm", "QLinearMatMul", "MatMulIntegerToFloat"}
    assert not operators & {"MatMul", "Gemm"}
