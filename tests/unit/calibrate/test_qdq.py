from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import openvino
import pytest
from onnx import checker, helper, numpy_helper

from edge_msa_calibrate.affine import affine_of, quantized_weight
from edge_msa_calibrate.collect import collect_statistics
from edge_msa_calibrate.errors import CalibrationError
from edge_msa_calibrate.qdq import quantize
from edge_msa_calibrate.ranges import Range, compute_ranges
from edge_msa_calibrate.schemes import SCHEMES, QuantizationScheme

Array = npt.NDArray[Any]

FRAMES = 40
CHUNK = 10


def inputs_for(maker: Any, modalities: tuple[str, ...], seed: int) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    found: dict[str, Array] = {}
    for name in modalities:
        found[f"frames.{name}"] = rng.standard_normal((1, FRAMES, maker.recipe.dims[name])).astype(np.float32)
        found[f"valid.{name}"] = np.ones((1, FRAMES), np.float32)
    return found


def ranges_for(maker: Any) -> dict[str, Range]:
    names = tuple(maker.recipe.dims)
    subset = "".join(name[0] for name in names)
    samples = [inputs_for(maker, names, seed) for seed in range(8)]
    return compute_ranges(collect_statistics({subset: maker.window(FRAMES)}, samples), "mse")


def constants(model: onnx.ModelProto) -> dict[str, Array]:
    return {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}


def nodes(model: onnx.ModelProto, op_type: str) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.op_type == op_type]


def pretended(values: Array, span: Range, rules: QuantizationScheme) -> Array:
    """Quantized and back, in NumPy."""
    affine = affine_of(span.low, span.high, rules.activations)
    integers = np.rint(values.astype(np.float32) / np.float32(affine.scale)).astype(np.float64) + affine.zero_point
    clipped = np.clip(integers, affine.integers.lowest, affine.integers.highest)
    back: Array = (clipped - affine.zero_point) * affine.scale
    return back


def simulated(maker: Any, frames: Array, ranges: dict[str, Range], rules: QuantizationScheme) -> Array:
    """Features of the audio encoder, every quantized tensor rounded, everything else in float64."""
    weights = maker.recipe.weights()

    def conv(name: str, values: Array, dilation: int) -> Array:
        root = f"encoders.audio.{name}"
        span = ranges[f"{root}.weight:input"]
        scale = affine_of(span.low, span.high, rules.activations).scale
        weight, bias = weights[f"{root}.weight"], weights[f"{root}.bias"].astype(np.float64)
        integers, scales = quantized_weight(weight, rules.weight_limit, bias / scale if rules.bias_int32 else None)
        if rules.bias_int32:
            bias = np.rint(bias / (scale * scales)) * scale * scales
        real = integers * scales[:, None, None].astype(np.float64)
        length = values.shape[1] - (weight.shape[2] - 1) * dilation
        taps = [real[:, :, k] @ values[:, k * dilation : k * dilation + length] for k in range(weight.shape[2])]
        made: Array = np.maximum(sum(taps) + bias[:, None], 0)
        return made

    def seen(name: str, values: Array) -> Array:
        return pretended(values, ranges[f"encoders.audio.{name}"], rules)

    features = conv("embed", seen("embed.weight:input", frames[0].T), 1)
    for index, memory in enumerate((2, 4)):
        features = seen(f"blocks.{index}.weight:input", features)
        past = np.zeros((features.shape[0], memory))
        made = conv(f"blocks.{index}", np.concatenate([past, features], axis=1), 2**index)
        features = features + seen(f"blocks.{index}.weight:output", made)
    return features


@pytest.mark.parametrize("name", SCHEMES)
def test_numbers_equal_a_simulation_in_numpy(maker: Any, run: Any, name: str) -> None:
    rules, ranges = SCHEMES[name], ranges_for(maker)
    inputs = inputs_for(maker, ("audio",), 99)
    model = quantize(maker.window(FRAMES, ("audio",)), ranges, name)
    found = run(model, inputs, plain=True)["features.audio"][0]
    expected = simulated(maker, inputs["frames.audio"], ranges, rules)
    # A value on the edge between two integers may fall either way, and moves what it feeds by a step.
    assert np.mean(np.abs(found - expected) > 1e-4) < 0.02
    span = ranges["encoders.audio.blocks.1.weight:input"]
    step = affine_of(span.low, span.high, rules.activations).scale
    assert np.abs(found - expected).max() < 3 * step


