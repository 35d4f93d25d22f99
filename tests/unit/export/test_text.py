"""Bundles that read words, made of toy tokenizers, tables and encoders, and read by the device's own runtime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor, nn

import edge_msa_runtime
from edge_msa.models.student import Student, StudentConfig
from edge_msa_export.build import GraphSet, build_graphs
from edge_msa_export.bundle.write import write_bundle, write_candidate
from edge_msa_export.errors import ExportError
from edge_msa_export.graphs.text_encoder import export_text_encoders, torch_frames
from edge_msa_export.profiles import profile_named
from edge_msa_export.request import ExportRequest, GoldenSample, Normalization
from edge_msa_export.text import TextGraph, TextTable, buckets, int8_rows
from edge_msa_runtime.bundle.loader import open_bundle
from edge_msa_runtime.bundle.manifest import GraphKey, TaskSpec
from edge_msa_runtime.modalities import Subset
from edge_msa_runtime.verification import verify_bundle

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "i", "love", "it", "hate", "film", "##s", "not", "the", "!"]
TEXT = "I love the films, not it!"
WIDTH, MAX_TOKENS = 16, 20


def _tokenizer(*, joins: bool = False) -> str:
    made = Tokenizer(models.WordPiece({word: index for index, word in enumerate(VOCABULARY)}, unk_token=VOCABULARY[1]))
    made.normalizer = normalizers.Replace("love the", "hate") if joins else normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 2), ("[SEP]", 3)])
    return made.to_str(pretty=True)


class Encoder(nn.Module):
    """One layer of a transformer: embeddings, attention that minds the mask, a normalization, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(300, WIDTH)
        self.query, self.out = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.norm = nn.LayerNorm(WIDTH, eps=1e-12)

    def forward(self, ids: Tensor, valid: Tensor) -> Tensor:
        embedded = self.words(ids)
        scores = self.query(embedded) @ embedded.transpose(1, 2) + (valid[:, None, :] - 1) * 1e4
        mixed = self.norm(embedded + torch.softmax(scores, dim=2) @ embedded)
        return nn.functional.gelu(self.out(mixed))


@pytest.fixture(scope="module")
def language_student() -> Student:
    torch.manual_seed(5)
    config = StudentConfig({"language": WIDTH, "audio": 5}, width=16, blocks=2, tokens=2, hidden=8)
    return Student(config).eval()


@pytest.fixture(scope="module")
def table() -> TextTable:
    return TextTable(_tokenizer(), np.random.default_rng(0).normal(size=(13, WIDTH)).astype("f4"), MAX_TOKENS)


@pytest.fixture(scope="module")
def encoder() -> TextGraph:
    torch.manual_seed(6)
    return TextGraph(_tokenizer(), Encoder().eval(), WIDTH, MAX_TOKENS)


def _request(text: TextTable | TextGraph, frames: np.ndarray, target: str = "laptop-x86") -> ExportRequest:
    audio = np.random.default_rng(1).normal(size=(9, 5)).astype("f4")
    every = {"language": frames, "audio": audio}
    dims = {"language": WIDTH, "audio": 5}
    golden = [
        GoldenSample(subset, {name: every[name] for name in subset.modalities}, TEXT if "l" in subset.value else None)
        for subset in (Subset.L, Subset.A, Subset.LA)
    ]
    layers = [
        f"encoders.{name}.{layer}.weight" for name in dims for layer in ("embed", "blocks.0", "blocks.1", "score")
    ]
    return ExportRequest(
        name="words",
        profile=profile_named(target),
        task=TaskSpec("regression", 1),
        normalization={name: Normalization((0.0,) * dim, (1.0,) * dim) for name, dim in dims.items()},
        chunks={"language": 4, "audio": 5},
        windows={"language": MAX_TOKENS, "audio": 12},
        golden=golden,
        provenance={},
        license="MIT",
        ranges={f"{layer}:{side}": (-4.0, 4.0) for layer in layers for side in ("input", "output")},
        text=text,
    )


