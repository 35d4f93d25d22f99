from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import openvino
import pytest
from onnx import checker, helper, numpy_helper

from edge_msa_calibrate.affine import compute_parameters, quantize_weight
from edge_msa_calibrate.collect import collect_statistics
from edge_msa_calibrate.errors import CalibrationError
from edge_msa_calibrate.qdq import quantize
from edge_msa_calibrate.ranges import ActivationRange, compute_ranges
from edge_msa_calibrate.schemes import SCHEMES, QuantizationScheme
from edge_msa_runtime.bundle.manifest import GraphKey
from edge_msa_runtime.modalities import Subset

Array = npt.NDArray[Any]

FRAMES = 40
CHUNK = 10


def inputs_for(maker: Any, modalities: tuple[str, ...], seed: int) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    inputs: dict[str, Array] = {}
    for name in modalities:
        inputs[f"frames.{name}"] = rng.standard_normal((1, FRAMES, maker.recipe.dims[name])).astype(np.float32)
        inputs[f"valid.{name}"] = np.ones((1, FRAMES), np.float32)
    return inputs


def ranges_for(maker: Any) -> dict[str, ActivationRange]:
    """Return the ranges of the encoders of a maker, from eight random samples."""
    names = tuple(maker.recipe.dims)
    key = GraphKey.window(Subset.of(names))
    samples = [inputs_for(maker, names, seed) for seed in range(8)]
    return compute_ranges(collect_statistics({key: maker.window(FRAMES)}, samples), "mse")


@pytest.fixture(scope="module")
def ranges(maker: Any) -> dict[str, ActivationRange]:
    return ranges_for(maker)


def constants(model: onnx.ModelProto) -> dict[str, Array]:
    return {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}


def nodes(model: onnx.ModelProto, op_type: str) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.op_type == op_type]


def fake_quantize(values: Array, span: ActivationRange, scheme: QuantizationScheme) -> Array:
    """Quantize and dequantize in NumPy."""
    parameters = compute_parameters(span.low, span.high, scheme.activations)
    integer_type = parameters.integer_type
    integers = np.rint(values.astype(np.float32) / np.float32(parameters.scale)).astype(np.float64)
    clipped = np.clip(integers + parameters.zero_point, integer_type.lowest, integer_type.highest)
    dequantized: Array = (clipped - parameters.zero_point) * parameters.scale
    return dequantized


def simulate(maker: Any, frames: Array, ranges: dict[str, ActivationRange], scheme: QuantizationScheme) -> Array:
    """Return the features of the audio encoder, with every quantized tensor rounded and all else in float64."""
    weights = maker.recipe.weights()

    def conv(name: str, values: Array, dilation: int) -> Array:
        root = f"encoders.audio.{name}"
        span = ranges[f"{root}.weight:input"]
        scale = compute_parameters(span.low, span.high, scheme.activations).scale
        weight, bias = weights[f"{root}.weight"], weights[f"{root}.bias"].astype(np.float64)
        integers, scales = quantize_weight(weight, scheme.weight_limit, bias / scale if scheme.bias_int32 else None)
        if scheme.bias_int32:
            bias = np.rint(bias / (scale * scales)) * scale * scales
        kernel = integers * scales[:, None, None].astype(np.float64)
        length = values.shape[1] - (weight.shape[2] - 1) * dilation
        taps = [kernel[:, :, k] @ values[:, k * dilation : k * dilation + length] for k in range(weight.shape[2])]
        output: Array = np.maximum(sum(taps) + bias[:, None], 0)
        return output

    def on_grid(name: str, values: Array) -> Array:
        return fake_quantize(values, ranges[f"encoders.audio.{name}"], scheme)

    features = conv("embed", on_grid("embed.weight:input", frames[0].T), 1)
    for index, memory in enumerate((2, 4)):
        features = on_grid(f"blocks.{index}.weight:input", features)
        past = np.zeros((features.shape[0], memory))
        output = conv(f"blocks.{index}", np.concatenate([past, features], axis=1), 2**index)
        features = features + on_grid(f"blocks.{index}.weight:output", output)
    return features


@pytest.mark.parametrize("name", SCHEMES)
def test_features_equal_a_simulation_in_numpy(maker: Any, run: Any, ranges: Any, name: str) -> None:
    scheme = SCHEMES[name]
    inputs = inputs_for(maker, ("audio",), 99)
    model = quantize(maker.window(FRAMES, ("audio",)), ranges, name)
    actual = run(model, inputs, plain=True)["features.audio"][0]
    expected = simulate(maker, inputs["frames.audio"], ranges, scheme)
    # A value next to the edge between two integers may be rounded either way, which moves later values by a step.
    span = ranges["encoders.audio.blocks.1.weight:input"]
    step = compute_parameters(span.low, span.high, scheme.activations).scale
    assert np.mean(np.abs(actual - expected) > 1e-2 * step) < 0.02
    assert np.abs(actual - expected).max() < 3 * step


