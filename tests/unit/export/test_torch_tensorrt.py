"""Programs in plain torch, and the way to torch-tensorrt with a stand-in of ours: no GPU has seen them."""

from __future__ import annotations

import json
import sys
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edge_msa.models.student import Student, StudentConfig
from edge_msa_export.errors import ExportError
from edge_msa_export.graphs.export import Part, parts_of
from edge_msa_export.profiles import profile_named
from edge_msa_export.request import ExportRequest
from edge_msa_export.torch_tensorrt.folder import COMPILE, FACTS_NAME, Facts, is_programs_folder, series, write_facts
from edge_msa_export.torch_tensorrt.programs import (
    Compiled,
    Programs,
    callable_of,
    compile_programs,
    export_program,
    load_program,
    operators_of,
    save_programs,
)
from edge_msa_export.torch_tensorrt.tables import table_of
from edge_msa_runtime.bundle.manifest import GraphKey
from edge_msa_runtime.errors import BackendUnavailableError
from edge_msa_runtime.modalities import Subset

TABLE = table_of("2.8.0")
# Two modalities: torch's exporter takes most of a second a graph.
DIMS, CHUNKS, WINDOWS = {"language": 6, "audio": 5}, {"language": 4, "audio": 5}, {"language": 8, "audio": 9}


@pytest.fixture(scope="module")
def small() -> Student:
    torch.manual_seed(5)
    return Student(StudentConfig(DIMS, width=8, blocks=1, tokens=2, hidden=8)).eval()


@pytest.fixture(scope="module")
def small_request(request_for_jetson: ExportRequest) -> ExportRequest:
    golden = [sample for sample in request_for_jetson.golden if set(sample.frames) <= set(DIMS)]
    return replace(
        request_for_jetson,
        golden=golden,
        chunks=CHUNKS,
        windows=WINDOWS,
        normalization={name: request_for_jetson.normalization[name] for name in DIMS},
        ranges=None,
        precisions=("fp32",),
    )


@pytest.fixture(scope="module")
def programs(small: Student, small_request: ExportRequest, tmp_path_factory: pytest.TempPathFactory) -> Programs:
    return save_programs(small, small_request, tmp_path_factory.mktemp("programs"), TABLE)


def test_every_graph_is_a_program_that_reads_as_torch_when_it_is_loaded_again(programs: Programs) -> None:
    keys = {saved.key for saved in programs.saved}
    assert keys == {GraphKey.step("language"), GraphKey.step("audio"), GraphKey.fuse(DIMS),
                    *(GraphKey.window(subset) for subset in (Subset.L, Subset.A, Subset.LA))}  # fmt: skip
    for saved in programs.saved:
        assert saved.parity <= 1e-5 < programs.parity_limit
        assert (programs.root / saved.file).is_file()
        assert saved.unconverted == ()
        assert saved.operators["aten.linear.default" if saved.key.role != "step" else "aten.convolution.default"] > 0


def test_names_shapes_and_types_are_told_in_the_order_of_the_arguments(programs: Programs, small: Student) -> None:
    parts = parts_of(small, CHUNKS, WINDOWS)
    window = next(saved for saved in programs.saved if saved.key == GraphKey.window(Subset.LA))
    assert list(window.inputs) == ["frames.language", "valid.language", "frames.audio", "valid.audio"]
    assert window.inputs["frames.audio"] == ((1, 9, 5), "float32")
    step = next(saved for saved in programs.saved if saved.key == GraphKey.step("audio"))
    assert (tuple(step.inputs), step.outputs) == (tuple(parts[step.key].inputs), parts[step.key].outputs)


