from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_msa.models.student import Student
from edge_msa_export.errors import ExportError
from edge_msa_export.parity.cases import (
    build_golden_arrays,
    build_parity_cases,
    check_fp32_parity,
    compute_fp32_limit,
)
from edge_msa_export.parity.graphs import ParityCase
from edge_msa_export.request import ExportRequest
from edge_msa_runtime.bundle.manifest import GraphKey
from edge_msa_runtime.modalities import Subset


def make_case(prediction: float) -> ParityCase:
    return ParityCase(Subset.A, GraphKey.window(Subset.A), {}, {}, np.array([prediction], np.float32))


def test_every_subset_has_a_case_with_and_without_gaps(
    student: Student, laptop_request: ExportRequest, tmp_path: Path
) -> None:
    cases = build_parity_cases(student, laptop_request, tmp_path)
    assert len(cases) == 2 * 7
    for subset in Subset:
        complete, with_gaps = (case for case in cases if case.subset is subset)
        assert all(len(with_gaps.rows[name]) < len(rows) for name, rows in complete.rows.items())


def test_cases_are_truncated_to_the_window(student: Student, laptop_request: ExportRequest, tmp_path: Path) -> None:
    windows = {"language": 20, "audio": 6, "vision": 20}
    cases = build_parity_cases(student, replace(laptop_request, windows=windows), tmp_path)
    lengths: dict[GraphKey, dict[str, int]] = {}
    for case in cases:  # the first one of each graph is complete
        lengths.setdefault(case.window, {name: len(rows) for name, rows in case.rows.items()})
    assert lengths[GraphKey.window(Subset.LA)] == {"language": 11, "audio": 6}
    assert lengths[GraphKey.window(Subset.L, 16)] == {"language": 11}


def test_golden_arrays_have_frames_and_a_prediction_per_subset(student: Student, laptop_request: ExportRequest) -> None:
    arrays = build_golden_arrays(student, laptop_request)
    names = {f"{subset.value}/{name}" for subset in Subset for name in (*subset.modalities, "prediction")}
    assert set(arrays) == names


def test_limit_scales_with_predictions_above_one() -> None:
    assert compute_fp32_limit([make_case(0.1)]) == pytest.approx(1e-4)
    assert compute_fp32_limit([make_case(0.1), make_case(-3.0)]) == pytest.approx(3e-4)


@pytest.mark.parametrize("value", [2e-4, np.nan])
def test_fp32_graph_beyond_the_limit_is_an_error(value: float) -> None:
    parity = {GraphKey.step("audio"): 1e-7, GraphKey.window(Subset.LA): value}
    with pytest.raises(ExportError, match=r"The window la graph must be within 1e-04 of torch at fp32, got .* in onnx"):
        check_fp32_parity("onnxruntime", parity, [make_case(0.1)])
    check_fp32_parity("onnxruntime", {**parity, GraphKey.window(Subset.LA): 1e-7}, [make_case(0.1)])
