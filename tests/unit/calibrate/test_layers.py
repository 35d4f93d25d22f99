from __future__ import annotations

from typing import Any

import pytest

from edge_msa_calibrate.layers import find_layers


def test_window_and_step_graphs_have_the_same_layers(maker: Any) -> None:
    window = {layer.weight: layer for layer in find_layers(maker.window(9))}
    step = {layer.weight: layer for layer in find_layers(maker.step("audio", 3))}
    assert set(step) == {weight for weight in window if weight.startswith("encoders.audio.")}
    for weight, layer in step.items():
        assert (layer.in_channels, layer.out_channels) == (window[weight].in_channels, window[weight].out_channels)
        assert layer.encoder == "audio"


def test_convolution_knows_its_memory_features_and_relu(maker: Any) -> None:
    layers = {layer.weight: layer for layer in find_layers(maker.step("audio", 3))}
    block = layers["encoders.audio.blocks.1.weight"]
    assert (block.input, block.memory, block.features, block.output) == (
        "s_concatenated1",
        "state.conv1",
        "s_sum0",
        "s_activated1",
    )
    score = layers["encoders.audio.score.weight"]
    assert (score.features, score.output) == (None, "s_scores")


@pytest.mark.parametrize("gemm", [False, True])
def test_text_encoder_layers_know_their_bias_and_axis(text_encoders: Any, gemm: bool) -> None:
    one, two = find_layers(text_encoders.graph(12, gemm=gemm))
    assert (one.weight, one.bias, one.encoder) == ("text_encoder.one.weight", "text_encoder.one.bias", "text_encoder")
    assert (one.in_channels, one.out_channels, one.channel_axis) == (24, 32, 0 if gemm else 1)
    assert (two.op_type, two.in_channels, two.out_channels) == ("Gemm" if gemm else "MatMul", 32, 24)
