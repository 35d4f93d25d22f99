from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from edge_msa.models.student import Student
from edge_msa_export.build import GraphSet, build_graphs
from edge_msa_export.bundle.write import write_candidate
from edge_msa_export.errors import ExportError
from edge_msa_export.lint import find_local_paths
from edge_msa_export.profiles import profile_named
from edge_msa_export.request import ExportRequest
from edge_msa_export.transforms.openvino_ir import write_ir
from edge_msa_runtime import load
from edge_msa_runtime.bundle.golden import load_golden
from edge_msa_runtime.bundle.manifest import GraphKey


@pytest.fixture(scope="module")
def bundles(
    student: Student,
    request_for_laptop: ExportRequest,
    laptop_graphs: GraphSet,
    graphs: dict[GraphKey, onnx.ModelProto],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    """The same student with ONNX and with IR for OpenVINO."""
    folder = tmp_path_factory.mktemp("ir")
    request = replace(request_for_laptop, ir=True)
    built = build_graphs(student, request, folder / "graphs", graphs)
    return {
        "onnx": write_candidate(folder / "onnx", laptop_graphs, request_for_laptop),
        "ir": write_candidate(folder / "ir", built, request),
    }


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_ir_gives_the_predictions_of_onnx(precision: str, bundles: dict[str, Path]) -> None:
    of_onnx, of_ir = (load(bundles[form], "openvino", precision=precision) for form in ("onnx", "ir"))
    with of_onnx, of_ir:
        for case in load_golden(of_ir.bundle):
            expected = of_onnx.predict(**case.inputs).outputs
            np.testing.assert_allclose(of_ir.predict(**case.inputs).outputs, expected, atol=1e-6)


def test_only_openvino_gets_ir_and_every_file_of_it_is_named(bundles: dict[str, Path]) -> None:
    with load(bundles["ir"], "openvino") as session:
        bundle = session.bundle
    for spec in bundle.manifest.graphs:
        assert spec.file.endswith(".xml") == (spec.backend == "openvino")
        assert {spec.file, spec.weights} <= {*bundle.manifest.files, ""}
    for precision in bundle.precisions("openvino"):
        weights = [name for name in bundle.needed_files("openvino", precision) if name.endswith(".bin")]
        graphs = [name for name in bundle.needed_files("openvino", precision) if name.endswith(".xml")]
        assert sorted(name.replace(".bin", ".xml") for name in weights) == sorted(graphs)
    assert find_local_paths("".join(path.read_text("utf-8") for path in bundles["ir"].rglob("*.xml"))) is None


def test_constants_keep_the_type_of_their_precision(bundles: dict[str, Path]) -> None:
    sizes = {
        name: sum(path.stat().st_size for path in (bundles["ir"] / "graphs/openvino-ir" / name).glob("*.bin"))
        for name in ("fp32", "fp16", "int8")
    }
    assert sizes["int8"] < sizes["fp16"] < sizes["fp32"]


def test_ir_is_refused_where_nothing_reads_it(request_for_laptop: ExportRequest) -> None:
    with pytest.raises(ExportError, match="raspberry-pi-5 does not run openvino"):
        replace(request_for_laptop, profile=profile_named("raspberry-pi"), ir=True)


def test_without_openvino_the_package_is_named(
    graphs: dict[GraphKey, onnx.ModelProto], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ExportError, match="pip install openvino"):
        write_ir(next(iter(graphs.values())), tmp_path / "g.xml")
