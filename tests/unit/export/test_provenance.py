from __future__ import annotations

import json

import pytest

from edge_msa_export.errors import ExportError
from edge_msa_export.provenance import DataSource, NodePrecision, Provenance, Validation, ValidationMetric


def test_provenance_survives_json() -> None:
    provenance = Provenance(
        run="abc",
        parameters=7,
        config={"width": 8},
        data=DataSource("mosi", "123"),
        plan={"ort": (NodePrecision("MatMul", "MatMul", True, "calibrated"),)},
        precision_reasons={"tensorrt": "requested"},
        validation=Validation("lav", 9, (ValidationMetric("mae", "MAE", percent=False, baselines={"median": 1.5}),)),
        parity_measured_by={"tensorrt": {"fp32": "onnxruntime", "fp16": "onnx-reference"}},
    )
    assert Provenance.from_json(json.loads(json.dumps(provenance.to_json()))) == provenance


def test_unknown_provenance_fields_are_ignored() -> None:
    assert Provenance.from_json({"seed": 3, "note": "mine"}) == Provenance(seed=3)


@pytest.mark.parametrize(
    "value", [{"data": {"path": "x"}}, {"data": "mosi"}, {"plan": []}, {"validation": {"subset": "l"}}]
)
def test_invalid_provenance_is_rejected(value: dict[str, object]) -> None:
    with pytest.raises(ExportError, match="Invalid provenance"):
        Provenance.from_json(value)


def test_parameters_can_be_required() -> None:
    assert Provenance(parameters=5).require_parameters() == 5
    with pytest.raises(ExportError, match="number of parameters"):
        Provenance().require_parameters()
