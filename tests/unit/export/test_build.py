from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from onnx import ModelProto

from edge_msa.models.student import Student
from edge_msa_export.build import GraphSet, build_graphs
from edge_msa_export.errors import ExportError
from edge_msa_export.graphs.student import STREAM_BATCH
from edge_msa_export.request import ExportRequest
from edge_msa_runtime.bundle.manifest import WEIGHTS_NAME, GraphKey
from edge_msa_runtime.modalities import Subset
from tests.unit.export.students import DIMS


def test_fp32_graphs_reproduce_torch(laptop_graphs: GraphSet, jetson_graphs: GraphSet) -> None:
    for spec in (*laptop_graphs.specs, *jetson_graphs.specs):
        assert spec.parity < (1e-5 if spec.precision == "fp32" else 1.0)


def test_every_variant_has_every_graph(laptop_graphs: GraphSet) -> None:
    batches = {*(GraphKey.step(name, STREAM_BATCH) for name in DIMS), GraphKey.fuse(DIMS, STREAM_BATCH)}
    keys = {*map(GraphKey.step, DIMS), GraphKey.fuse(DIMS), *map(GraphKey.window, Subset), *batches}
    variants = {(spec.backend, spec.precision) for spec in laptop_graphs.specs}
    assert variants == {
        ("openvino", "fp32"),
        ("openvino", "fp16"),
        ("openvino", "int8"),
        ("onnxruntime", "fp32"),
        ("onnxruntime", "int8"),
    }
    for variant in variants:
        assert {spec.key for spec in laptop_graphs.specs if (spec.backend, spec.precision) == variant} == keys


def test_backends_with_the_same_graph_share_one_file(jetson_graphs: GraphSet) -> None:
    files = {(spec.backend, spec.precision, spec.key): spec.file for spec in jetson_graphs.specs}
    key = GraphKey.window(Subset.LAV)
    assert files["tensorrt", "fp32", key] == files["onnxruntime", "fp32", key]
    weights = {(spec.backend, spec.precision): spec.weights for spec in jetson_graphs.specs}
    assert weights["tensorrt", "fp32"] == weights["onnxruntime", "fp32"] == f"graphs/onnx/fp32/{WEIGHTS_NAME}"
    assert len(set(weights.values())) == 4  # fp32, fp16, and int8 for each of the two quantization schemes


def test_tensorrt_gets_no_graphs_for_several_streams(jetson_graphs: GraphSet) -> None:
    batches = {(spec.backend, spec.key.batch) for spec in jetson_graphs.specs}
    assert batches == {("tensorrt", 1), ("onnxruntime", 1), ("onnxruntime", STREAM_BATCH)}


@pytest.mark.slow
def test_graphs_for_several_streams_are_exported_if_they_are_missing(
    student: Student, laptop_request: ExportRequest, student_graphs: dict[GraphKey, ModelProto], tmp_path: Path
) -> None:
    single = {key: graph for key, graph in student_graphs.items() if key.batch == 1}
    request = replace(laptop_request, precisions=("fp32",))
    built = build_graphs(student, request, tmp_path, single)
    assert {spec.key for spec in built.specs} == set(student_graphs)


def test_int8_graphs_differ_by_quantization_scheme(laptop_graphs: GraphSet, jetson_graphs: GraphSet) -> None:
    schemes = {spec.scheme for spec in (*laptop_graphs.specs, *jetson_graphs.specs) if spec.precision == "int8"}
    assert schemes == {"openvino-x86", "ort-x86-vnni", "tensorrt", "ort-arm"}


@pytest.mark.case("F9")
def test_float16_for_tensorrt_is_measured_in_float16(jetson_graphs: GraphSet) -> None:
    assert jetson_graphs.measured_by == {
        "tensorrt": {"fp32": "onnxruntime", "fp16": "onnx-reference", "int8": "onnxruntime"},
        "onnxruntime": {"fp32": "onnxruntime", "int8": "onnxruntime"},
    }


def test_precision_with_non_finite_predictions_is_refused(
    student: Student,
    laptop_request: ExportRequest,
    student_graphs: dict[GraphKey, ModelProto],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from edge_msa_export.graphs import writer

    def to_nan(model: ModelProto, **_: object) -> ModelProto:
        result = ModelProto()
        result.CopyFrom(model)
        for tensor in result.graph.initializer:
            if tensor.name.startswith("fusion.") and tensor.name.endswith("weight"):
                tensor.raw_data = b"\xff" * len(tensor.raw_data)
        return result

    monkeypatch.setattr(writer, "compress_weights", to_nan)
    request = replace(laptop_request, precisions=("fp32", "fp16"))
    graphs = build_graphs(student, request, tmp_path, student_graphs)
    assert {spec.precision for spec in graphs.specs} == {"fp32"}
    assert "graph returns a prediction that is not finite" in graphs.refused["openvino", "fp16"]


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("normalization", "normalization of audio must have 5 values"),
        ("golden_samples", "must have one sample per subset, missing: l"),
        ("chunks", "chunks must have an entry for language"),
        ("task", "must have 1 outputs, as the student, got 4"),
    ],
)
def test_request_that_does_not_fit_the_student_is_an_error(
    student: Student, laptop_request: ExportRequest, tmp_path: Path, field: str, message: str
) -> None:
    normalization = dict(laptop_request.normalization)
    normalization["audio"] = normalization["vision"]
    values: dict[str, Any] = {
        "normalization": normalization,
        "golden_samples": laptop_request.golden_samples[1:],
        "chunks": {"audio": 2},
        "task": replace(laptop_request.task, outputs=4),
    }
    with pytest.raises(ExportError, match=message):
        build_graphs(student, replace(laptop_request, **{field: values[field]}), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.case("D3")
def test_a_precision_beyond_the_tolerance_of_the_runtime_is_left_out(
    student: Student,
    laptop_request: ExportRequest,
    student_graphs: dict[GraphKey, ModelProto],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "edge_msa_export.build.largest_tolerance", lambda precision, *_: 1e-9 if precision == "fp16" else 1.0
    )
    request = replace(laptop_request, precisions=("fp32", "fp16"))
    graphs = build_graphs(student, request, tmp_path, student_graphs)
    assert {spec.precision for spec in graphs.specs} == {"fp32"}
    (reason,) = graphs.refused.values()
    assert re.search(r"differs from torch by \S+ on a golden sample, more than the allowed 5e-10", reason)


def test_fp32_beyond_the_tolerance_of_the_runtime_is_an_error(
    student: Student,
    laptop_request: ExportRequest,
    student_graphs: dict[GraphKey, ModelProto],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edge_msa_export.build.largest_tolerance", lambda *_: 1e-9)
    request = replace(laptop_request, precisions=("fp32",))
    with pytest.raises(ExportError, match=r"fp32 is not available for openvino: .* cannot be exported faithfully"):
        build_graphs(student, request, tmp_path, student_graphs)