class Odd(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.add(torch.linalg.det(x), torch.nn.functional.silu(x).sum())


def test_an_operator_without_a_converter_is_named() -> None:
    program = export_program(Part(Odd(), {"x": torch.eye(3)}, ("y",)))
    operators = operators_of(program, TABLE)
    assert {name for name in operators if not TABLE.converts(name)} == {"aten._linalg_det.default"}
    assert "aten.silu.default" not in operators  # decomposed before


def test_what_torch_cannot_export_is_one_line() -> None:
    class Branching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.neg() if x.sum() > 0 else x

    with pytest.raises(ExportError, match="torch cannot export it as a program") as caught:
        export_program(Part(Branching(), {"x": torch.ones(3)}, ("y",)))
    assert "\n" not in str(caught.value)


def test_a_program_that_is_cut_is_one_line(programs: Programs, tmp_path: Path) -> None:
    whole = (programs.root / programs.saved[0].file).read_bytes()
    path = tmp_path / "cut.pt2"
    for kept in (0, len(whole) // 2):
        path.write_bytes(whole[:kept])
        with pytest.raises(ExportError, match=r"cut\.pt2 cannot be read by torch") as caught:
            load_program(path)
        assert "\n" not in str(caught.value)


def test_a_program_that_reads_something_else_is_refused(
    small: Student, small_request: ExportRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shifted(program: Any, part: Part) -> Any:
        def run(inputs: Any) -> Any:
            return {name: value + 0.01 for name, value in callable_of(program, part)(inputs).items()}

        return run

    monkeypatch.setattr("edge_msa_export.torch_tensorrt.programs.callable_of", shifted)
    with pytest.raises(ExportError, match=r"from torch in torch .* at fp32, more than"):
        save_programs(small, small_request, tmp_path, TABLE)


def test_without_torch_tensorrt_nothing_is_compiled(
    programs: Programs, small: Student, small_request: ExportRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BackendUnavailableError, match="not installed") as caught:
        compile_programs(programs, small, small_request, "fp32")
    assert caught.value.exit_code == 4
    stand_in(monkeypatch)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackendUnavailableError, match="no CUDA device"):
        compile_programs(programs, small, small_request, "fp32")
    assert not (programs.root / "compiled").exists()


def stand_in(monkeypatch: pytest.MonkeyPatch, *, fails: bool = False) -> list[dict[str, Any]]:
    """A torch_tensorrt of ours that computes in torch, and the calls that it got."""
    calls: list[dict[str, Any]] = []

    def compile_(program: Any, **options: Any) -> Any:
        if fails:
            raise RuntimeError("[Error] no backend\nmore lines")
        calls.append(options)
        return program.run_decompositions().module()

    def save(module: Any, path: str, *, output_format: str, arg_inputs: list[Tensor]) -> None:
        assert output_format == "exported_program"
        torch.export.save(torch.export.export(module, tuple(arg_inputs), strict=False), path)

    module = types.ModuleType("torch_tensorrt")
    module.__spec__ = types.SimpleNamespace(name="torch_tensorrt")  # type: ignore[assignment]
    module.dynamo = types.SimpleNamespace(compile=compile_)  # type: ignore[attr-defined]
    module.save = save  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch_tensorrt", module)
    return calls


@pytest.mark.parametrize(("precision", "kinds"), [("fp32", {torch.float32}), ("fp16", {torch.float16, torch.float32})])
def test_programs_are_compiled_one_by_one_and_measured(
    programs: Programs, small: Student, small_request: ExportRequest, precision: str, kinds: set[torch.dtype],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    calls = stand_in(monkeypatch)
    (tmp_path / "programs").symlink_to(programs.root / "programs")
    here = replace(programs, root=tmp_path)
    made = compile_programs(here, small, small_request, precision, device="cpu")
    assert made.gpu == "cpu"
    parity = made.parity
    assert set(parity) == {saved.key for saved in programs.saved}
    assert max(parity.values()) <= 1e-5
    assert [call["enabled_precisions"] for call in calls] == [kinds] * len(programs.saved)
    assert {path.name for path in (tmp_path / "compiled").iterdir()} == {
        Path(saved.file).name for saved in programs.saved
    }


def test_what_torch_tensorrt_cannot_compile_is_one_line(
    programs: Programs, small: Student, small_request: ExportRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch, fails=True)
    (tmp_path / "programs").symlink_to(programs.root / "programs")
    with pytest.raises(ExportError, match=r"cannot compile programs/step-language\.pt2: \[Error\] no backend$"):
        compile_programs(replace(programs, root=tmp_path), small, small_request, "fp32", device="cpu")


@pytest.fixture
def folder(programs: Programs, tmp_path: Path) -> Path:
    (tmp_path / "programs").symlink_to(programs.root / "programs")
    facts = Facts(profile_named("jetson"), "2.13.0+cpu", "fp32", None, {"run": "abc"})
    write_facts(tmp_path, replace(programs, root=tmp_path), facts)
    return tmp_path


def test_facts_say_all_that_a_device_must_know(folder: Path, programs: Programs) -> None:
    assert is_programs_folder(folder)
    assert not is_programs_folder(programs.root)
    facts = json.loads((folder / FACTS_NAME).read_text())
    assert (facts["torch_tensorrt"], facts["read_by_the_targets_torch"]) == ("2.8.0", False)
    told = {program["file"]: program for program in facts["programs"]}
    assert told["programs/fuse.pt2"]["inputs"]["available"] == {"shape": [1, 3], "type": "float32"}
    assert all(program["parity"] <= facts["parity_limit"] for program in told.values())
    assert "compiled_parity" not in told["programs/fuse.pt2"]
    readme = (folder / "README.md").read_text()
    assert "pypi.jetson-ai-lab.io" in readme
    assert "make this folder again in an environment with that torch" in readme


def test_what_was_compiled_is_told_with_its_gpu(programs: Programs, tmp_path: Path) -> None:
    (tmp_path / "programs").symlink_to(programs.root / "programs")
    compiled = Compiled("Orin", {GraphKey.fuse(DIMS): 0.25})
    write_facts(
        tmp_path, replace(programs, root=tmp_path), Facts(profile_named("jetson"), "2.8.0", "fp16", compiled, {})
    )
    facts = json.loads((tmp_path / FACTS_NAME).read_text())
    assert (facts["compiled_for"], facts["read_by_the_targets_torch"]) == ("Orin", True)
    assert [told["compiled_parity"] for told in facts["programs"] if "compiled_parity" in told] == [0.25]
    assert "make this folder again" not in (tmp_path / "README.md").read_text()


def test_what_the_readme_says_compiles_every_program(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = stand_in(monkeypatch)
    monkeypatch.chdir(folder)
    assert COMPILE in (folder / "README.md").read_text()
    with torch.no_grad():  # restores what it sets
        exec(COMPILE.replace('"cuda"', '"cpu"'), {})  # noqa: S102 - it is what we tell people to run
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(calls) == len(list((folder / "programs").iterdir()))
    assert all(float(line.rpartition(" ")[2]) <= 1e-5 for line in lines)
    loaded = torch.export.load(folder / "compiled" / "fuse.pt2")
    assert np.isfinite(loaded.module()(*loaded.example_inputs[0]).detach().numpy()).all()


def test_programs_fit_a_torch_of_the_same_series() -> None:
    assert series("2.8.0a0+git") == series("2.8.1") == (2, 8)
    assert Facts(profile_named("jetson"), "2.8.0", "fp32", None, {}).fits_torch
    assert not Facts(profile_named("jetson"), "2.10.0", "fp32", None, {}).fits_torch
    assert Facts(profile_named("jetson-thor"), "2.9.1", "fp32", None, {}).fits_torch