@pytest.mark.parametrize("name", SCHEMES)
def test_int8_is_close_to_fp32(maker: Any, run: Any, ranges: Any, name: str) -> None:
    window = maker.window(FRAMES)
    inputs = inputs_for(maker, tuple(maker.recipe.dims), 5)
    expected, actual = run(window, inputs), run(quantize(window, ranges, name), inputs)
    for tensor in ("tokens.audio", "tokens.language"):
        assert np.abs(actual[tensor] - expected[tensor]).max() < 0.03 * np.abs(expected[tensor]).max()
        assert not np.array_equal(actual[tensor], expected[tensor])


@pytest.mark.parametrize("name", SCHEMES)
def test_steps_equal_the_window_bit_for_bit(maker: Any, run: Any, ranges: Any, name: str) -> None:
    window = quantize(maker.window(FRAMES, ("audio",)), ranges, name)
    step = quantize(maker.step("audio", CHUNK), ranges, name)
    inputs = inputs_for(maker, ("audio",), 11)
    state = {f"state.conv{i}": np.zeros((1, maker.recipe.channels, m), np.float32) for i, m in enumerate((2, 4))}
    chunks = []
    for start in range(0, FRAMES, CHUNK):
        chunk = {"frames": inputs["frames.audio"][:, start : start + CHUNK], "valid": np.ones((1, CHUNK), np.float32)}
        outputs = run(step, chunk | state)
        chunks.append(outputs["features"])
        state = {f"state.conv{index}": outputs[f"next.conv{index}"] for index in range(2)}
    assert np.array_equal(np.concatenate(chunks, axis=2), run(window, inputs)["features.audio"])


@pytest.mark.parametrize("name", SCHEMES)
def test_int8_convolutions_have_integer_inputs_and_weights(maker: Any, ranges: Any, name: str) -> None:
    scheme = SCHEMES[name]
    model = quantize(maker.window(FRAMES), ranges, name)
    makers = {output: node for node in model.graph.node for output in node.output}
    stored = constants(model)
    quantized = [node for node in nodes(model, "Conv") if "scores" not in node.name]
    assert len(quantized) == 6
    for conv in quantized:
        activation, weight = (makers[conv.input[index]] for index in (0, 1))
        assert activation.op_type == weight.op_type == "DequantizeLinear"
        assert makers[activation.input[0]].op_type == "QuantizeLinear"
        integers, scales, zeros = (stored[item] for item in weight.input)
        assert integers.dtype == np.int8
        assert np.abs(integers).max() == scheme.weight_limit
        assert scales.shape == zeros.shape == (len(integers),)
        assert not zeros.any()
        assert helper.get_attribute_value(weight.attribute[0]) == 0
        if scheme.bias_int32:
            bias = makers[conv.input[2]]
            assert stored[bias.input[0]].dtype == np.int32
            assert np.allclose(stored[bias.input[1]], stored[activation.input[1]] * scales, rtol=1e-6)
        else:
            assert stored[conv.input[2]].dtype == np.float32
    assert all(conv.input[1] in stored for conv in nodes(model, "Conv") if conv not in quantized)
    checker.check_model(model, full_check=True)


@pytest.mark.parametrize("name", SCHEMES)
def test_activations_have_the_integers_of_the_scheme(maker: Any, ranges: Any, name: str) -> None:
    scheme = SCHEMES[name]
    model = quantize(maker.window(FRAMES), ranges, name)
    stored = constants(model)
    pairs = nodes(model, "QuantizeLinear")
    assert len({node.input[0] for node in pairs}) == len(pairs)
    for node in pairs:
        zero = stored[node.input[2]]
        assert zero.dtype == scheme.activations.dtype
        assert stored[node.input[1]].shape == zero.shape == ()
        if scheme.activations.symmetric:
            assert zero == 0
    zeros = {int(stored[node.input[2]]) for node in pairs if "activated" in node.input[0]}
    assert zeros == {0 if scheme.activations.symmetric else scheme.activations.lowest}


