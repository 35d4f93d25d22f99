from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from edge_msa.models.student import Student
from edge_msa_export.build import build_graphs
from edge_msa_export.bundle.write import write_candidate
from edge_msa_export.errors import ExportError
from edge_msa_export.lint import find_local_paths
from edge_msa_export.request import ExportRequest
from edge_msa_export.transforms.openvino_ir import write_ir
from edge_msa_runtime import load
from edge_msa_runtime.bundle.golden import load_golden
from edge_msa_runtime.bundle.loader import open_bundle
from edge_msa_runtime.bundle.manifest import GraphKey
from tests.unit.export.onnx_models import assert_close


@pytest.fixture(scope="module")
def ir_candidate(
    student: Student,
    laptop_request: ExportRequest,
    student_graphs: dict[GraphKey, onnx.ModelProto],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    folder = tmp_path_factory.mktemp("ir")
    request = replace(laptop_request, openvino_ir=True)
    return write_candidate(
        folder / "bundle", build_graphs(student, request, folder / "graphs", student_graphs), request
    )


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_ir_gives_the_predictions_of_onnx(precision: str, laptop_candidate: Path, ir_candidate: Path) -> None:
    from_onnx, from_ir = (load(path, "openvino", precision=precision) for path in (laptop_candidate, ir_candidate))
    with from_onnx, from_ir:
        for case in load_golden(from_ir.bundle):
            expected = from_onnx.predict(**case.inputs).outputs
            assert_close(np.asarray(from_ir.predict(**case.inputs).outputs), np.asarray(expected), rtol=1e-5)


def test_only_openvino_gets_ir(ir_candidate: Path) -> None:
    for spec in open_bundle(ir_candidate).manifest.graphs:
        assert spec.file.endswith(".xml") == (spec.backend == "openvino")


def test_manifest_lists_both_files_of_each_ir(ir_candidate: Path) -> None:
    bundle = open_bundle(ir_candidate)
    for spec in bundle.manifest.graphs:
        assert {spec.file, spec.weights} <= {*bundle.manifest.files, ""}
    for precision in bundle.precisions("openvino"):
        files = bundle.needed_files("openvino", precision)
        weights = [name for name in files if name.endswith(".bin")]
        graphs = [name for name in files if name.endswith(".xml")]
        assert sorted(name.replace(".bin", ".xml") for name in weights) == sorted(graphs)


def test_ir_has_no_local_paths(ir_candidate: Path) -> None:
    assert find_local_paths("".join(path.read_text("utf-8") for path in ir_candidate.rglob("*.xml"))) is None


def test_constants_keep_the_type_of_their_precision(ir_candidate: Path) -> None:
    sizes = {
        name: sum(path.stat().st_size for path in (ir_candidate / "graphs/openvino-ir" / name).glob("*.bin"))
        for name in ("fp32", "fp16", "int8")
    }
    assert sizes["int8"] < sizes["fp16"] < sizes["fp32"]


def test_missing_openvino_package_is_named(
    student_graphs: dict[GraphKey, onnx.ModelProto], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ExportError, match="pip install openvino"):
        write_ir(next(iter(student_graphs.values())), tmp_path / "g.xml")
