"""A student's graphs for every shipped target, held against the rules of exactly its TensorRT."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from edge_msa_export.bundle.graph_writer import Writer, lowered_for
from edge_msa_export.errors import ExportError
from edge_msa_export.lint import NOTE, LintTarget, lint
from edge_msa_export.profiles import load_profiles, profile_named
from edge_msa_export.request import ExportRequest, variants_of
from edge_msa_runtime.bundle.manifest import GraphKey
from edge_msa_runtime.modalities import MODALITIES
from tests.unit.export.graphs import model

TARGETS = [profile.name for profile in load_profiles().values() if profile.tensorrt]


@pytest.mark.parametrize("name", TARGETS)
def test_a_student_is_clean_for_a_target(
    name: str, request_for_jetson: ExportRequest, graphs: dict[GraphKey, onnx.ModelProto], tmp_path: Path
) -> None:
    request = replace(request_for_jetson, profile=profile_named(name))
    writer = Writer(tmp_path, request)
    for variant in variants_of(request):
        written = writer.write(variant, graphs)
        for file in written.values():
            stored = onnx.load(tmp_path / file.file)  # as it lies there, under its short names
            assert {finding.severity for finding in lint(stored, LintTarget.of(request.profile, variant.backend))} <= {
                NOTE
            }
    assert {finding.severity for finding in writer.findings} <= {NOTE}


def normed() -> onnx.ModelProto:
    """What an encoder of words has."""
    constants = {"w": np.ones(8, np.float32), "b": np.zeros(8, np.float32)}
    return model([helper.make_node("LayerNormalization", ["x", "w", "b"], ["y"], epsilon=1e-12)], constants)


@pytest.mark.parametrize("name", TARGETS)
def test_layer_normalization_is_whole_where_the_version_reads_it(name: str, request_for_jetson: ExportRequest) -> None:
    request = replace(request_for_jetson, profile=profile_named(name), precisions=("fp32", "fp16"))
    lint_target = LintTarget.of(request.profile, "tensorrt")
    for variant in variants_of(request):
        lowered = lowered_for(variant, normed(), request)
        kinds = [node.op_type for node in lowered.graph.node]
        assert ("LayerNormalization" in kinds) == (lint_target.version >= (8, 6))
        assert {finding.severity for finding in lint(lowered, lint_target)} <= {NOTE}


def test_a_graph_for_a_later_version_is_refused_by_an_earlier_one(request_for_jetson: ExportRequest) -> None:
    for variant in variants_of(replace(request_for_jetson, precisions=("fp32", "fp16"))):
        lowered = lowered_for(variant, normed(), request_for_jetson)
        assert {finding.rule for finding in lint(lowered, LintTarget("tensorrt", (8, 5)))} == {"operator"}


def test_an_operator_that_the_target_lacks_stops_the_export(request_for_jetson: ExportRequest, tmp_path: Path) -> None:
    request = replace(request_for_jetson, precisions=("fp32",))
    broken = model([helper.make_node("Hardmax", ["x"], ["y"], name="h")])
    writer = Writer(tmp_path, replace(request, profile=profile_named("jetson-xavier-nx")))
    with pytest.raises(ExportError, match=r"not fit for TensorRT 8\.5\.2\.2: operator: Hardmax h.* 9\.2 is the first"):
        writer.write(variants_of(request)[0], {GraphKey.fuse(MODALITIES): broken})
    assert Writer(tmp_path, request).write(variants_of(request)[0], {GraphKey.fuse(MODALITIES): broken})


def test_a_dla_is_looked_at_where_it_is_asked_for(
    request_for_jetson: ExportRequest, graphs: dict[GraphKey, onnx.ModelProto], tmp_path: Path
) -> None:
    request = replace(
        request_for_jetson, profile=profile_named("jetson-orin-nx"), dla=True, precisions=("fp32", "fp16")
    )
    writer = Writer(tmp_path, request)
    for variant in variants_of(request):
        writer.write(variant, graphs)
    assert {finding.rule for finding in writer.findings} >= {"dla-operator", "dla-precision"}
    with pytest.raises(ExportError, match="has no DLA"):
        Writer(tmp_path, replace(request_for_jetson, dla=True)).write(variants_of(request_for_jetson)[0], graphs)
