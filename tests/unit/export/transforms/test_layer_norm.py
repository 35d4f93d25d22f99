from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from edge_msa_export.errors import ExportError
from edge_msa_export.lint import LintTarget, lint
from edge_msa_export.transforms.fp16 import to_fp16
from edge_msa_export.transforms.layer_norm import decompose_layer_norms
from tests.unit.export.onnx_models import assert_close, make_model, run_onnx

RNG = np.random.default_rng(4)
TENSORRT_8_5 = LintTarget("tensorrt", (8, 5))


@pytest.fixture
def layer_norm() -> onnx.ModelProto:
    nodes = [helper.make_node("LayerNormalization", ["x", "scale", "bias"], ["y"], axis=-1, epsilon=1e-12)]
    constants = {"scale": RNG.normal(size=8).astype(np.float32), "bias": RNG.normal(size=8).astype(np.float32)}
    return make_model(nodes, constants)


def test_decomposed_layer_norm_gives_the_same_output(layer_norm: onnx.ModelProto) -> None:
    x = RNG.normal(2, 3, size=(1, 3, 8)).astype(np.float32)
    decomposed = decompose_layer_norms(layer_norm)
    assert [finding.rule for finding in lint(layer_norm, TENSORRT_8_5)] == ["operator"]
    assert lint(decomposed, TENSORRT_8_5) == []
    assert_close(run_onnx(decomposed, {"x": x})[0], run_onnx(layer_norm, {"x": x})[0], rtol=5e-6)


def test_decomposed_layer_norm_is_finite_in_fp16_without_variance(layer_norm: onnx.ModelProto) -> None:
    constant = np.ones((1, 3, 8), np.float32)
    fp16 = to_fp16(decompose_layer_norms(layer_norm))
    assert np.isfinite(run_onnx(fp16, {"x": constant})[0]).all()


def test_layer_norm_over_several_axes_is_an_error(layer_norm: onnx.ModelProto) -> None:
    layer_norm.graph.node[0].attribute[0].i = 1
    with pytest.raises(ExportError, match=r"must be over the last axis only.*got axis 1"):
        decompose_layer_norms(layer_norm)
