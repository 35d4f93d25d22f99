"""Graph files: short names, weights once a folder, and float constants stored in less."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_msa_calibrate.qdq import quantize
from edge_msa_export.errors import ExportError
from edge_msa_export.graphs.weight_names import restore_names
from edge_msa_export.lint import LintTarget, lint
from edge_msa_export.request import ExportRequest
from edge_msa_export.transforms.compact import WeightsFile, shrink
from edge_msa_export.transforms.fp16 import to_fp16
from edge_msa_export.transforms.layer_norm import decompose_layer_norms
from edge_msa_export.transforms.weight_storage import with_compact_weights
from edge_msa_runtime.backends import open_backend
from edge_msa_runtime.bundle.manifest import WEIGHTS_NAME, GraphKey
from edge_msa_runtime.modalities import MODALITIES, Subset

RNG = np.random.default_rng(4)


def _feed(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    feed = {}
    for value in model.graph.input:
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        ones = value.name.startswith(("valid", "available"))
        feed[value.name] = np.ones(shape, np.float32) if ones else RNG.normal(size=shape).astype(np.float32)
    return feed


def _run(model: onnx.ModelProto, feed: dict[str, np.ndarray]) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, feed)[0])


def _model(
    nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], source: tuple[str, int, list[int]], shape: list[int]
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "edge_msa",
        [helper.make_tensor_value_info(*source)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("int8", [False, True])
def test_a_shrunk_graph_reads_the_same_bit_for_bit(
    graphs: dict[GraphKey, onnx.ModelProto], request_for_laptop: ExportRequest, *, int8: bool
) -> None:
    for key in (GraphKey.window(Subset.LAV), GraphKey.step("audio"), GraphKey.fuse(MODALITIES)):
        graph = graphs[key]
        if int8:
            assert request_for_laptop.ranges is not None
            graph = quantize(graph, request_for_laptop.ranges, "ort-x86-vnni")
        small, feed = shrink(graph), _feed(graph)
        onnx.checker.check_model(small, full_check=True)
        np.testing.assert_array_equal(_run(small, feed), _run(graph, feed))
        assert [value.name for value in small.graph.input] == [value.name for value in graph.graph.input]
        assert small.ByteSize() < graph.ByteSize()
        assert shrink(graph).SerializeToString(deterministic=True) == small.SerializeToString(deterministic=True)


def test_for_tensorrt_what_a_weight_tells_is_said_as_well(
    graphs: dict[GraphKey, onnx.ModelProto], request_for_laptop: ExportRequest
) -> None:
    assert request_for_laptop.ranges is not None
    int8 = quantize(graphs[GraphKey.window(Subset.A)], request_for_laptop.ranges, "tensorrt")
    for plain in (False, True):
        nodes = shrink(int8, plain=plain).graph.node
        convs = [{item.name for item in node.attribute} for node in nodes if node.op_type == "Conv"]
        assert all(("kernel_shape" in names) is plain for names in convs)
        inputs = {len(node.input) for node in nodes if node.op_type == "DequantizeLinear"}
        assert inputs == ({3} if plain else {2, 3})


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_graphs_of_one_folder_share_their_weights(
    graphs: dict[GraphKey, onnx.ModelProto], tmp_path: Path, backend: str
) -> None:
    weights = WeightsFile()
    keys = [GraphKey.window(Subset.LA), GraphKey.window(Subset.A), GraphKey.step("audio")]
    sizes = []
    for key in keys:
        small = shrink(graphs[key])
        assert weights.move_out(small.graph)
        sizes.append(len(weights.content))
        (tmp_path / f"{key.file_stem}.onnx").write_bytes(small.SerializeToString())
    (tmp_path / WEIGHTS_NAME).write_bytes(weights.content)
    assert sizes[0] == sizes[1]  # all of audio's weights are in the graph of language and audio already
    for key in keys:
        feed = _feed(graphs[key])
        program = open_backend(backend).load(tmp_path / f"{key.file_stem}.onnx")
        name = graphs[key].graph.output[0].name
        np.testing.assert_allclose(program(feed)[name], _run(graphs[key], feed), atol=1e-5)


def test_float_weights_are_stored_in_float16_and_scales_are_not(
    graphs: dict[GraphKey, onnx.ModelProto], request_for_laptop: ExportRequest
) -> None:
    assert request_for_laptop.ranges is not None
    int8 = quantize(graphs[GraphKey.window(Subset.LAV)], request_for_laptop.ranges, "ort-x86-vnni")
    stored = with_compact_weights(int8, int8_tables=True)
    feed = _feed(int8)
    np.testing.assert_allclose(_run(stored, feed), _run(int8, feed), atol=2e-3)
    kinds = {tensor.name: tensor.data_type for tensor in stored.graph.initializer}
    assert kinds["fusion.contribute.audio.weight.half"] == TensorProto.FLOAT16
    assert all(kind == TensorProto.FLOAT for name, kind in kinds.items() if name.endswith("_scale"))
    assert lint(stored, LintTarget("onnxruntime")) == []


def test_a_weight_beyond_float16_stays_as_it_is() -> None:
    weight = RNG.normal(size=(32, 32)).astype(np.float32)
    weight[3, 3] = 1e6
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    model = _model(nodes, {"w": weight}, ("x", TensorProto.FLOAT, [1, 32]), [1, 32])
    assert [tensor.data_type for tensor in with_compact_weights(model, int8_tables=True).graph.initializer] == [1]


@pytest.mark.parametrize("int8", [False, True])
def test_a_table_is_stored_by_rows_and_only_what_is_looked_up_is_brought_back(*, int8: bool) -> None:
    table = RNG.normal(size=(40, 16)).astype(np.float32) * np.linspace(0, 50, 40, dtype=np.float32)[:, None]
    nodes = [helper.make_node("Gather", ["table", "ids"], ["y"], axis=0)]
    model = _model(nodes, {"table": table}, ("ids", TensorProto.INT64, [1, 5]), [1, 5, 16])
    stored = with_compact_weights(model, int8_tables=int8)
    kinds = {tensor.data_type for tensor in stored.graph.initializer}
    assert kinds == ({TensorProto.INT8, TensorProto.FLOAT} if int8 else {TensorProto.FLOAT16})
    ids = np.array([[0, 39, 7, 7, 21]])
    read = _run(stored, {"ids": ids})
    limit = np.abs(table[ids]).max(axis=-1, keepdims=True) / (250 if int8 else 1500)
    assert (np.abs(read - table[ids]) <= limit + 1e-7).all()
    assert stored.graph.node[0].op_type == "Gather"


def _normed(epsilon: float) -> onnx.ModelProto:
    nodes = [helper.make_node("LayerNormalization", ["x", "scale", "bias"], ["y"], axis=-1, epsilon=epsilon)]
    constants = {"scale": RNG.normal(size=8).astype("f4"), "bias": RNG.normal(size=8).astype("f4")}
    return _model(nodes, constants, ("x", TensorProto.FLOAT, [1, 3, 8]), [1, 3, 8])


def test_tensorrt_gets_a_layer_normalization_in_parts_that_read_the_same() -> None:
    model, x = _normed(1e-12), RNG.normal(2, 3, size=(1, 3, 8)).astype(np.float32)
    parts = decompose_layer_norms(model)
    assert [finding.rule for finding in lint(model, LintTarget("tensorrt", (8, 5)))] == ["operator"]
    assert lint(parts, LintTarget("tensorrt", (8, 5))) == []
    np.testing.assert_allclose(_run(parts, {"x": x}), _run(model, {"x": x}), atol=1e-5)
    flat = np.ones((1, 3, 8), np.float32)  # no variance: only the epsilon keeps it from a division by zero
    assert np.isfinite(_run(to_fp16(parts), {"x": flat})).all()


def test_a_layer_normalization_over_more_axes_is_refused() -> None:
    model = _normed(1e-5)
    model.graph.node[0].attribute[0].i = 1
    with pytest.raises(ExportError, match="not over the last axis"):
        decompose_layer_norms(model)


def test_folded_weights_get_their_names_back_transposed_or_not() -> None:
    first, second = RNG.normal(size=(4, 6)).astype("f4"), RNG.normal(size=(4, 6)).astype("f4")
    nodes = [helper.make_node("MatMul", ["x", "val_1"], ["h"]), helper.make_node("MatMul", ["h", "val_2"], ["y"])]
    constants = {"val_1": np.ascontiguousarray(first.T), "val_2": second}
    model = _model(nodes, constants, ("x", TensorProto.FLOAT, [1, 6]), [1, 6])
    restore_names(
        model, {"text_encoder.a.weight": first, "text_encoder.b.weight": second, "text_encoder.c.weight": first + 1}
    )
    assert [node.input[1] for node in model.graph.node] == ["text_encoder.a.weight", "text_encoder.b.weight"]
    assert [tensor.name for tensor in model.graph.initializer] == ["text_encoder.a.weight", "text_encoder.b.weight"]


def test_a_linear_layer_stays_one_integer_operator_in_onnx_runtime(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "text_encoder.up.weight"], ["product"]),
        helper.make_node("Add", ["product", "text_encoder.up.bias"], ["y"]),
    ]
    constants = {
        "text_encoder.up.weight": RNG.normal(size=(32, 32)).astype("f4"),
        "text_encoder.up.bias": RNG.normal(size=32).astype("f4"),
    }
    model = _model(nodes, constants, ("x", TensorProto.FLOAT, [1, 8, 32]), [1, 8, 32])
    ranges = {"text_encoder.up.weight:input": (-3.0, 3.0), "text_encoder.up.weight:output": (-9.0, 9.0)}
    small = shrink(quantize(model, ranges, "ort-x86-vnni"))
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(small.SerializeToString(), options, providers=["CPUExecutionProvider"])
    kinds = {node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node}
    assert kinds & {"QGemm", "QLinearMatMul", "MatMulIntegerToFloat"}
    assert not kinds & {"MatMul", "Gemm"}
