from __future__ import annotations

from typing import Any

import pytest

from edge_msa_calibrate.errors import CalibrationError
from edge_msa_calibrate.layers import find_sites
from edge_msa_calibrate.schemes import SCHEMES, place, scheme_named


def test_convolutions_are_found_by_weight_in_window_and_step_graphs(maker: Any) -> None:
    window = {site.weight: site for site in find_sites(maker.window(9))}
    step = {site.weight: site for site in find_sites(maker.step("audio", 3))}
    assert set(step) == {weight for weight in window if weight.startswith("encoders.audio.")}
    for weight, site in step.items():
        assert (site.channels_in, site.channels_out) == (window[weight].channels_in, window[weight].channels_out)
        assert site.owner == "audio"
    block = step["encoders.audio.blocks.1.weight"]
    assert (block.source, block.memory, block.features, block.result) == ("s_seen1", "state.conv1", "s_sum0", "s_kept1")
    score = step["encoders.audio.score.weight"]
    assert (score.features, score.result) == (None, "s_scores")


@pytest.mark.parametrize("name", SCHEMES)
def test_wide_convolutions_and_residuals_are_int8_the_rest_float_with_reasons(maker: Any, name: str) -> None:
    plan = place(maker.window(9, ("audio",)), SCHEMES[name])
    decided = {(item.op_type, item.node.removeprefix("node_w0_")): (item.int8, item.reason) for item in plan.decisions}
    assert decided == {
        ("Conv", "embedded"): (True, "20 -> 16 channels"),
        ("Conv", "made0"): (True, "16 -> 16 channels"),
        ("Add", "sum0"): (True, "residual of quantized tensors"),
        ("Conv", "made1"): (True, "16 -> 16 channels"),
        ("Add", "node_features.audio"): (True, "residual of quantized tensors"),
        ("Conv", "scores"): (False, "16 -> 4 channels: fewer than 16 on a side"),
        ("MatMul", "node_tokens.audio"): (False, "attention is sensitive"),
    }


def test_few_features_a_frame_keep_the_embedding_float(narrow_maker: Any) -> None:
    plan = place(narrow_maker.window(9), SCHEMES["ort-x86-vnni"])
    assert [site.weight for site in plan.sites] == [f"encoders.audio.blocks.{index}.weight" for index in range(2)]
    assert "w0_turned" not in plan.tensors


def test_a_tensor_has_the_key_of_the_convolution_that_reads_it(maker: Any) -> None:
    tensors = place(maker.step("audio", 3), SCHEMES["ort-x86-vnni"]).tensors
    root = "encoders.audio"
    assert tensors == {
        "s_turned": f"{root}.embed.weight:input",
        "s_relu": f"{root}.blocks.0.weight:input",
        "state.conv0": f"{root}.blocks.0.weight:input",
        "s_seen0": f"{root}.blocks.0.weight:input",
        "s_kept0": f"{root}.blocks.0.weight:output",
        "s_sum0": f"{root}.blocks.1.weight:input",
        "state.conv1": f"{root}.blocks.1.weight:input",
        "s_seen1": f"{root}.blocks.1.weight:input",
        "s_kept1": f"{root}.blocks.1.weight:output",
        "features": f"{root}.score.weight:input",
    }
    assert "state.conv0" not in place(maker.step("audio", 3), SCHEMES["tensorrt"]).tensors


def test_rule_sets_are_those_of_the_architecture() -> None:
    assert list(SCHEMES) == ["ort-x86-vnni", "ort-x86-avx2", "ort-arm", "openvino-x86", "tensorrt"]
    assert all(scheme_named(name).name == name for name in SCHEMES)
    with pytest.raises(CalibrationError, match="no quantization scheme 'dla'; choose one of ort-x86-vnni"):
        scheme_named("dla")
