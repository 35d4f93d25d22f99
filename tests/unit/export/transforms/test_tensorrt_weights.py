from __future__ import annotations

import numpy as np
import onnx

from edge_msa_calibrate.qdq import quantize
from edge_msa_export.lint import LintTarget, lint
from edge_msa_export.request import ExportRequest
from edge_msa_export.transforms.tensorrt_weights import weights_to_qdq_pairs
from edge_msa_runtime.bundle.manifest import GraphKey
from edge_msa_runtime.modalities import Subset
from tests.unit.export.onnx_models import make_inputs, run_onnx


def test_qdq_pairs_give_the_same_outputs_as_int8_weights(
    student_graphs: dict[GraphKey, onnx.ModelProto], laptop_request: ExportRequest
) -> None:
    assert laptop_request.ranges is not None
    int8 = quantize(student_graphs[GraphKey.window(Subset.LAV)], laptop_request.ranges, "tensorrt")
    pairs = weights_to_qdq_pairs(int8)
    target = LintTarget("tensorrt", (8, 6))
    assert {finding.rule for finding in lint(int8, target)} == {"int8-constant"}
    assert lint(pairs, target) == []
    inputs = make_inputs(int8)
    np.testing.assert_array_equal(run_onnx(pairs, inputs)[0], run_onnx(int8, inputs)[0])
