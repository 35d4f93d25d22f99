from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from edge_msa.reporting.sensitivity import (
    LayerBar,
    SensitivityPage,
    SensitivityPart,
    render_sensitivity,
    sensitivity_plot,
)

if TYPE_CHECKING:
    from tests.unit.edge_msa.reporting.conftest import Parse


PART = SensitivityPart(
    scheme="ort-x86-vnni",
    sentences=("All layers in int8 lose 1.30 points.",),
    layers=(
        LayerBar("encoders.audio.blocks.0.weight", 0.02, 0.01, is_float=True),
        LayerBar("encoders.audio.blocks.1.weight", None, None, is_float=False),
    ),
    max_distance=0.03,
    plan=(("conv_1", "Conv", "float", "costs <0.02>"), ("conv_2", "Conv", "int8", "")),
)


def test_the_page_has_a_section_per_scheme(outline: Parse) -> None:
    parts = (PART, replace(PART, scheme="openvino"))
    parsed = outline(render_sensitivity(SensitivityPage("Sensitivity", "laptop-x86", parts)))
    assert parsed.open == []
    assert max(parsed.ids.values()) == 1
    assert {"ort-x86-vnni", "openvino"} <= set(parsed.ids)
    assert parsed.tags["table"] == 2
    assert "number of nodes in int8 1, in float 1" in parsed.text
    assert "costs <0.02>" in parsed.text


@pytest.mark.parametrize(("max_distance", "is_drawn"), [(0.03, True), (3.0, False)])
def test_a_large_allowed_distance_is_not_drawn(max_distance: float, outline: Parse, *, is_drawn: bool) -> None:
    text = outline(sensitivity_plot(replace(PART, max_distance=max_distance))).text
    assert ("allowed for all layers together" in text) is is_drawn


def test_layers_in_float_are_marked(outline: Parse) -> None:
    text = outline(sensitivity_plot(PART)).text
    assert "audio.blocks.0 (float)" in text
    assert "audio.blocks.1 (float)" not in text
