from __future__ import annotations

from typing import Any

import pytest

from edge_msa_calibrate.plan import make_plan
from edge_msa_calibrate.schemes import SCHEMES


@pytest.mark.parametrize("name", SCHEMES)
def test_wide_convolutions_and_residuals_are_int8(maker: Any, name: str) -> None:
    plan = make_plan(maker.window(9, ("audio",)), SCHEMES[name])
    decisions = {
        (item.op_type, item.node.removeprefix("node_w0_")): (item.int8, item.reason) for item in plan.decisions
    }
    assert decisions == {
        ("Conv", "embedded"): (True, "20 -> 16 channels"),
        ("Conv", "convolved0"): (True, "16 -> 16 channels"),
        ("Add", "sum0"): (True, "residual of quantized tensors"),
        ("Conv", "convolved1"): (True, "16 -> 16 channels"),
        ("Add", "node_features.audio"): (True, "residual of quantized tensors"),
        ("Conv", "scores"): (False, "16 -> 4 channels: fewer than 16 input or output channels"),
        ("MatMul", "node_tokens.audio"): (False, "attention is sensitive to rounding"),
    }


def test_embedding_of_few_features_stays_fp32(narrow_maker: Any) -> None:
    plan = make_plan(narrow_maker.window(9), SCHEMES["ort-x86-vnni"])
    assert [layer.weight for layer in plan.layers] == [f"encoders.audio.blocks.{index}.weight" for index in range(2)]
    assert "w0_channels_first" not in plan.tensors


def test_encoder_without_calibration_stays_fp32(maker: Any) -> None:
    plan = make_plan(maker.window(9), SCHEMES["tensorrt"], calibrated_encoders={"audio"})
    assert {layer.encoder for layer in plan.layers} == {"audio"}
    reasons = {item.weight: item.reason for item in plan.decisions}
    assert reasons["encoders.language.embed.weight"] == "no calibration sample has language"


@pytest.mark.parametrize(
    ("fp32_weights", "reason"),
    [
        (("text_encoder.one.weight",), "kept in fp32 on request"),
        ({"text_encoder.one.weight": "sensitive"}, "sensitive"),
    ],
)
def test_requested_weight_stays_fp32_with_its_reason(text_encoders: Any, fp32_weights: Any, reason: str) -> None:
    plan = make_plan(text_encoders.graph(12), SCHEMES["ort-x86-vnni"], None, fp32_weights)
    decisions = {item.weight: (item.op_type, item.int8, item.reason) for item in plan.decisions}
    assert decisions["text_encoder.one.weight"] == ("MatMul", False, reason)
    assert decisions["text_encoder.two.weight"] == ("MatMul", True, "32 -> 24 channels")


def test_tensor_has_the_range_of_the_convolution_that_uses_it(maker: Any) -> None:
    tensors = make_plan(maker.step("audio", 3), SCHEMES["ort-x86-vnni"]).tensors
    root = "encoders.audio"
    assert tensors == {
        "s_channels_first": f"{root}.embed.weight:input",
        "s_relu": f"{root}.blocks.0.weight:input",
        "state.conv0": f"{root}.blocks.0.weight:input",
        "s_concatenated0": f"{root}.blocks.0.weight:input",
        "s_activated0": f"{root}.blocks.0.weight:output",
        "s_sum0": f"{root}.blocks.1.weight:input",
        "state.conv1": f"{root}.blocks.1.weight:input",
        "s_concatenated1": f"{root}.blocks.1.weight:input",
        "s_activated1": f"{root}.blocks.1.weight:output",
        "features": f"{root}.score.weight:input",
    }


def test_tensorrt_does_not_quantize_the_memory(maker: Any) -> None:
    assert "state.conv0" not in make_plan(maker.step("audio", 3), SCHEMES["tensorrt"]).tensors
