"""A text encoder in INT8, from calibration samples to the graph: smoothing, linear layers, padding."""

from __future__ import annotations

import platform
from typing import Any

import numpy as np
import onnx
import openvino
import pytest
from onnx import checker, numpy_helper

from edge_msa_calibrate.collect import collect_statistics
from edge_msa_calibrate.qdq import quantize
from edge_msa_calibrate.ranges import compute_ranges
from edge_msa_calibrate.schemes import SCHEMES
from edge_msa_calibrate.smoothing import compute_smoothing
from edge_msa_calibrate.statistics import Statistics
from edge_msa_runtime.bundle.manifest import GraphKey
from tests.unit.calibrate.graphs import TextEncoderMaker

LENGTH = 12


@pytest.fixture(scope="module")
def statistics(text_encoders: TextEncoderMaker) -> Statistics:
    return collect_statistics(
        {GraphKey.text_encoder(LENGTH): text_encoders.graph(LENGTH)}, text_encoders.samples(LENGTH)
    )


def int8_graph(
    graph: onnx.ModelProto,
    statistics: Statistics,
    scheme: str,
    fp32_weights: tuple[str, ...] = (),
    *,
    smooth: bool = True,
) -> onnx.ModelProto:
    smoothing = compute_smoothing(statistics) if smooth else {}
    ranges = compute_ranges(statistics, "minmax", smoothing)
    return quantize(graph, ranges, scheme, fp32_weights, smoothing)


def relative_error(run: Any, text_encoders: TextEncoderMaker, model: onnx.ModelProto) -> float:
    """Return the root mean square error over valid frames, relative to the layers' own output."""
    reference = text_encoders.graph(LENGTH)
    table = initializer(reference, "text_encoder.embeddings.weight")
    errors, sizes = [], []
    for sample in text_encoders.samples(LENGTH):
        valid = sample["valid"][0] > 0
        actual, expected = (run(item, sample)["frames"][0][valid] for item in (model, reference))
        errors.append(np.square(actual - expected).mean())
        # The residual adds the embeddings unchanged, outliers included.
        sizes.append(np.square(expected - table[sample["ids"][0][valid]]).mean())
    return float(np.sqrt(np.mean(errors) / np.mean(sizes)))


def initializer(model: onnx.ModelProto, name: str) -> Any:
    return numpy_helper.to_array(next(item for item in model.graph.initializer if item.name == name))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_smoothing_halves_the_error(
    text_encoders: TextEncoderMaker, statistics: Statistics, run: Any, scheme: str
) -> None:
    graph = text_encoders.graph(LENGTH)
    smooth, rough = (
        relative_error(run, text_encoders, int8_graph(graph, statistics, scheme, smooth=smooth))
        for smooth in (True, False)
    )
    assert smooth < 0.5 * rough


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("gemm", [False, True])
def test_gemm_and_matmul_are_close_to_fp32(
    text_encoders: TextEncoderMaker, statistics: Statistics, run: Any, scheme: str, gemm: bool
) -> None:
    model = int8_graph(text_encoders.graph(LENGTH, gemm=gemm), statistics, scheme)
    checker.check_model(model, full_check=True)
    assert relative_error(run, text_encoders, model) < 0.05
    weights = [item for item in model.graph.initializer if item.name.endswith("weight_quantized")]
    assert [item.data_type for item in weights] == [onnx.TensorProto.INT8] * 2
    int32 = [item for item in model.graph.initializer if item.data_type == onnx.TensorProto.INT32]
    assert len(int32) == (4 if SCHEMES[scheme].bias_int32 else 0)


def test_graphs_of_every_length_have_the_same_integers(text_encoders: TextEncoderMaker, statistics: Statistics) -> None:
    def integers(length: int) -> dict[str, bytes]:
        model = int8_graph(text_encoders.graph(length), statistics, "openvino-x86")
        return {item.name: item.raw_data for item in model.graph.initializer if "quantized" in item.name}

    assert integers(LENGTH) == integers(5)


def test_residual_uses_the_unrounded_values(text_encoders: TextEncoderMaker, statistics: Statistics) -> None:
    model = int8_graph(text_encoders.graph(LENGTH), statistics, "openvino-x86")
    residual = next(node for node in model.graph.node if node.name == "residual")
    assert "embedded" in residual.input


def test_fp32_layer_keeps_its_weight(text_encoders: TextEncoderMaker, statistics: Statistics) -> None:
    graph = text_encoders.graph(LENGTH)
    model = int8_graph(graph, statistics, "ort-x86-vnni", ("text_encoder.one.weight",))
    assert "text_encoder.two.weight" not in {item.name for item in model.graph.initializer}
    assert np.array_equal(initializer(model, "text_encoder.one.weight"), initializer(graph, "text_encoder.one.weight"))


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="needs OpenVINO's INT8 kernels for x86")
def test_openvino_runs_the_layers_in_int8(text_encoders: TextEncoderMaker, statistics: Statistics) -> None:
    core = openvino.Core()
    graph = int8_graph(text_encoders.graph(LENGTH), statistics, "openvino-x86")
    model = core.read_model(graph.SerializeToString())
    compiled = core.compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"})
    layers = [op.get_rt_info() for op in compiled.get_runtime_model().get_ordered_ops()]
    kinds = [(str(info["layerType"].value), str(info["runtimePrecision"].value)) for info in layers]
    assert [precision for kind, precision in kinds if kind == "FullyConnected"] == ["u8", "u8"]
