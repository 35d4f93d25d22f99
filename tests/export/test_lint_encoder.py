"""An encoder of words, BERT's own layers, held against each TensorRT and each torch-tensorrt."""

from __future__ import annotations

import onnx
import pytest
import torch

from edge_msa.models.fronts import EncoderFront
from edge_msa_calibrate.placement import place, rule_set_named
from edge_msa_calibrate.qdq import quantise
from edge_msa_export.graph import GraphKey, Part, to_onnx
from edge_msa_export.graph_front import front_parts
from edge_msa_export.half import to_half
from edge_msa_export.layer_norm import decompose_layer_norms
from edge_msa_export.lint import NOTE, Reader, lint
from edge_msa_export.tensorrt_weights import weights_as_pairs
from edge_msa_export.text import TextGraph
from edge_msa_export.torch_tensorrt import export_program, operators_of
from edge_msa_export.torch_tensorrt_tables import known_tables

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
    front = EncoderFront(BertModel(config)).eval()
    return front_parts(TextGraph("", front.exportable(), 64, LENGTH), [LENGTH])[GraphKey("front", str(LENGTH))]


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
        lowered = to_half(lowered)
    if precision == "int8":
        sites = place(lowered, rule_set_named("tensorrt")).sites
        assert sites
        keys = {key for site in sites for key in (site.input_key, site.output_key)}
        lowered = weights_as_pairs(quantise(lowered, dict.fromkeys(keys, (-3.0, 3.0)), "tensorrt"))
    findings = lint(lowered, Reader("tensorrt", version))
    assert {finding.severity for finding in findings} <= {NOTE}
    assert ("int64-edge" in {finding.rule for finding in findings}) == (version < (9, 0))


@pytest.mark.parametrize("version", list(known_tables()))
def test_torch_tensorrt_converts_all_of_it(version: str, part: Part) -> None:
    table = known_tables()[version]
    operators = operators_of(export_program(part), table)
    assert operators["aten.native_layer_norm.default"] == 5
    assert [name for name in operators if not table.converts(name)] == []
