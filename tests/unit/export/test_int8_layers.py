from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from onnx import ModelProto

from edge_msa.models.student import Student
from edge_msa_calibrate.layers import find_layers
from edge_msa_calibrate.macs import count_macs
from edge_msa_export.build import build_graphs
from edge_msa_export.bundle.write import write_bundle
from edge_msa_export.int8_layers import Int8Layers, count_int8_layers, representative_keys
from edge_msa_export.request import ExportRequest
from edge_msa_runtime.bundle.loader import open_bundle
from edge_msa_runtime.bundle.manifest import GraphKey, Int8Share

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
        assert (layers.share.layers, layers.share.all_layers) == (keep, total)
        assert str(layers).startswith(f"int8 computes {keep} of {total} layers, ")
        kept = total - layers.narrow - keep
        assert (layers.narrow, layers.kept) == (narrow, kept)
        reasons = f"; in fp32: {narrow} with fewer than 16 channels, {kept} kept by the mixed-precision plan"
        assert layers.describe() == f"{layers}{reasons}"


def test_the_share_of_int8_operations_is_counted(student_graphs: Graphs, laptop_request: ExportRequest) -> None:
    assert laptop_request.ranges is not None
    (key,) = representative_keys(student_graphs)
    macs = count_macs(student_graphs[key])
    int8 = [layer for layer in find_layers(student_graphs[key]) if min(layer.in_channels, layer.out_channels) >= 16]
    shares = [
        count_int8_layers(student_graphs, "tensorrt", laptop_request.ranges, weights).share.macs
        for weights in ({}, {int8[0].weight: "sensitive"}, {layer.weight: "sensitive" for layer in int8})
    ]
    assert shares[0] == pytest.approx(sum(macs[layer.node] for layer in int8) / sum(macs.values()))
    assert shares[0] - shares[1] == pytest.approx(macs[int8[0].node] / sum(macs.values()))
    assert shares[2] == 0


def test_layers_that_all_are_int8_need_no_reasons() -> None:
    assert Int8Layers(Int8Share(4, 4, 0.997)).describe() == "int8 computes 4 of 4 layers, 99 % of MACs"
    reasons = "1 kept by the mixed-precision plan, 1 without calibration samples"
    assert Int8Layers(Int8Share(2, 4, 0.5), kept=1).describe().endswith(reasons)


@pytest.mark.case("F24")
def test_int8_without_an_int8_layer_is_not_offered(
    student: Student, student_graphs: Graphs, laptop_request: ExportRequest, tmp_path: Path
) -> None:
    request = replace(laptop_request, fp32_weights=heavy_tails(student_graphs, keep=0), precisions=("fp32", "int8"))
    graphs = build_graphs(student, request, tmp_path, student_graphs)
    assert {spec.precision for spec in graphs.specs} == {"fp32"}
    for backend in ("onnxruntime", "openvino"):
        assert re.fullmatch(r"int8 computes 0 of \d+ layers, .*, so .*", graphs.refused[backend, "int8"])


@pytest.mark.case("F24")
def test_a_bundle_names_a_partial_plan(
    student: Student, student_graphs: Graphs, laptop_request: ExportRequest, tmp_path: Path
) -> None:
    request = replace(laptop_request, fp32_weights=heavy_tails(student_graphs, keep=2), precisions=("fp32", "int8"))
    graphs = build_graphs(student, request, tmp_path / "graphs", student_graphs)
    precision = {"onnxruntime": "int8", "openvino": "fp32"}
    manifest = open_bundle(write_bundle(tmp_path / "bundle", graphs, request, precision, {})).manifest
    assert manifest.describe_precision("onnxruntime", "fp32") == "fp32"
    title = manifest.describe_precision("onnxruntime", "int8")
    share = manifest.int8["ort-x86-vnni"]
    assert re.fullmatch(rf"int8: 2 of {share.all_layers} layers, \d+ % of MACs", title)
    assert title in " ".join((tmp_path / "bundle/README.md").read_text().split())