def _rows(table: TextTable) -> np.ndarray:
    ids = Tokenizer.from_str(table.tokenizer).encode(TEXT, add_special_tokens=False).ids
    return table.rows[ids]


def _encoded(text: TextGraph) -> np.ndarray:
    return torch_frames(text, Tokenizer.from_str(text.tokenizer).encode(TEXT).ids)


@pytest.fixture(scope="module")
def table_graphs(
    language_student: Student, table: TextTable, tmp_path_factory: pytest.TempPathFactory
) -> tuple[GraphSet, ExportRequest]:
    request = _request(table, _rows(table))
    return build_graphs(language_student, request, tmp_path_factory.mktemp("table")), request


@pytest.fixture(scope="module")
def encoder_graphs(
    language_student: Student, encoder: TextGraph, tmp_path_factory: pytest.TempPathFactory
) -> tuple[GraphSet, ExportRequest]:
    request = _request(encoder, _encoded(encoder))
    return build_graphs(language_student, request, tmp_path_factory.mktemp("graph")), request


def test_rows_come_back_from_int8_within_half_a_step() -> None:
    rows = np.random.default_rng(2).normal(size=(20, 8)).astype("f4")
    rows[3] = 0
    integers, scales = int8_rows(rows)
    assert (np.abs(integers * scales[:, None] - rows) <= scales[:, None] * 0.5001).all()
    assert (integers[3] == 0).all()


@pytest.mark.parametrize(
    ("longest", "found"), [(9, (9,)), (16, (16,)), (50, (16, 32, 50)), (200, (16, 32, 64, 128, 200))]
)
def test_lengths_end_with_the_longest(longest: int, found: tuple[int, ...]) -> None:
    assert buckets(longest) == found


@pytest.mark.parametrize("which", ["table_graphs", "encoder_graphs"])
def test_a_bundle_of_words_verifies_whole_and_streamed_at_every_precision(
    request: pytest.FixtureRequest, tmp_path: Path, which: str
) -> None:
    graphs, asked = request.getfixturevalue(which)
    folder = write_candidate(tmp_path / "bundle", graphs, asked)
    bundle = open_bundle(folder)
    for backend in bundle.manifest.backends:
        for precision in bundle.precisions(backend):
            assert verify_bundle(folder, backend, precision).passed
    with edge_msa_runtime.load(folder) as session:
        golden = float(graphs.golden["l/prediction"][0])
        assert session.predict(text=TEXT).score == pytest.approx(golden, abs=0.02)
        assert "[openvino,text]" in (folder / "README.md").read_text("utf-8")


def test_language_has_a_window_graph_for_shorter_texts(table_graphs: tuple[GraphSet, ExportRequest]) -> None:
    keys = {spec.key for spec in table_graphs[0].specs if spec.key.role == "window"}
    assert keys == {
        GraphKey.window(Subset.L, 16),
        *(GraphKey.window(subset) for subset in (Subset.L, Subset.A, Subset.LA)),
    }


def test_a_table_is_a_fraction_of_its_floats_and_its_part_in_a_prediction_is_told(
    table_graphs: tuple[GraphSet, ExportRequest], table: TextTable
) -> None:
    graphs, _ = table_graphs
    assert graphs.language is not None
    assert 0 < graphs.language.parity < 0.02
    with np.load(graphs.root / graphs.language.table) as stored:
        assert stored["rows"].dtype == np.int8
    compact = (graphs.root / graphs.language.tokenizer).read_text("utf-8")
    assert len(compact) < len(table.tokenizer)
    assert Tokenizer.from_str(compact).encode(TEXT).ids == Tokenizer.from_str(table.tokenizer).encode(TEXT).ids
    assert all(spec.parity < 1e-5 for spec in graphs.specs if spec.precision == "fp32")


