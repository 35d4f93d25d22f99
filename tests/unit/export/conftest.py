"""Tiny students, their graphs and their bundles, made once per session: an export takes about a second per graph."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor, nn

from edge_msa.models.student import Student, StudentConfig
from edge_msa_export.build import GraphSet, build_graphs
from edge_msa_export.bundle.write import write_candidate
from edge_msa_export.graphs.student import export_student
from edge_msa_export.graphs.text_encoder import encode_with_torch, export_text_encoders
from edge_msa_export.normalization import Normalization
from edge_msa_export.profiles import find_profile
from edge_msa_export.request import ExportRequest, GoldenSample
from edge_msa_export.text import TextGraph, TextTable
from edge_msa_runtime.bundle.manifest import GraphKey
from edge_msa_runtime.modalities import Subset
from tests.unit.export.students import (
    CHUNKS,
    DIMS,
    MAX_TOKENS,
    NORMALIZATION,
    TEXT,
    TEXT_WIDTH,
    WINDOWS,
    make_frames,
    make_request,
)

Graphs = dict[GraphKey, onnx.ModelProto]

TEXT_DIMS = {"language": TEXT_WIDTH, "audio": 5}
TEXT_NORMALIZATION = {name: Normalization.identity(dim) for name, dim in TEXT_DIMS.items()}
TEXT_CHUNKS = {"language": 4, "audio": 5}
TEXT_WINDOWS = {"language": MAX_TOKENS, "audio": 12}
VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "i", "love", "it", "hate", "film", "##s", "not", "the", "!")


@pytest.fixture
def empty_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def student() -> Student:
    torch.manual_seed(7)
    return Student(
        StudentConfig(DIMS, width=16, blocks=2, tokens=2, hidden=8, gap_frames=("language", "vision"))
    ).eval()


@pytest.fixture(scope="session")
def student_graphs(student: Student) -> Graphs:
    return export_student(student, NORMALIZATION, CHUNKS, WINDOWS)


@pytest.fixture(scope="session")
def laptop_request() -> ExportRequest:
    rng = np.random.default_rng(3)
    lengths = {"language": 11, "audio": 17, "vision": 9}
    golden_samples = [
        GoldenSample(subset, {name: make_frames(rng, lengths[name], DIMS[name]) for name in subset.modalities})
        for subset in Subset
    ]
    return make_request(golden_samples, DIMS, CHUNKS, WINDOWS, "laptop-x86")


@pytest.fixture(scope="session")
def laptop_graphs(
    student: Student,
    laptop_request: ExportRequest,
    student_graphs: Graphs,
    tmp_path_factory: pytest.TempPathFactory,
) -> GraphSet:
    return build_graphs(student, laptop_request, tmp_path_factory.mktemp("laptop"), student_graphs)


@pytest.fixture(scope="session")
def laptop_candidate(
    laptop_graphs: GraphSet, laptop_request: ExportRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return write_candidate(tmp_path_factory.mktemp("candidates") / "laptop", laptop_graphs, laptop_request)


@pytest.fixture(scope="session")
def jetson_request(laptop_request: ExportRequest) -> ExportRequest:
    return replace(laptop_request, profile=find_profile("jetson"))


@pytest.fixture(scope="session")
def jetson_graphs(
    student: Student,
    jetson_request: ExportRequest,
    student_graphs: Graphs,
    tmp_path_factory: pytest.TempPathFactory,
) -> GraphSet:
    return build_graphs(student, jetson_request, tmp_path_factory.mktemp("jetson"), student_graphs)


@pytest.fixture(scope="session")
def jetson_candidate(
    jetson_graphs: GraphSet, jetson_request: ExportRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return write_candidate(tmp_path_factory.mktemp("candidates") / "jetson", jetson_graphs, jetson_request)


class TinyTextEncoder(nn.Module):
    """One transformer layer: embeddings, masked attention, a normalization and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(300, TEXT_WIDTH)
        self.query, self.out = nn.Linear(TEXT_WIDTH, TEXT_WIDTH), nn.Linear(TEXT_WIDTH, TEXT_WIDTH)
        self.norm = nn.LayerNorm(TEXT_WIDTH, eps=1e-12)

    def forward(self, ids: Tensor, valid: Tensor) -> Tensor:
        embedded = self.words(ids)
        scores = self.query(embedded) @ embedded.transpose(1, 2) + (valid[:, None, :] - 1) * 1e4
        mixed = self.norm(embedded + torch.softmax(scores, dim=2) @ embedded)
        return nn.functional.gelu(self.out(mixed))


