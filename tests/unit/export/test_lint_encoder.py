"""An encoder of words, BERT's own layers, held against each TensorRT and each torch-tensorrt."""

from __future__ import annotations

import onnx
import pytest
import torch

from edge_msa.models.text_encoders import TransformerTextEncoder
from edge_msa_calibrate.plan import make_plan
from edge_msa_calibrate.qdq import quantize
from edge_msa_calibrate.schemes import scheme_named
from edge_msa_export.graphs.export import Part, to_onnx
from edge_msa_export.graphs.text_encoder import text_encoder_parts
from edge_msa_export.lint import NOTE, LintTarget, lint
from edge_msa_export.text import TextGraph
from edge_msa_export.torch_tensorrt.programs import export_program, operators_of
from edge_msa_export.torch_tensorrt.tables import known_tables
from edge_msa_export.transforms.fp16 import to_fp16
from edge_msa_export.transforms.layer_norm import decompose_layer_norms
from edge_msa_export.transforms.tensorrt_weights import weights_as_pairs
from edge_msa_runtime.bundle.manifest import GraphKey

LENGTH = 16


@pytest.fixture(scope="module")
def part() -> Part:
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
    text_encoder = TransformerTextEncoder(BertModel(config)).eval()
    return text_encoder_parts(TextGraph("", text_encoder.exportable(), 64, LENGTH), [LENGTH])[
        GraphKey.text_encoder(LENGTH)
    ]


@pytest.fixture(scope="module")
def graph(part: Part) -> onnx.ModelProto:
    return to_onnx(*part)


@pytest.mark.parametrize("version", [(8, 5), (8, 6), (10, 3), (10, 13), (11, 4, 1)], ids=str)
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_version_reads_all_of_it_and_all_of_its_int8_pays(
    precision: str, version: tuple[int, ...], graph: onnx.ModelProto
) -> None:
    lowered = decompose_layer_norms(graph) if version < (8, 6) else graph
    if precision == "fp16":
        lowered = to_fp16(lowered)
    if precision == "int8":
        sites = make_plan(lowered, scheme_named("tensorrt")).layers
        assert sites
        keys = {key for site in sites for key in (site.input_key, site.output_key)}
        lowered = weights_as_pairs(quantize(lowered, dict.fromkeys(keys, (-3.0, 3.0)), "tensorrt"))
    findings = lint(lowered, LintTarget("tensorrt", version))
    assert {finding.severity for finding in findings} <= {NOTE}
    assert ("int64-edge" in {finding.rule for finding in findings}) == (version < (9, 0))


@pytest.mark.parametrize("version", list(known_tables()))
def test_torch_tensorrt_converts_all_of_it(version: str, part: Part) -> None:
    table = known_tables()[version]
    operators = operators_of(export_program(part), table)
    assert operators["aten.native_layer_norm.default"] == 5
    assert [name for name in operators if not table.converts(name)] == []