def test_tensorrt_quantizes_both_residual_inputs_but_no_bias(maker: Any, ranges: Any) -> None:
    model = quantize(maker.window(FRAMES), ranges, "tensorrt")
    makers = {output: node for node in model.graph.node for output in node.output}
    assert len(nodes(model, "Add")) == 4
    for add in nodes(model, "Add"):
        assert [makers[item].op_type for item in add.input] == ["DequantizeLinear"] * 2
    assert {item.dtype for item in constants(model).values()} <= {np.dtype("float32"), np.dtype("int8")}


def test_opset_inputs_and_outputs_stay_the_same(maker: Any, ranges: Any) -> None:
    step = maker.step("audio", CHUNK)
    before = step.SerializeToString(deterministic=True)
    model = quantize(step, ranges, "openvino-x86")
    assert step.SerializeToString(deterministic=True) == before
    assert [item.version for item in model.opset_import] == [17]
    assert list(model.graph.input) == list(step.graph.input)
    assert list(model.graph.output) == list(step.graph.output)


def test_quantization_is_deterministic(maker: Any, ranges: Any) -> None:
    one, two = (quantize(maker.window(FRAMES), ranges, "tensorrt") for _ in range(2))
    assert one.SerializeToString(deterministic=True) == two.SerializeToString(deterministic=True)


def test_float_copies_of_int8_weights_are_removed(maker: Any, ranges: Any) -> None:
    window = maker.window(FRAMES)
    model = quantize(window, ranges, "ort-x86-vnni")
    assert "encoders.audio.blocks.0.weight" not in constants(model)
    assert "encoders.audio.score.weight" in constants(model)
    assert model.ByteSize() < window.ByteSize() + 12_000


def test_openvino_computes_the_graph_as_written(maker: Any, run: Any, ranges: Any) -> None:
    # With signed activations it does not (see edge_msa_calibrate.schemes), so the scheme uses unsigned ones.
    core = openvino.Core()
    model = quantize(maker.window(FRAMES), ranges, "openvino-x86")
    settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(model.SerializeToString()), "CPU", settings)
    inputs = inputs_for(maker, tuple(maker.recipe.dims), 5)
    actual = compiled({port.any_name: inputs[port.any_name] for port in compiled.inputs})
    expected = run(model, inputs, plain=True)
    for tensor in ("tokens.audio", "tokens.language"):
        assert np.abs(actual[tensor] - expected[tensor]).max() < 0.01 * np.abs(expected[tensor]).max()


def test_encoder_of_few_features_is_close_to_fp32(narrow_maker: Any, run: Any) -> None:
    window = narrow_maker.window(FRAMES)
    inputs = inputs_for(narrow_maker, ("audio",), 5)
    actual = run(quantize(window, ranges_for(narrow_maker), "ort-x86-vnni"), inputs)["tokens.audio"]
    reference = run(window, inputs)["tokens.audio"]
    assert np.abs(actual - reference).max() < 0.03 * np.abs(reference).max()


def test_graph_without_encoders_is_unchanged() -> None:
    value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3])
    result = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 3])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "fuse", [value], [result])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert quantize(model, {}, "tensorrt") == model


def test_unquantizable_graphs_and_bad_ranges_are_rejected(maker: Any, ranges: Any) -> None:
    window = maker.window(FRAMES)
    with pytest.raises(CalibrationError, match="already quantized"):
        quantize(quantize(window, ranges, "tensorrt"), ranges, "tensorrt")
    with pytest.raises(CalibrationError, match="no quantization ranges"):
        quantize(window, {}, "tensorrt")
    incomplete = {key: value for key, value in ranges.items() if key != "encoders.audio.embed.weight:input"}
    with pytest.raises(CalibrationError, match=r"encoders\.audio\.embed\.weight:input has no quantization range"):
        quantize(window, incomplete, "tensorrt")
    broken = dict(ranges) | {"encoders.audio.embed.weight:input": (0.0, float("nan"))}
    with pytest.raises(CalibrationError, match=r"range of encoders\.audio\.embed\.weight:input must be finite"):
        quantize(window, broken, "tensorrt")
    with pytest.raises(CalibrationError, match="Unknown quantization scheme"):
        quantize(window, ranges, "nnapi")
    window.opset_import[0].version = 12
    with pytest.raises(CalibrationError, match="opset 12"):
        quantize(window, ranges, "tensorrt")


def test_encoder_without_ranges_stays_fp32(maker: Any, ranges: Any) -> None:
    window = maker.window(FRAMES)
    audio = {key: value for key, value in ranges.items() if not key.startswith("encoders.language.")}
    result = quantize(window, audio, "tensorrt")
    floats = {tensor.name for tensor in result.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
    assert "encoders.language.embed.weight" in floats
    assert "encoders.audio.embed.weight" not in floats
