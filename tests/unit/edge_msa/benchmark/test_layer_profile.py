from __future__ import annotations

import json

import pytest

from edge_msa.benchmark.layer_profile import Layer, LayerProfile, Peaks
from edge_msa.errors import EdgeMsaError

PEAKS = Peaks({"fp32": 1e9, "int8": 4e9}, 1e9)
LAYERS = (
    Layer("Conv 1x4", "Conv", "int8", 6.0, 8000, 100, is_reformat=False),
    Layer("Gemm 1x2", "Gemm", "fp32", 3.0, 2000, 5000, is_reformat=False),
    Layer("Reorder 1x4", "Reorder", "fp32", 1.0, 0, 10, is_reformat=True),
)
PROFILE = LayerProfile("bundle", "laptop-x86", "openvino", "int8", "CPU", "lav", LAYERS, PEAKS, {"machine": "CPU"})


def test_the_bound_is_the_longer_of_the_times_for_macs_and_bytes() -> None:
    assert PEAKS.bound_us("int8", 8000, 100) == pytest.approx(2.0)
    assert PEAKS.bound_us("fp32", 2000, 5000) == pytest.approx(5.0)
    assert PEAKS.bound_us("int32", 2000, 0) == pytest.approx(2.0)


def test_shares_add_up_to_all_time() -> None:
    shares = [PROFILE.share_of_time("int8"), PROFILE.share_of_time("fp32"), PROFILE.share_of_reformats()]

    assert shares == pytest.approx([0.6, 0.3, 0.1])
    assert PROFILE.share_of_macs("int8") == pytest.approx(0.8)


def test_the_table_lists_the_slowest_layers_first_and_sums_up_the_others() -> None:
    layers = tuple(Layer(f"L{i}", "Conv", "fp32", float(i), i, i, is_reformat=False) for i in range(1, 21))
    lines = str(LayerProfile("b", "", "openvino", "fp32", "CPU", "l", layers, PEAKS, {})).splitlines()

    assert [line.split()[0] for line in lines[4:16]] == [f"L{i}" for i in range(20, 8, -1)]
    assert lines[16].split()[:2] == ["8", "others"]
    assert "36.0" in lines[16]


def test_a_profile_is_the_same_after_json() -> None:
    assert LayerProfile.from_json(json.loads(json.dumps(PROFILE.to_json()))) == PROFILE


@pytest.mark.parametrize("change", [{"schema": 0}, {"layers": [{}]}, {"peaks": {}}])
def test_a_damaged_record_is_one_line(change: dict[str, object]) -> None:
    with pytest.raises(EdgeMsaError, match="Run edge-msa bench layers again"):
        LayerProfile.from_json(PROFILE.to_json() | change)
