from __future__ import annotations

from pathlib import Path

import pytest

from edge_msa.benchmark.precisions import PrecisionChoice
from edge_msa.workflows.export import _describe_failure, _finish
from edge_msa_calibrate.errors import GateFailedError


def test_the_gate_failure_names_the_precision_of_the_backend_that_failed() -> None:
    choices = (
        PrecisionChoice("onnxruntime", "int8", "requested", ("int8",)),
        PrecisionChoice("openvino", "fp32", "int8 loses 3 points", ("fp32",), "openvino int8 loses 3 points"),
    )
    failure = _describe_failure(choices)
    assert failure == "openvino int8 loses 3 points. The bundle contains fp32 for openvino, the best that passed"
    assert _describe_failure(choices[:1]) == ""
    with pytest.raises(GateFailedError, match=r"the best that passed: moved/bundle\.$"):
        _finish(Path("moved/bundle"), failure, accept_gate_failure=False)