def test_an_encoder_s_graphs_read_as_torch_at_every_length(
    encoder_graphs: tuple[GraphSet, ExportRequest], encoder: TextGraph
) -> None:
    graphs, _ = encoder_graphs
    text_encoders = [spec for spec in graphs.specs if spec.key.role == "text_encoder"]
    assert {spec.key.length for spec in text_encoders} == {16, 20}
    assert all(spec.parity < (1e-5 if spec.precision == "fp32" else 0.05) for spec in text_encoders)
    weights = {spec.weights for spec in graphs.specs if (spec.backend, spec.precision) == ("onnxruntime", "fp32")}
    assert len(weights) == 1
    table = encoder.module.words.weight.detach().numpy().tobytes()
    assert (graphs.root / weights.pop()).read_bytes().count(table) == 1


def test_an_encoder_s_weights_have_names_that_calibration_finds(encoder: TextGraph) -> None:
    graph = export_text_encoders(encoder)[GraphKey.text_encoder(16)].graph
    names = {tensor.name for tensor in graph.initializer}
    assert {
        "text_encoder.words.weight",
        "text_encoder.query.weight",
        "text_encoder.out.weight",
        "text_encoder.out.bias",
    } <= names
    read = {name for node in graph.node if node.op_type in ("MatMul", "Gemm") for name in node.input}
    assert {"text_encoder.query.weight", "text_encoder.out.weight"} <= read


@pytest.mark.parametrize(("target", "whole"), [("jetson-xavier-nx", False), ("jetson-orin-nano", True)])
def test_a_board_gets_the_layer_normalization_that_its_tensorrt_reads(
    target: str, *, whole: bool, language_student: Student, encoder: TextGraph, tmp_path: Path
) -> None:
    request = _request(encoder, _encoded(encoder), target)
    graphs = build_graphs(language_student, request, tmp_path)
    folder = write_bundle(tmp_path / "b", graphs, request, {"tensorrt": "fp16", "onnxruntime": "int8"}, {})
    assert verify_bundle(folder, "onnxruntime").passed
    assert all(
        spec.parity < 1e-5 for spec in graphs.specs if (spec.key.role, spec.precision) == ("text_encoder", "fp32")
    )
    for spec in graphs.specs:
        if spec.key.role == "text_encoder" and spec.backend == "tensorrt":
            stored = onnx.load(tmp_path / spec.file, load_external_data=False)
            assert ("LayerNormalization" in {node.op_type for node in stored.graph.node}) == whole


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda request: replace(request, text=replace(request.text, tokenizer="no")), "the tokenizer is no JSON"),
        (lambda request: replace(request, text=replace(request.text, tokenizer="{}")), "is not a tokenizer"),
        (lambda request: replace(request, text=replace(request.text, tokenizer=_tokenizer(joins=True))), "one by one"),
        (
            lambda request: replace(request, text=replace(request.text, rows=request.text.rows[:6])),
            "the table has 6 rows",
        ),
        (
            lambda request: replace(request, text=replace(request.text, rows=request.text.rows[:, :3])),
            "gives 3 features",
        ),
        (
            lambda request: replace(request, text=replace(request.text, rows=request.text.rows + 1)),
            "not those of their",
        ),
        (
            lambda request: replace(request, golden=[replace(sample, text=None) for sample in request.golden]),
            "no golden sample has a text",
        ),
    ],
)
def test_words_that_do_not_fit_are_refused(
    language_student: Student,
    table_graphs: tuple[GraphSet, ExportRequest],
    tmp_path: Path,
    spoil: Callable[[ExportRequest], ExportRequest],
    said: str,
) -> None:
    with pytest.raises(ExportError, match=said):
        build_graphs(language_student, spoil(table_graphs[1]), tmp_path, {})


def test_what_cannot_be_a_table_or_a_limit_is_refused(table: TextTable, encoder: TextGraph) -> None:
    with pytest.raises(ExportError, match="finite rows"):
        replace(table, rows=np.full((3, 2), np.nan, np.float32))
    with pytest.raises(ExportError, match="max_tokens is 0"):
        replace(encoder, max_tokens=0)
    with pytest.raises(ExportError, match=r"gives \(1, 16, 16\) for 16 tokens"):
        export_text_encoders(replace(encoder, dim=7))
