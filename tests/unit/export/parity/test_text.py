"""Bundles with a text model: parity, and predictions of the runtime from text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from tokenizers import Tokenizer

import edge_msa_runtime
from edge_msa.models.student import Student
from edge_msa_export.build import GraphSet, build_graphs
from edge_msa_export.bundle.write import write_bundle, write_candidate
from edge_msa_export.errors import ExportError
from edge_msa_export.profiles import find_profile
from edge_msa_export.request import ExportRequest
from edge_msa_export.text import TextGraph, TextTable
from edge_msa_runtime.bundle.loader import open_bundle
from edge_msa_runtime.bundle.manifest import GraphKey
from edge_msa_runtime.modalities import Subset
from edge_msa_runtime.verification import verify_bundle
from tests.unit.export.students import TEXT

Graphs = dict[GraphKey, onnx.ModelProto]


def prediction_scale(graphs: GraphSet) -> float:
    """Return the largest magnitude of a golden prediction."""
    arrays = (values for name, values in graphs.golden.items() if name.endswith("/prediction"))
    return max(float(np.abs(values).max()) for values in arrays)


@pytest.mark.parametrize("kind", ["text_table", "text_encoder"])
def test_text_bundle_passes_verification_at_every_precision(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    graphs = request.getfixturevalue(f"{kind}_graph_set")
    folder = write_candidate(tmp_path / "bundle", graphs, request.getfixturevalue(f"{kind}_request"))
    bundle = open_bundle(folder)
    for backend in bundle.manifest.backends:
        for precision in bundle.precisions(backend):
            assert verify_bundle(folder, backend, precision).passed
    with edge_msa_runtime.load(folder) as session:
        golden = float(graphs.golden["l/prediction"][0])
        assert session.predict(text=TEXT).score == pytest.approx(golden, abs=0.02)


def test_language_has_a_window_graph_for_shorter_texts(text_table_graph_set: GraphSet) -> None:
    keys = {spec.key for spec in text_table_graph_set.specs if spec.key.role == "window"}
    assert keys == {GraphKey.window(Subset.L, 16), *map(GraphKey.window, (Subset.L, Subset.A, Subset.LA))}


def test_int8_table_has_a_small_parity(text_table_graph_set: GraphSet) -> None:
    assert text_table_graph_set.language is not None
    assert 0 < text_table_graph_set.language.parity < 0.1 * prediction_scale(text_table_graph_set)
    with np.load(text_table_graph_set.root / text_table_graph_set.language.table) as table:
        assert table["rows"].dtype == np.int8
    limit = 1e-5 * prediction_scale(text_table_graph_set)
    assert all(spec.parity < limit for spec in text_table_graph_set.specs if spec.precision == "fp32")


def test_written_tokenizer_is_compact_and_equivalent(text_table_graph_set: GraphSet, text_table: TextTable) -> None:
    assert text_table_graph_set.language is not None
    compact = (text_table_graph_set.root / text_table_graph_set.language.tokenizer).read_text("utf-8")
    assert len(compact) < len(text_table.tokenizer)
    assert Tokenizer.from_str(compact).encode(TEXT).ids == Tokenizer.from_str(text_table.tokenizer).encode(TEXT).ids


def test_text_encoder_graphs_reproduce_torch_at_every_length(text_encoder_graph_set: GraphSet) -> None:
    specs = [spec for spec in text_encoder_graph_set.specs if spec.key.role == "text_encoder"]
    assert {spec.key.length for spec in specs} == {16, 20}
    scale = prediction_scale(text_encoder_graph_set)
    assert all(spec.parity < (1e-5 if spec.precision == "fp32" else 0.1) * scale for spec in specs)


def test_text_encoder_graphs_share_their_embeddings(text_encoder_graph_set: GraphSet, text_encoder: TextGraph) -> None:
    specs = text_encoder_graph_set.specs
    (weights,) = {spec.weights for spec in specs if (spec.backend, spec.precision) == ("onnxruntime", "fp32")}
    embeddings = text_encoder.module.get_submodule("words").weight.detach().numpy().tobytes()  # type: ignore[operator]
    assert (text_encoder_graph_set.root / weights).read_bytes().count(embeddings) == 1


@pytest.mark.parametrize(("target", "is_whole"), [("jetson-xavier-nx", False), ("jetson-orin-nano", True)])
def test_text_encoder_for_a_jetson_has_supported_layer_norms(
    target: str,
    *,
    is_whole: bool,
    text_student: Student,
    text_student_graphs: Graphs,
    text_encoder_graphs: Graphs,
    text_encoder_request: ExportRequest,
    tmp_path: Path,
) -> None:
    request = replace(text_encoder_request, profile=find_profile(target))
    graphs = build_graphs(text_student, request, tmp_path, {**text_student_graphs, **text_encoder_graphs})
    folder = write_bundle(tmp_path / "b", graphs, request, {"tensorrt": "fp16", "onnxruntime": "int8"}, {})
    assert verify_bundle(folder, "onnxruntime").passed
    specs = [spec for spec in graphs.specs if spec.key.role == "text_encoder"]
    assert all(spec.parity < 1e-5 * prediction_scale(graphs) for spec in specs if spec.precision == "fp32")
    for spec in specs:
        if spec.backend == "tensorrt":
            model = onnx.load(tmp_path / spec.file, load_external_data=False)
            assert ("LayerNormalization" in {node.op_type for node in model.graph.node}) == is_whole


def change_table(request: ExportRequest, change: Callable[[TextTable], TextTable]) -> ExportRequest:
    assert isinstance(request.text_model, TextTable)
    return replace(request, text_model=change(request.text_model))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: replace(table, tokenizer="no"), "The tokenizer must be JSON"),
        (lambda table: replace(table, tokenizer="{}"), "tokenizer"),
        (lambda table: replace(table, rows=table.rows[:6]), "the table has 6 rows"),
        (lambda table: replace(table, rows=table.rows[:, :3]), "must return 16 features per frame .*, got 3"),
        (lambda table: replace(table, rows=table.rows + 1), "must be the output of the text model"),
    ],
)
def test_text_table_that_does_not_fit_is_an_error(
    text_student: Student,
    text_table_request: ExportRequest,
    tmp_path: Path,
    change: Callable[[TextTable], TextTable],
    message: str,
) -> None:
    with pytest.raises(ExportError, match=message):
        build_graphs(text_student, change_table(text_table_request, change), tmp_path, {})


def test_tokenizer_that_joins_words_is_an_error(
    text_student: Student, text_table_request: ExportRequest, word_joining_tokenizer_json: str, tmp_path: Path
) -> None:
    request = change_table(text_table_request, lambda table: replace(table, tokenizer=word_joining_tokenizer_json))
    with pytest.raises(ExportError, match="when its words arrive one by one"):
        build_graphs(text_student, request, tmp_path, {})


def test_text_model_without_golden_text_is_an_error(
    text_student: Student, text_table_request: ExportRequest, tmp_path: Path
) -> None:
    samples = [replace(sample, text=None) for sample in text_table_request.golden_samples]
    with pytest.raises(ExportError, match="At least one golden sample must have a text"):
        build_graphs(text_student, replace(text_table_request, golden_samples=samples), tmp_path, {})
