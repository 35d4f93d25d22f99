from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from onnx import ModelProto

from edge_msa.models.student import Student
from edge_msa_calibrate.layers import find_layers
from edge_msa_export.build import build_graphs
from edge_msa_export.bundle.write import write_bundle
from edge_msa_export.int8_layers import Int8Layers, count_int8_layers, representative_keys
from edge_msa_export.request import ExportRequest
from edge_msa_runtime.bundle.loader import open_bundle
from edge_msa_runtime.bundle.manifest import GraphKey

Graphs = dict[GraphKey, ModelProto]
SCHEMES = ("ort-x86-vnni", "openvino-x86")


def heavy_tails(graphs: Graphs, *, keep: int) -> dict[str, dict[str, str]]:
    """Return the reason of each layer that stays in float: all but the first `keep` layers that could be int8."""
    (key,) = representative_keys(graphs)
    weights = [layer.weight for layer in find_layers(graphs[key]) if min(layer.in_channels, layer.out_channels) >= 16]
    return {scheme: dict.fromkeys(weights[keep:], "heavy tails") for scheme in SCHEMES}


@pytest.mark.case("F24")
def test_int8_layers_are_counted(student_graphs: Graphs, laptop_request: ExportRequest) -> None:
    assert laptop_request.ranges is not None
    (key,) = representative_keys(student_graphs)
    found = find_layers(student_graphs[key])
    total, narrow = len(found), sum(min(layer.in_channels, layer.out_channels) < 16 for layer in found)
    for keep in (0, 2):
        fp32_weights = heavy_tails(student_graphs, keep=keep)["openvino-x86"]
        layers = count_int8_layers(student_graphs, "openvino-x86", laptop_request.ranges, fp32_weights)
        assert (layers.int8, layers.total) == (keep, total)
        assert str(layers) == f"{keep} of {total} layers in int8"
        coarse = total - layers.narrow - keep
        assert (layers.narrow, layers.noisy) == (narrow, coarse)
        reasons = f"; in fp32: {narrow} with fewer than 16 channels, {coarse} where int8 is too coarse"
        assert layers.describe() == f"{layers}{reasons}"


def test_layers_that_all_are_int8_need_no_reasons() -> None:
    assert Int8Layers(4, 4).describe() == "4 of 4 layers in int8"
    assert Int8Layers(2, 4, noisy=1).describe().endswith("1 where int8 is too coarse, 1 without calibration samples")


@pytest.mark.case("F24")
def test_int8_without_an_int8_layer_is_not_offered(
    student: Student, student_graphs: Graphs, laptop_request: ExportRequest, tmp_path: Path
) -> None:
    request = replace(laptop_request, fp32_weights=heavy_tails(student_graphs, keep=0), precisions=("fp32", "int8"))
    graphs = build_graphs(student, request, tmp_path, student_graphs)
    assert {spec.precision for spec in graphs.specs} == {"fp32"}
    for backend in ("onnxruntime", "openvino"):
        assert re.fullmatch(r"0 of \d+ layers in int8, so .*", graphs.refused[backend, "int8"])


@pytest.mark.case("F24")
def test_a_bundle_names_a_partial_plan(
    student: Student, student_graphs: Graphs, laptop_request: ExportRequest, tmp_path: Path
) -> None:
    request = replace(laptop_request, fp32_weights=heavy_tails(student_graphs, keep=2), precisions=("fp32", "int8"))
    graphs = build_graphs(student, request, tmp_path / "graphs", student_graphs)
    precision = {"onnxruntime": "int8", "openvino": "fp32"}
    manifest = open_bundle(write_bundle(tmp_path / "bundle", graphs, request, precision, {})).manifest
    assert manifest.describe_precision("onnxruntime", "fp32") == "fp32"
    total = manifest.int8_layers["ort-x86-vnni"][1]
    assert manifest.describe_precision("onnxruntime", "int8") == f"int8: 2 of {total} layers"
    assert f"int8: 2 of {total} layers" in (tmp_path / "bundle/README.md").read_text()
