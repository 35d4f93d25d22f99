from __future__ import annotations

import pytest
from onnx import helper

from edge_msa_export.errors import ExportError
from edge_msa_export.lint import WARNING, LintTarget, lint, raise_for_errors
from tests.unit.export.onnx_models import make_model

ONNXRUNTIME, OPENVINO, TENSORRT = LintTarget("onnxruntime"), LintTarget("openvino"), LintTarget("tensorrt", (10, 3))


@pytest.mark.parametrize("target", [ONNXRUNTIME, OPENVINO, TENSORRT], ids=str)
def test_simple_graph_has_no_findings(target: LintTarget) -> None:
    assert lint(make_model([helper.make_node("Relu", ["x"], ["y"])]), target) == []


def test_errors_raise_one_line_with_the_document() -> None:
    nodes = [helper.make_node("Mish", ["x"], ["y"], name="m"), helper.make_node("Mish", ["y"], ["z"])]
    findings = lint(make_model(nodes, opset=18), OPENVINO, project_graph=False)
    with pytest.raises(ExportError) as caught:
        raise_for_errors(findings, OPENVINO, "step-audio")
    message = str(caught.value)
    assert message.startswith(
        "step-audio does not run on OpenVINO: operator: Mish m: OpenVINO does not support operator Mish. (and 1 more)"
    )
    assert "See http" in message
    assert "\n" not in message


def test_warnings_do_not_raise() -> None:
    graph = make_model([helper.make_node("Relu", ["x"], ["y"])])
    findings = lint(graph, LintTarget("tensorrt", (10, 3), dla=True))
    assert WARNING in {finding.severity for finding in findings}
    raise_for_errors([finding for finding in findings if finding.severity == WARNING], TENSORRT, "any")