@pytest.mark.parametrize("name", SCHEMES)
def test_int8_stays_near_float(maker: Any, run: Any, name: str) -> None:
    window = maker.window(FRAMES)
    inputs = inputs_for(maker, tuple(maker.recipe.dims), 5)
    reference, found = run(window, inputs), run(quantize(window, ranges_for(maker), name), inputs)
    for tensor in ("tokens.audio", "tokens.language"):
        assert np.abs(found[tensor] - reference[tensor]).max() < 0.03 * np.abs(reference[tensor]).max()
        assert not np.array_equal(found[tensor], reference[tensor])


@pytest.mark.parametrize("name", SCHEMES)
def test_steps_equal_the_window_bit_for_bit(maker: Any, run: Any, name: str) -> None:
    ranges = ranges_for(maker)
    window = quantize(maker.window(FRAMES, ("audio",)), ranges, name)
    step = quantize(maker.step("audio", CHUNK), ranges, name)
    inputs = inputs_for(maker, ("audio",), 11)
    state = {f"state.conv{i}": np.zeros((1, maker.recipe.channels, m), np.float32) for i, m in enumerate((2, 4))}
    chunks = []
    for start in range(0, FRAMES, CHUNK):
        chunk = {"frames": inputs["frames.audio"][:, start : start + CHUNK], "valid": np.ones((1, CHUNK), np.float32)}
        made = run(step, chunk | state)
        chunks.append(made["features"])
        state = {f"state.conv{index}": made[f"next.conv{index}"] for index in range(2)}
    assert np.array_equal(np.concatenate(chunks, axis=2), run(window, inputs)["features.audio"])


@pytest.mark.parametrize("name", SCHEMES)
def test_int8_convolutions_read_integers_on_both_sides(maker: Any, name: str) -> None:
    rules = SCHEMES[name]
    model = quantize(maker.window(FRAMES), ranges_for(maker), name)
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
        assert np.abs(integers).max() == rules.weight_limit
        assert scales.shape == zeros.shape == (len(integers),)
        assert not zeros.any()
        assert helper.get_attribute_value(weight.attribute[0]) == 0
        if rules.bias_int32:
            bias = makers[conv.input[2]]
            assert stored[bias.input[0]].dtype == np.int32
            assert np.allclose(stored[bias.input[1]], stored[activation.input[1]] * scales, rtol=1e-6)
        else:
            assert stored[conv.input[2]].dtype == np.float32
    assert all(conv.input[1] in stored for conv in nodes(model, "Conv") if conv not in quantized)
    checker.check_model(model, full_check=True)


@pytest.mark.parametrize("name", SCHEMES)
def test_activations_have_the_rule_set_s_integers(maker: Any, name: str) -> None:
    rules = SCHEMES[name]
    model = quantize(maker.window(FRAMES), ranges_for(maker), name)
    stored = constants(model)
    pairs = nodes(model, "QuantizeLinear")
    assert len({node.input[0] for node in pairs}) == len(pairs)
    for node in pairs:
        zero = stored[node.input[2]]
        assert zero.dtype == rules.activations.dtype
        assert stored[node.input[1]].shape == zero.shape == ()
        if rules.activations.symmetric:
            assert zero == 0
    zeros = {int(stored[node.input[2]]) for node in pairs if "kept" in node.input[0]}
    assert zeros == {0 if rules.activations.symmetric else rules.activations.lowest}


def test_tensorrt_has_both_inputs_of_a_residual_and_no_bias_quantized(maker: Any) -> None:
    model = quantize(maker.window(FRAMES), ranges_for(maker), "tensorrt")
    makers = {output: node for node in model.graph.node for output in node.output}
    assert len(nodes(model, "Add")) == 4
    for add in nodes(model, "Add"):
        assert [makers[item].op_type for item in add.input] == ["DequantizeLinear"] * 2
    assert {item.dtype for item in constants(model).values()} <= {np.dtype("float32"), np.dtype("int8")}


