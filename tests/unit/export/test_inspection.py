from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from edge_msa_export.build import GraphSet
from edge_msa_export.bundle.write import write_candidate
from edge_msa_export.errors import ExportError, LintError
from edge_msa_export.lint import LintTarget
from edge_msa_export.lint.inspection import inspect_bundle, inspect_file
from edge_msa_export.request import ExportRequest
from edge_msa_runtime.bundle.loader import Bundle, open_bundle
from tests.unit.export.graphs import model, product

OLD, NEW = LintTarget("tensorrt", (8, 5)), LintTarget("tensorrt", (10, 3))


@pytest.fixture(scope="module")
def jetson(
    jetson_graphs: GraphSet, request_for_jetson: ExportRequest, tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    return open_bundle(
        write_candidate(tmp_path_factory.mktemp("bundles") / "jetson", jetson_graphs, request_for_jetson)
    )


def test_every_graph_for_tensorrt_is_held_against_its_version(jetson: Bundle) -> None:
    graphs = inspect_bundle(jetson, NEW)
    assert [graph.name for graph in graphs] == [
        spec.file for spec in jetson.manifest.graphs if spec.backend == "tensorrt"
    ]
    assert {finding.rule for graph in graphs for finding in graph.findings} == {"external-weights"}


def test_nodes_are_counted_by_type_and_in_int8(jetson: Bundle) -> None:
    graphs = inspect_bundle(jetson, NEW)
    for graph in graphs:
        stored = onnx.load(jetson.path / graph.name, load_external_data=False)
        assert sum(graph.nodes.values()) == len(stored.graph.node)
        wide = graph.precision == "int8" and "fuse" not in graph.name
        assert (graph.int8 > 0) == wide
        assert graph.int8 <= graph.nodes.get("Conv", 0) + graph.nodes.get("Add", 0)


def stored_apart(folder: Path, name: str, location: str) -> Path:
    """A graph with an int8 product, whose constant of that name lies in another file."""
    graph = product((1, 32, 64), (64, 64))
    tensor = next(item for item in graph.graph.initializer if item.name == name)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    path = folder / "model.onnx"
    path.write_bytes(graph.SerializeToString())
    return path


def test_scales_in_a_file_of_weights_are_looked_at(tmp_path: Path) -> None:
    path = stored_apart(tmp_path, "w_s", "w.bin")
    for value, rules in ((0.5, {"external-weights"}), (0.0, {"external-weights", "scale"})):
        (tmp_path / "w.bin").write_bytes(np.float32(value).tobytes())
        assert {finding.rule for finding in inspect_file(path, NEW).findings} == rules
    (tmp_path / "w.bin").write_bytes(b"cut")
    with pytest.raises(ExportError, match=r"model\.onnx cannot be read"):
        inspect_file(path, NEW)
    (tmp_path / "w.bin").unlink()
    with pytest.raises(ExportError, match=r"keeps w_s in w\.bin, which is not beside it"):
        inspect_file(path, NEW)


@pytest.mark.parametrize("location", ["../w.bin", "{folder}/w.bin"])
def test_weights_outside_the_folder_are_not_read(location: str, tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(4))
    folder = tmp_path / "deep"
    folder.mkdir()
    with pytest.raises(ExportError, match="not beside it"):
        inspect_file(stored_apart(folder, "w_s", location.format(folder=tmp_path)), NEW)


def test_a_bundle_without_graphs_for_tensorrt_is_said(
    laptop_graphs: GraphSet, request_for_laptop: ExportRequest, tmp_path: Path
) -> None:
    bundle = open_bundle(write_candidate(tmp_path / "laptop", laptop_graphs, request_for_laptop))
    with pytest.raises(LintError, match=r"laptop has no graphs for TensorRT, it is for laptop-x86 \(openvino"):
        inspect_bundle(bundle, NEW)


def test_a_file_of_anybodys_is_not_held_against_our_own_rules(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(model([helper.make_node("Gelu", ["x"], ["y"])], opset=20).SerializeToString())
    assert inspect_file(path, NEW).findings == ()
    assert {finding.rule for finding in inspect_file(path, OLD).findings} == {"operator", "opset"}


def test_an_int8_product_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(product((1, 1, 64), (64, 64)).SerializeToString())
    found = inspect_file(path, NEW)
    assert (found.int8, dict(found.nodes)) == (1, {"QuantizeLinear": 2, "DequantizeLinear": 2, "MatMul": 1})
    assert found.to_json()["findings"][0]["rule"] == "int8-vector"


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9])
def test_a_file_that_is_cut_is_one_clear_line(jetson: Bundle, tmp_path: Path, kept: float) -> None:
    whole = (
        jetson.path / next(spec.file for spec in jetson.manifest.graphs if spec.backend == "tensorrt")
    ).read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(ExportError, match="is no ONNX graph, or not all of one") as caught:
        inspect_file(path, NEW)
    assert "\n" not in str(caught.value)


def test_what_is_no_graph_or_not_there_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no graph at all\n" * 9)
    with pytest.raises(ExportError, match="is no ONNX graph"):
        inspect_file(tmp_path / "text.onnx", NEW)
    with pytest.raises(ExportError, match=r"none\.onnx cannot be read"):
        inspect_file(tmp_path / "none.onnx", NEW)