def _make_tokenizer(normalizer: normalizers.Normalizer) -> str:
    vocabulary = {word: index for index, word in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=VOCABULARY[1]))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 2), ("[SEP]", 3)])
    return tokenizer.to_str(pretty=True)


@pytest.fixture(scope="session")
def tokenizer_json() -> str:
    return _make_tokenizer(normalizers.BertNormalizer(lowercase=True))


@pytest.fixture(scope="session")
def word_joining_tokenizer_json() -> str:
    """A tokenizer that merges two words into one token, so that single words have other tokens than the text."""
    return _make_tokenizer(normalizers.Replace("love the", "hate"))


@pytest.fixture(scope="session")
def text_student() -> Student:
    torch.manual_seed(5)
    return Student(StudentConfig(TEXT_DIMS, width=16, blocks=2, tokens=2, hidden=8)).eval()


@pytest.fixture(scope="session")
def text_student_graphs(text_student: Student) -> Graphs:
    return export_student(text_student, TEXT_NORMALIZATION, TEXT_CHUNKS, TEXT_WINDOWS)


@pytest.fixture(scope="session")
def text_table(tokenizer_json: str) -> TextTable:
    rows = np.random.default_rng(0).normal(size=(len(VOCABULARY), TEXT_WIDTH)).astype(np.float32)
    return TextTable(tokenizer_json, rows, MAX_TOKENS)


@pytest.fixture(scope="session")
def text_encoder(tokenizer_json: str) -> TextGraph:
    torch.manual_seed(6)
    return TextGraph(tokenizer_json, TinyTextEncoder().eval(), TEXT_WIDTH, MAX_TOKENS)


@pytest.fixture(scope="session")
def text_encoder_graphs(text_encoder: TextGraph) -> Graphs:
    return export_text_encoders(text_encoder)


def _make_text_request(text_model: TextTable | TextGraph, language: np.ndarray) -> ExportRequest:
    audio = np.random.default_rng(1).normal(size=(9, 5)).astype(np.float32)
    frames = {"language": language, "audio": audio}
    golden_samples = [
        GoldenSample(
            subset,
            {name: frames[name] for name in subset.modalities},
            TEXT if "language" in subset.modalities else None,
        )
        for subset in (Subset.L, Subset.A, Subset.LA)
    ]
    return make_request(
        golden_samples,
        TEXT_DIMS,
        TEXT_CHUNKS,
        TEXT_WINDOWS,
        "laptop-x86",
        normalization=TEXT_NORMALIZATION,
        text_model=text_model,
    )


@pytest.fixture(scope="session")
def text_table_request(text_table: TextTable) -> ExportRequest:
    ids = Tokenizer.from_str(text_table.tokenizer).encode(TEXT, add_special_tokens=False).ids
    return _make_text_request(text_table, text_table.rows[ids])


@pytest.fixture(scope="session")
def text_encoder_request(text_encoder: TextGraph) -> ExportRequest:
    ids = Tokenizer.from_str(text_encoder.tokenizer).encode(TEXT).ids
    return _make_text_request(text_encoder, encode_with_torch(text_encoder, ids))


@pytest.fixture(scope="session")
def text_table_graph_set(
    text_student: Student,
    text_student_graphs: Graphs,
    text_table_request: ExportRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> GraphSet:
    return build_graphs(text_student, text_table_request, tmp_path_factory.mktemp("table"), text_student_graphs)


@pytest.fixture(scope="session")
def text_encoder_graph_set(
    text_student: Student,
    text_student_graphs: Graphs,
    text_encoder_graphs: Graphs,
    text_encoder_request: ExportRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> GraphSet:
    graphs = {**text_student_graphs, **text_encoder_graphs}
    return build_graphs(text_student, text_encoder_request, tmp_path_factory.mktemp("encoder"), graphs)
