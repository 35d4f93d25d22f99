from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from edge_msa.models.student import Student, StudentConfig
from edge_msa_export.request import ExportRequest
from edge_msa_export.torch_tensorrt.programs import ProgramSet, save_programs
from edge_msa_export.torch_tensorrt.tables import find_operator_table
from tests.unit.export.torch_tensorrt.stand_in import CHUNKS, DIMS, WINDOWS


@pytest.fixture(scope="session")
def small_student() -> Student:
    torch.manual_seed(5)
    return Student(StudentConfig(DIMS, width=8, blocks=1, tokens=2, hidden=8)).eval()


@pytest.fixture(scope="session")
def small_request(jetson_request: ExportRequest) -> ExportRequest:
    return replace(
        jetson_request,
        golden_samples=[sample for sample in jetson_request.golden_samples if set(sample.frames) <= set(DIMS)],
        chunks=CHUNKS,
        windows=WINDOWS,
        normalization={name: jetson_request.normalization[name] for name in DIMS},
        ranges=None,
        precisions=("fp32",),
    )


@pytest.fixture(scope="session")
def programs(
    small_student: Student, small_request: ExportRequest, tmp_path_factory: pytest.TempPathFactory
) -> ProgramSet:
    table = find_operator_table("2.8.0")
    return save_programs(small_student, small_request, tmp_path_factory.mktemp("programs"), table)
