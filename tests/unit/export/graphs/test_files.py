from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import helper

from edge_msa_export.errors import ExportError
from edge_msa_export.graphs.files import load_graphs, write_graphs
from edge_msa_runtime.bundle.manifest import GraphKey
from edge_msa_runtime.modalities import MODALITIES, Subset
from tests.unit.export.onnx_models import make_model

KEYS = (GraphKey.step("audio"), GraphKey.fuse(MODALITIES), GraphKey.window(Subset.LAV), GraphKey.window(Subset.L, 16))


def make_graph(name: str) -> onnx.ModelProto:
    return make_model([helper.make_node("Relu", ["x"], ["y"], name=name)])


def test_loaded_graphs_have_the_keys_they_were_written_with(tmp_path: Path) -> None:
    graphs = {key: make_graph(str(key)) for key in KEYS}
    write_graphs(tmp_path, graphs)
    assert load_graphs(tmp_path) == graphs


def test_folder_without_graphs_gives_none(tmp_path: Path) -> None:
    (tmp_path / "other.onnx").touch()
    assert load_graphs(tmp_path) == {}


def test_damaged_graph_is_named_in_the_error(tmp_path: Path) -> None:
    write_graphs(tmp_path, {KEYS[0]: make_graph("step")})
    path = tmp_path / "graph-step-audio.onnx"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(ExportError, match=r"Cannot load .*graph-step-audio\.onnx .* Create the run again"):
        load_graphs(tmp_path)
