from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from edge_msa_export.errors import ExportError
from edge_msa_export.graphs.files import read_graphs, write_graphs
from edge_msa_runtime.bundle.manifest import GraphKey
from edge_msa_runtime.modalities import MODALITIES, Subset


def graph(name: str) -> onnx.ModelProto:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    other = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    return helper.make_model(helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], name, [value], [other]))


KEYS = (GraphKey.step("audio"), GraphKey.fuse(MODALITIES), GraphKey.window(Subset.LAV), GraphKey.window(Subset.L, 16))


def test_graphs_come_back_under_their_keys(tmp_path: Path) -> None:
    graphs = {key: graph(key.role) for key in KEYS}
    write_graphs(tmp_path, graphs)
    assert read_graphs(tmp_path) == graphs


def test_where_none_were_written_there_are_none(tmp_path: Path) -> None:
    (tmp_path / "other.onnx").touch()
    assert read_graphs(tmp_path) == {}


def test_a_damaged_graph_is_named(tmp_path: Path) -> None:
    write_graphs(tmp_path, {KEYS[0]: graph("step")})
    path = tmp_path / "graph-step-audio.onnx"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(ExportError, match=r"Cannot load .*graph-step-audio.onnx .* Create the run again"):
        read_graphs(tmp_path)
