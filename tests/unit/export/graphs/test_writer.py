from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from edge_msa_export.errors import ExportError, LintError
from edge_msa_export.graphs.writer import GraphWriter, prepare_graph
from edge_msa_export.lint import NOTE, LintTarget, lint
from edge_msa_export.profiles import find_profile, load_profiles
from edge_msa_export.request import ExportRequest, list_variants
from edge_msa_runtime.bundle.manifest import GraphKey
from tests.unit.export.onnx_models import make_model
from tests.unit.export.students import DIMS

TENSORRT_TARGETS = [profile.name for profile in load_profiles().values() if profile.tensorrt]
Graphs = dict[GraphKey, onnx.ModelProto]


@pytest.fixture
def layer_norm() -> onnx.ModelProto:
    constants = {"w": np.ones(8, np.float32), "b": np.zeros(8, np.float32)}
    return make_model([helper.make_node("LayerNormalization", ["x", "w", "b"], ["y"], epsilon=1e-12)], constants)


@pytest.mark.parametrize("name", TENSORRT_TARGETS)
def test_student_has_only_notes_for_every_tensorrt_target(
    name: str, jetson_request: ExportRequest, student_graphs: Graphs, tmp_path: Path
) -> None:
    request = replace(jetson_request, profile=find_profile(name))
    writer = GraphWriter(tmp_path, request)
    for variant in list_variants(request):
        target = LintTarget.from_profile(request.profile, variant.backend)
        for file in writer.write(variant, student_graphs).values():
            written = onnx.load(tmp_path / file.file)
            assert {finding.severity for finding in lint(written, target)} <= {NOTE}
    assert {finding.severity for finding in writer.findings} <= {NOTE}


@pytest.mark.parametrize("name", TENSORRT_TARGETS)
def test_layer_norm_stays_whole_where_tensorrt_supports_it(
    name: str, jetson_request: ExportRequest, layer_norm: onnx.ModelProto
) -> None:
    request = replace(jetson_request, profile=find_profile(name), precisions=("fp32", "fp16"))
    target = LintTarget.from_profile(request.profile, "tensorrt")
    for variant in list_variants(request):
        prepared = prepare_graph(variant, layer_norm, request)
        operators = [node.op_type for node in prepared.graph.node]
        assert ("LayerNormalization" in operators) == (target.version >= (8, 6))
        assert {finding.severity for finding in lint(prepared, target)} <= {NOTE}


def test_graph_for_a_later_version_does_not_run_on_an_earlier_one(
    jetson_request: ExportRequest, layer_norm: onnx.ModelProto
) -> None:
    for variant in list_variants(replace(jetson_request, precisions=("fp32", "fp16"))):
        prepared = prepare_graph(variant, layer_norm, jetson_request)
        assert {finding.rule for finding in lint(prepared, LintTarget("tensorrt", (8, 5)))} == {"operator"}


def test_operator_that_the_target_lacks_stops_the_export(jetson_request: ExportRequest, tmp_path: Path) -> None:
    request = replace(jetson_request, precisions=("fp32",))
    variant = list_variants(request)[0]
    graphs = {GraphKey.fuse(DIMS): make_model([helper.make_node("Hardmax", ["x"], ["y"], name="h")])}
    writer = GraphWriter(tmp_path, replace(request, profile=find_profile("jetson-xavier-nx")))
    message = r"does not run on TensorRT 8\.5\.2\.2: operator: Hardmax h: .*; it was added in 9\.2"
    with pytest.raises(ExportError, match=message):
        writer.write(variant, graphs)
    assert GraphWriter(tmp_path, request).write(variant, graphs)


def test_dla_is_checked_on_request(jetson_request: ExportRequest, student_graphs: Graphs, tmp_path: Path) -> None:
    request = replace(
        jetson_request, profile=find_profile("jetson-orin-nx"), check_dla=True, precisions=("fp32", "fp16")
    )
    writer = GraphWriter(tmp_path, request)
    for variant in list_variants(request):
        writer.write(variant, student_graphs)
    assert {finding.rule for finding in writer.findings} >= {"dla-operator", "dla-precision"}


def test_checking_the_dla_of_a_board_without_one_is_an_error(
    jetson_request: ExportRequest, student_graphs: Graphs, tmp_path: Path
) -> None:
    writer = GraphWriter(tmp_path, replace(jetson_request, check_dla=True))
    with pytest.raises(LintError, match="has no DLA"):
        writer.write(list_variants(jetson_request)[0], student_graphs)
