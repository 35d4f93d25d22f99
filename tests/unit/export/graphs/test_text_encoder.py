from __future__ import annotations

from dataclasses import replace

import onnx
import pytest
import torch

from edge_msa.models.text_encoders import TransformerTextEncoder
from edge_msa_calibrate.plan import make_plan
from edge_msa_calibrate.qdq import quantize
from edge_msa_calibrate.schemes import scheme_named
from edge_msa_export.errors import ExportError
from edge_msa_export.graphs.onnx_export import ExportableModule, export_onnx
from edge_msa_export.graphs.text_encoder import build_text_encoder_modules
from edge_msa_export.lint import NOTE, LintTarget, lint
from edge_msa_export.text import TextGraph
from edge_msa_export.torch_tensorrt.programs import count_operators, export_program
from edge_msa_export.torch_tensorrt.tables import load_operator_tables
from edge_msa_export.transforms.fp16 import to_fp16
from edge_msa_export.transforms.layer_norm import decompose_layer_norms
from edge_msa_export.transforms.tensorrt_weights import weights_to_qdq_pairs
from edge_msa_runtime.bundle.manifest import GraphKey

LENGTH = 16


@pytest.fixture(scope="module")
def bert_module() -> ExportableModule:
    """A text encoder with BERT's layers."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=99,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
        max_position_embeddings=64,
    )
    encoder = TransformerTextEncoder(BertModel(config)).eval()
    text = TextGraph("", encoder.exportable(), 64, LENGTH)
    return build_text_encoder_modules(text, [LENGTH])[GraphKey.text_encoder(LENGTH)]


@pytest.fixture(scope="module")
def bert_graph(bert_module: ExportableModule) -> onnx.ModelProto:
    return export_onnx(bert_module)


@pytest.mark.parametrize("version", [(8, 5), (8, 6), (10, 3), (10, 13), (11, 4, 1)], ids=str)
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_every_tensorrt_version_runs_bert_without_warnings(
    precision: str, version: tuple[int, ...], bert_graph: onnx.ModelProto
) -> None:
    graph = decompose_layer_norms(bert_graph) if version < (8, 6) else bert_graph
    if precision == "fp16":
        graph = to_fp16(graph)
    if precision == "int8":
        layers = make_plan(graph, scheme_named("tensorrt")).layers
        assert layers
        keys = {key for layer in layers for key in (layer.input_key, layer.output_key)}
        graph = weights_to_qdq_pairs(quantize(graph, dict.fromkeys(keys, (-3.0, 3.0)), "tensorrt"))
    findings = lint(graph, LintTarget("tensorrt", version))
    assert {finding.severity for finding in findings} <= {NOTE}
    assert ("int64-io" in {finding.rule for finding in findings}) == (version < (9, 0))


@pytest.mark.parametrize("version", list(load_operator_tables()))
def test_every_torch_tensorrt_version_converts_bert(version: str, bert_module: ExportableModule) -> None:
    table = load_operator_tables()[version]
    operators = count_operators(export_program(bert_module), table)
    assert operators["aten.native_layer_norm.default"] == 5
    assert [name for name in operators if not table.converts(name)] == []


def test_weights_have_names_that_calibration_uses(text_encoder_graphs: dict[GraphKey, onnx.ModelProto]) -> None:
    graph = text_encoder_graphs[GraphKey.text_encoder(16)].graph
    weights = {f"text_encoder.{name}" for name in ("words.weight", "query.weight", "out.weight", "out.bias")}
    assert weights <= {tensor.name for tensor in graph.initializer}
    factors = {name for node in graph.node if node.op_type in ("MatMul", "Gemm") for name in node.input}
    assert {"text_encoder.query.weight", "text_encoder.out.weight"} <= factors


def test_frames_of_another_shape_are_an_error(text_encoder: TextGraph) -> None:
    with pytest.raises(ExportError, match=r"must return shape \(1, 16, 7\) for 16 tokens, got \(1, 16, 16\)"):
        build_text_encoder_modules(replace(text_encoder, dim=7))
