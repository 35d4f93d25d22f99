"""Programs run in torch here, and compilation uses a stand-in for torch-tensorrt. No GPU is involved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from edge_msa.models.student import Student
from edge_msa_export.errors import ExportError
from edge_msa_export.graphs.onnx_export import ExportableModule
from edge_msa_export.graphs.student import build_student_modules
from edge_msa_export.request import ExportRequest
from edge_msa_export.torch_tensorrt.programs import (
    InputSpec,
    ProgramSet,
    compile_programs,
    count_operators,
    export_program,
    load_program,
    make_runner,
    save_programs,
)
from edge_msa_export.torch_tensorrt.tables import find_operator_table
from edge_msa_runtime.bundle.manifest import GraphKey
from edge_msa_runtime.errors import BackendUnavailableError
from edge_msa_runtime.modalities import Subset
from tests.unit.export.students import NORMALIZATION
from tests.unit.export.torch_tensorrt.stand_in import CHUNKS, DIMS, WINDOWS, install_stand_in, link_programs

TABLE = find_operator_table("2.8.0")


def test_every_graph_is_saved_as_a_program(programs: ProgramSet) -> None:
    windows = map(GraphKey.window, (Subset.L, Subset.A, Subset.LA))
    assert {saved.key for saved in programs.saved} == {*map(GraphKey.step, DIMS), GraphKey.fuse(DIMS), *windows}
    for saved in programs.saved:
        assert (programs.root / saved.file).is_file()


def test_loaded_programs_reproduce_torch(programs: ProgramSet) -> None:
    for saved in programs.saved:
        assert saved.parity <= 0.1 * programs.parity_limit  # which is relative to the predictions


def test_every_operator_of_a_student_has_a_converter(programs: ProgramSet) -> None:
    for saved in programs.saved:
        assert saved.unconverted_operators == ()
        operator = "aten.convolution.default" if saved.key.role == "step" else "aten.linear.default"
        assert saved.operators[operator] > 0


def test_inputs_and_outputs_are_in_the_order_of_the_arguments(programs: ProgramSet, small_student: Student) -> None:
    by_key = {saved.key: saved for saved in programs.saved}
    window = by_key[GraphKey.window(Subset.LA)]
    assert list(window.inputs) == ["frames.language", "valid.language", "frames.audio", "valid.audio"]
    assert window.inputs["frames.audio"] == InputSpec((1, 9, 5), "float32")
    step = by_key[GraphKey.step("audio")]
    module = build_student_modules(small_student, NORMALIZATION, CHUNKS, WINDOWS)[step.key]
    assert (tuple(step.inputs), step.outputs) == (tuple(module.inputs), module.outputs)


class Determinant(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.add(torch.linalg.det(x), torch.nn.functional.silu(x).sum())


def test_operator_without_a_converter_is_found() -> None:
    program = export_program(ExportableModule(Determinant(), {"x": torch.eye(3)}, ("y",)))
    operators = count_operators(program, TABLE)
    assert {name for name in operators if not TABLE.converts(name)} == {"aten._linalg_det.default"}
    assert "aten.silu.default" not in operators  # torch decomposes it before the conversion


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.neg() if x.sum() > 0 else x


def test_module_that_torch_cannot_export_is_a_one_line_error() -> None:
    with pytest.raises(ExportError, match="torch cannot export the module as a program") as caught:
        export_program(ExportableModule(Branching(), {"x": torch.ones(3)}, ("y",)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("fraction", [0.0, 0.5])
def test_truncated_program_is_a_one_line_error(programs: ProgramSet, tmp_path: Path, fraction: float) -> None:
    content = (programs.root / programs.saved[0].file).read_bytes()
    path = tmp_path / "cut.pt2"
    path.write_bytes(content[: int(len(content) * fraction)])
    with pytest.raises(ExportError, match=r"cannot load .*cut\.pt2") as caught:
        load_program(path)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_program_with_other_predictions_is_an_error(
    small_student: Student, small_request: ExportRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make_shifted_runner(program: Any, module: ExportableModule) -> Any:
        return lambda inputs: {name: value + 0.01 for name, value in make_runner(program, module)(inputs).items()}

    monkeypatch.setattr("edge_msa_export.torch_tensorrt.programs.make_runner", make_shifted_runner)
    with pytest.raises(ExportError, match=r"must be within .* of torch at fp32, got .* in torch"):
        save_programs(small_student, small_request, tmp_path, TABLE)


def test_missing_torch_tensorrt_is_an_error(
    programs: ProgramSet, small_student: Student, small_request: ExportRequest
) -> None:
    with pytest.raises(BackendUnavailableError, match="not installed"):
        compile_programs(programs, small_student, small_request, "fp32")
    assert not (programs.root / "compiled").exists()


def test_missing_gpu_is_an_error(
    programs: ProgramSet, small_student: Student, small_request: ExportRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_stand_in(monkeypatch)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackendUnavailableError, match="needs a CUDA device"):
        compile_programs(programs, small_student, small_request, "fp32")
    assert not (programs.root / "compiled").exists()


@pytest.mark.parametrize(
    ("precision", "dtypes"),
    [("fp32", {torch.float32}), pytest.param("fp16", {torch.float16, torch.float32}, marks=pytest.mark.slow)],
)
def test_every_program_is_compiled_and_measured(
    programs: ProgramSet,
    small_student: Student,
    small_request: ExportRequest,
    precision: str,
    dtypes: set[torch.dtype],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = install_stand_in(monkeypatch)
    linked = link_programs(programs, tmp_path)
    compiled = compile_programs(linked, small_student, small_request, precision, device="cpu")
    assert compiled.gpu == "cpu"
    assert set(compiled.parity) == {saved.key for saved in programs.saved}
    assert max(compiled.parity.values()) <= 0.1 * programs.parity_limit
    assert [call["enabled_precisions"] for call in calls] == [dtypes] * len(programs.saved)
    files = {Path(saved.file).name for saved in programs.saved}
    assert {path.name for path in (tmp_path / "compiled").iterdir()} == files


def test_failed_compilation_is_a_one_line_error(
    programs: ProgramSet,
    small_student: Student,
    small_request: ExportRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install_stand_in(monkeypatch, fails=True)
    with pytest.raises(ExportError, match=r"cannot compile programs/step-language\.pt2: \[Error\] no kernel$"):
        compile_programs(link_programs(programs, tmp_path), small_student, small_request, "fp32", device="cpu")
