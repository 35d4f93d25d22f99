from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_msa.benchmark.layers import measure_peaks, profile_layers

pytest.importorskip("openvino")


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """Return a convolution and a matrix product: 1 * 8 * 10 * 4 * 3 and 1 * 8 * 10 * 6 MACs."""
    generator = np.random.default_rng(0)
    weights = {"w": generator.standard_normal((8, 4, 3)), "m": generator.standard_normal((10, 6))}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("MatMul", ["r", "m"], ["y"]),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 10])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8, 6])]
    constants = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    built = helper.make_graph(nodes, "g", inputs, outputs, constants)
    model = helper.make_model(built, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "graph.onnx")
    return tmp_path / "graph.onnx"


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_executed_layers_have_the_macs_of_the_graph(graph: Path, backend: str) -> None:
    layers = profile_layers(backend, graph, "fp32", threads=1, num_runs=10)

    assert [layer.macs for layer in layers if layer.macs] == [8 * 10 * 4 * 3, 8 * 10 * 6]
    assert all(layer.time_us >= 0 for layer in layers)
    assert {layer.precision for layer in layers if layer.macs} == {"fp32"}
    product = next(layer for layer in layers if layer.macs == 8 * 10 * 6)
    assert product.bytes == pytest.approx(4 * (8 * 10 + 10 * 6 + 8 * 6), rel=0.2)


def test_peaks_are_positive() -> None:
    peaks = measure_peaks(1, 10_000)

    assert min(*peaks.macs_per_second.values(), peaks.bytes_per_second) > 0
