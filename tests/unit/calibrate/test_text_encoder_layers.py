"""A language text encoder: its linear layers, smoothed, in int8."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import openvino
import pytest
from onnx import checker, numpy_helper

from edge_msa_calibrate.collect import collect_statistics
from edge_msa_calibrate.layers import find_sites
from edge_msa_calibrate.qdq import quantize
from edge_msa_calibrate.ranges import compute_ranges
from edge_msa_calibrate.schemes import SCHEMES, place
from edge_msa_calibrate.smoothing import factors_of, smoothing_of

Array = npt.NDArray[Any]
LENGTH = 12


def samples_of(text_encoders: Any, length: int = LENGTH) -> list[dict[str, Array]]:
    return [text_encoders.sample(length, 3 + seed % (length - 3), seed) for seed in range(24)]


def int8_of(
    text_encoders: Any, rules: str, length: int = LENGTH, *, smooth: bool = True, **how: Any
) -> onnx.ModelProto:
    statistics = collect_statistics({"text_encoder": text_encoders.text_encoder(LENGTH)}, samples_of(text_encoders))
    smoothing = smoothing_of(statistics) if smooth else {}
    ranges = compute_ranges(statistics, "minmax", smoothing)
    floats = how.pop("fp32_weights", ())
    return quantize(text_encoders.text_encoder(length, **how), ranges, rules, floats, smoothing)


def error(run: Any, text_encoders: Any, model: onnx.ModelProto) -> float:
    """Root mean square over valid frames, the residual's outliers left out."""
    found = []
    for sample in samples_of(text_encoders):
        valid = sample["valid"][0] > 0
        one, two = (run(item, sample)["frames"][0][valid] for item in (model, text_encoders.text_encoder(LENGTH)))
        found.append(np.square(one - two).mean())
    return float(np.sqrt(np.mean(found)))


@pytest.mark.parametrize("gemm", [False, True])
def test_layers_are_found_by_weight_with_their_bias_and_axis(text_encoders: Any, gemm: bool) -> None:
    one, two = find_sites(text_encoders.text_encoder(LENGTH, gemm=gemm))
    assert (one.weight, one.bias, one.owner) == ("text_encoder.one.weight", "text_encoder.one.bias", "text_encoder")
    assert (one.channels_in, one.channels_out, one.axis) == (24, 32, 0 if gemm else 1)
    assert (two.op_type, two.channels_in, two.channels_out) == ("Gemm" if gemm else "MatMul", 32, 24)


def test_padding_neither_widens_nor_squeezes_a_range(text_encoders: Any) -> None:
    statistics = collect_statistics({"text_encoder": text_encoders.text_encoder(LENGTH)}, samples_of(text_encoders))
    histogram = statistics.histograms["text_encoder.one.weight:input"]
    table = next(
        item
        for item in text_encoders.text_encoder(LENGTH).graph.initializer
        if item.name == "text_encoder.embeddings.weight"
    )
    rows = numpy_helper.to_array(table)
    tokens = [sample["ids"][0][sample["valid"][0] > 0] for sample in samples_of(text_encoders)]
    seen = rows[np.concatenate(tokens)]
    assert (histogram.minimum, histogram.maximum) == (seen.min(), seen.max())
    assert histogram.count == seen.size
    assert np.array_equal(statistics.channels["text_encoder.one.weight:input"], [seen.min(axis=0), seen.max(axis=0)])
    assert statistics.samples == {"text_encoder": 24}
    assert statistics.modality_samples == {}


@pytest.mark.parametrize("name", SCHEMES)
def test_smoothing_brings_int8_much_nearer(text_encoders: Any, run: Any, name: str) -> None:
    smooth, rough = (error(run, text_encoders, int8_of(text_encoders, name, smooth=smooth)) for smooth in (True, False))
    assert smooth < 0.5 * rough


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize("gemm", [False, True])
def test_gemm_and_matmul_agree_and_stay_near_float(text_encoders: Any, run: Any, name: str, gemm: bool) -> None:
    model = int8_of(text_encoders, name, gemm=gemm)
    checker.check_model(model, full_check=True)
    assert error(run, text_encoders, model) < 0.1
    integers = [item for item in model.graph.initializer if item.name.endswith("weight_quantized")]
    assert [item.data_type for item in integers] == [onnx.TensorProto.INT8] * 2
    whole = [item for item in model.graph.initializer if item.data_type == onnx.TensorProto.INT32]
    assert len(whole) == (4 if SCHEMES[name].bias_int32 else 0)


def test_every_length_has_the_same_integers(text_encoders: Any) -> None:
    def weights(length: int) -> dict[str, bytes]:
        model = int8_of(text_encoders, "openvino-x86", length)
        return {item.name: item.raw_data for item in model.graph.initializer if "quantized" in item.name}

    assert weights(LENGTH) == weights(5)


def test_a_residual_reads_what_was_not_rounded(text_encoders: Any) -> None:
    model = int8_of(text_encoders, "openvino-x86")
    residual = next(node for node in model.graph.node if node.name == "residual")
    assert "embedded" in residual.input


def test_a_layer_kept_float_keeps_its_weight(text_encoders: Any) -> None:
    model = int8_of(text_encoders, "ort-x86-vnni", fp32_weights={"text_encoder.one.weight": "why not"})
    names = {item.name for item in model.graph.initializer}
    assert "text_encoder.one.weight" in names
    assert "text_encoder.two.weight" not in names
    original = numpy_helper.to_array(
        next(i for i in text_encoders.text_encoder(LENGTH).graph.initializer if i.name == "text_encoder.one.weight")
    )
    kept = numpy_helper.to_array(next(i for i in model.graph.initializer if i.name == "text_encoder.one.weight"))
    assert np.array_equal(kept, original)
    plan = place(
        text_encoders.text_encoder(LENGTH), SCHEMES["ort-x86-vnni"], None, {"text_encoder.one.weight": "why not"}
    )
    told = {item.weight: (item.op_type, item.int8, item.reason) for item in plan.decisions}
    assert told["text_encoder.one.weight"] == ("MatMul", False, "why not")
    assert told["text_encoder.two.weight"] == ("MatMul", True, "32 -> 24 channels")


def test_openvino_runs_the_layers_in_int8(text_encoders: Any) -> None:
    core = openvino.Core()
    model = core.read_model(int8_of(text_encoders, "openvino-x86").SerializeToString())
    compiled = core.compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"})
    layers = [op.get_rt_info() for op in compiled.get_runtime_model().get_ordered_ops()]
    kinds = [(str(info["layerType"].value), str(info["runtimePrecision"].value)) for info in layers]
    assert [precision for kind, precision in kinds if kind == "FullyConnected"] == ["u8", "u8"]


def test_factors_equalize_channels_and_have_a_geometric_mean_of_one() -> None:
    extremes = np.array([[-1.0, -0.5, 0.0, 0.0], [0.5, 64.0, 2.0, 0.0]], np.float32)
    factors = factors_of(extremes, exponent=1.0)
    smoothed = np.abs(extremes).max(axis=0) / factors
    assert smoothed[:3] == pytest.approx([smoothed[0]] * 3)
    assert np.isfinite(factors).all()
    assert float(np.exp(np.log(factors).mean())) == pytest.approx(1.0, rel=1e-4)
