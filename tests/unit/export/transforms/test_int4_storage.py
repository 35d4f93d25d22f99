"""Weights of a text encoder in 4 bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import openvino
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge_msa_calibrate.qdq import quantize
from edge_msa_export.transforms.int4_storage import BLOCK, Int4Packer, count_packed, quantize_blocks
from edge_msa_export.transforms.weight_storage import compress_weights
from tests.unit.export.onnx_models import make_inputs, make_model, run_onnx

RNG = np.random.default_rng(4)
RANGES = {"text_encoder.w:input": (-3.0, 3.0), "text_encoder.w:output": (-9.0, 9.0)}


def make_int8(scheme: str = "ort-x86-vnni", size: int = 64) -> onnx.ModelProto:
    weight = RNG.normal(size=(size, size)).astype(np.float32)
    model = make_model(
        [helper.make_node("MatMul", ["x", "text_encoder.w"], ["y"])], {"text_encoder.w": weight}, (1, 8, size)
    )
    return compress_weights(quantize(model, RANGES, scheme), int8_tables=True)


def dequantized(values: NDArray[np.int8]) -> NDArray[np.float32]:
    """Return what the 4-bit weights (rows, columns) stand for, before they are rounded to int8."""
    integers, factors = quantize_blocks(values.reshape(len(values), -1, BLOCK))
    return np.asarray(integers * (factors[..., None] / 8), np.float32).reshape(values.shape)


def test_blocks_differ_by_at_most_half_a_step() -> None:
    values = RNG.integers(-127, 128, (20, 3, BLOCK)).astype(np.int8)
    integers, factors = quantize_blocks(values)
    assert integers.min() >= -8
    assert integers.max() <= 7
    restored = integers * (factors[..., None] / 8)
    steps = np.abs(factors[..., None] / 8)
    inside = (integers > -8) & (integers < 7)
    assert (np.abs(restored - values) <= steps / 2 + 1e-4)[inside].all()
    assert np.corrcoef(restored.ravel(), values.ravel())[0, 1] > 0.99


def test_small_weights_are_exact() -> None:
    values = RNG.integers(-8, 8, (5, 2, BLOCK)).astype(np.int8)
    values[..., 0] = -8
    integers, factors = quantize_blocks(values)
    np.testing.assert_array_equal(integers * (factors[..., None] // 8), values)


@pytest.mark.parametrize("scheme", ["ort-x86-vnni", "ort-x86-avx2", "openvino-x86", "ort-arm"])
def test_a_graph_computes_with_the_int8_weights_that_4_bits_stand_for(scheme: str) -> None:
    int8 = make_int8(scheme)
    packed = Int4Packer().pack(int8)
    assert count_packed(packed) == 64 * 64
    assert packed.ByteSize() < int8.ByteSize()
    for tensor in int8.graph.initializer:
        if tensor.name == "text_encoder.w_quantized":
            values = np.rint(dequantized(numpy_helper.to_array(tensor).T)).astype(np.int8).T
            assert np.abs(values).max() <= (63 if scheme == "ort-x86-avx2" else 127)
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), tensor.name))
    inputs = make_inputs(int8)
    expected = run_onnx(int8, inputs)[0]
    np.testing.assert_allclose(run_onnx(packed, inputs)[0], expected, atol=0.02 * np.abs(expected).max())


def test_looked_up_rows_are_unpacked() -> None:
    table = RNG.normal(size=(40, 64)).astype(np.float32) * np.linspace(0.1, 50, 40, dtype=np.float32)[:, None]
    model = make_model(
        [helper.make_node("Gather", ["text_encoder.table", "x"], ["y"], axis=0)],
        {"text_encoder.table": table},
        (1, 5),
        kind=TensorProto.INT64,
        output_shape=(1, 5, 64),
        output_kind=TensorProto.FLOAT,
    )
    packed = Int4Packer().pack(compress_weights(model, int8_tables=True))
    ids = np.array([[0, 39, 7, 7, 21]])
    restored = run_onnx(packed, {"x": ids})[0]
    scales = np.abs(table).max(axis=1, keepdims=True) / 127
    expected = dequantized(np.rint(table / scales).astype(np.int8)) * scales
    np.testing.assert_allclose(restored, expected[ids], rtol=1e-5)


def test_weights_without_whole_blocks_stay_int8() -> None:
    int8 = make_int8(size=48)
    assert Int4Packer().pack(int8).SerializeToString() == int8.SerializeToString()


def test_openvino_computes_in_int8(tmp_path: Path) -> None:
    path = tmp_path / "graph.onnx"
    path.write_bytes(Int4Packer().pack(make_int8("openvino-x86")).SerializeToString())
    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    nodes = compiled.get_runtime_model().get_ops()
    (layer,) = [node for node in nodes if node.get_rt_info()["layerType"].astype(str) == "FullyConnected"]
    assert layer.input_value(1).get_element_type().get_type_name() == "i8"