def test_opset_names_of_inputs_and_outputs_and_the_given_graph_stay(maker: Any) -> None:
    step = maker.step("audio", CHUNK)
    before = step.SerializeToString(deterministic=True)
    model = quantize(step, ranges_for(maker), "openvino-x86")
    assert step.SerializeToString(deterministic=True) == before
    assert [item.version for item in model.opset_import] == [17]
    assert list(model.graph.input) == list(step.graph.input)
    assert list(model.graph.output) == list(step.graph.output)


def test_the_same_graph_comes_out_every_time(maker: Any) -> None:
    ranges = ranges_for(maker)
    one, two = (quantize(maker.window(FRAMES), ranges, "tensorrt") for _ in range(2))
    assert one.SerializeToString(deterministic=True) == two.SerializeToString(deterministic=True)


def test_float_weights_are_gone(maker: Any) -> None:
    window = maker.window(FRAMES)
    model = quantize(window, ranges_for(maker), "ort-x86-vnni")
    assert "encoders.audio.blocks.0.weight" not in constants(model)
    assert "encoders.audio.score.weight" in constants(model)
    assert model.ByteSize() < window.ByteSize() + 12_000


def test_openvino_computes_what_its_graph_says(maker: Any, run: Any) -> None:
    # Its int8 activations do not (plan.py), which is why the quantization scheme has unsigned ones.
    core = openvino.Core()
    model = quantize(maker.window(FRAMES), ranges_for(maker), "openvino-x86")
    settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(model.SerializeToString()), "CPU", settings)
    inputs = inputs_for(maker, tuple(maker.recipe.dims), 5)
    found = compiled({port.any_name: inputs[port.any_name] for port in compiled.inputs})
    expected = run(model, inputs, plain=True)
    for tensor in ("tokens.audio", "tokens.language"):
        assert np.abs(found[tensor] - expected[tensor]).max() < 0.01 * np.abs(expected[tensor]).max()


def test_few_features_a_frame_still_work(narrow_maker: Any, run: Any) -> None:
    window = narrow_maker.window(FRAMES)
    inputs = inputs_for(narrow_maker, ("audio",), 5)
    found = run(quantize(window, ranges_for(narrow_maker), "ort-x86-vnni"), inputs)["tokens.audio"]
    reference = run(window, inputs)["tokens.audio"]
    assert np.abs(found - reference).max() < 0.03 * np.abs(reference).max()


def test_a_graph_without_encoders_comes_back_as_it_was() -> None:
    value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3])
    result = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 3])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "fuse", [value], [result])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert quantize(model, {}, "tensorrt") == model


def test_what_cannot_be_quantized_is_refused(maker: Any) -> None:
    window, ranges = maker.window(FRAMES), ranges_for(maker)
    with pytest.raises(CalibrationError, match="quantized already"):
        quantize(quantize(window, ranges, "tensorrt"), ranges, "tensorrt")
    with pytest.raises(CalibrationError, match="no ranges to quantize by"):
        quantize(window, {}, "tensorrt")
    short = {key: value for key, value in ranges.items() if key != "encoders.audio.embed.weight:input"}
    with pytest.raises(CalibrationError, match=r"no range for encoders\.audio\.embed\.weight:input"):
        quantize(window, short, "tensorrt")
    broken = dict(ranges) | {"encoders.audio.embed.weight:input": (0.0, float("nan"))}
    with pytest.raises(CalibrationError, match=r"range of encoders\.audio\.embed\.weight:input is"):
        quantize(window, broken, "tensorrt")
    with pytest.raises(CalibrationError, match="no quantization scheme"):
        quantize(window, ranges, "nnapi")
    window.opset_import[0].version = 12
    with pytest.raises(CalibrationError, match="opset 12"):
        quantize(window, ranges, "tensorrt")


def test_an_encoder_that_calibration_never_saw_stays_float(maker: Any) -> None:
    window = maker.window(FRAMES)
    ranges = {key: value for key, value in ranges_for(maker).items() if not key.startswith("encoders.language.")}
    result = quantize(window, ranges, "tensorrt")
    floats = {tensor.name for tensor in result.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
    assert "encoders.language.embed.weight" in floats
    assert "encoders.audio.embed.weight" not in floats
