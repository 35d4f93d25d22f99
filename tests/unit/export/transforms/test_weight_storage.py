from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edge_msa_calibrate.qdq import quantize
from edge_msa_export.lint import LintTarget, lint
from edge_msa_export.request import ExportRequest
from edge_msa_export.transforms.weight_storage import compress_weights
from edge_msa_runtime.bundle.manifest import GraphKey
from edge_msa_runtime.modalities import Subset
from tests.unit.export.onnx_models import assert_close, make_inputs, make_model, run_onnx

RNG = np.random.default_rng(4)


def test_float_weights_become_float16_but_scales_do_not(
    student_graphs: dict[GraphKey, onnx.ModelProto], laptop_request: ExportRequest
) -> None:
    assert laptop_request.ranges is not None
    int8 = quantize(student_graphs[GraphKey.window(Subset.LAV)], laptop_request.ranges, "ort-x86-vnni")
    compressed = compress_weights(int8, int8_tables=True)
    inputs = make_inputs(int8)
    assert_close(run_onnx(compressed, inputs)[0], run_onnx(int8, inputs)[0], rtol=0.01)
    kinds = {tensor.name: tensor.data_type for tensor in compressed.graph.initializer}
    assert kinds["fusion.contributions.audio.weight.fp16"] == TensorProto.FLOAT16
    assert all(kind == TensorProto.FLOAT for name, kind in kinds.items() if name.endswith("_scale"))
    assert lint(compressed, LintTarget("onnxruntime")) == []


def test_weight_beyond_the_range_of_float16_stays_float32() -> None:
    weight = RNG.normal(size=(32, 32)).astype(np.float32)
    weight[3, 3] = 1e6
    model = make_model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": weight}, (1, 32))
    tensors = compress_weights(model, int8_tables=True).graph.initializer
    assert [tensor.data_type for tensor in tensors] == [TensorProto.FLOAT]


@pytest.mark.parametrize("int8", [False, True], ids=["fp16", "int8"])
def test_table_rows_are_compressed_and_restored_on_lookup(*, int8: bool) -> None:
    table = RNG.normal(size=(40, 16)).astype(np.float32) * np.linspace(0, 50, 40, dtype=np.float32)[:, None]
    model = make_model(
        [helper.make_node("Gather", ["table", "x"], ["y"], axis=0)],
        {"table": table},
        (1, 5),
        kind=TensorProto.INT64,
        output_shape=(1, 5, 16),
        output_kind=TensorProto.FLOAT,
    )
    compressed = compress_weights(model, int8_tables=int8)
    kinds = {tensor.data_type for tensor in compressed.graph.initializer}
    assert kinds == ({TensorProto.INT8, TensorProto.FLOAT} if int8 else {TensorProto.FLOAT16})
    ids = np.array([[0, 39, 7, 7, 21]])
    restored = run_onnx(compressed, {"x": ids})[0]
    limit = np.abs(table[ids]).max(axis=-1, keepdims=True) / (250 if int8 else 1500)
    assert (np.abs(restored - table[ids]) <= limit + 1e-7).all()
    assert compressed.graph.node[0].op_type == "Gather"
