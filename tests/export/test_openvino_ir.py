from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import openvino
import pytest

from edge_msa_export.errors import ExportError
from edge_msa_export.graph import GraphKey
from edge_msa_export.lint import find_local_paths
from edge_msa_export.openvino_ir import write_ir


def test_ir_is_the_same_every_time_and_holds_no_paths(graphs: dict[GraphKey, onnx.ModelProto], tmp_path: Path) -> None:
    model = graphs[GraphKey("window", "la")]
    files = [tmp_path / "a.xml", tmp_path / "b.xml"]
    for path in files:
        write_ir(model, path)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert files[0].with_suffix(".bin").read_bytes() == files[1].with_suffix(".bin").read_bytes()
    assert find_local_paths(files[0].read_text(encoding="utf-8")) is None


def test_ir_keeps_the_names_and_half_weights_are_half_the_size(
    graphs: dict[GraphKey, onnx.ModelProto], tmp_path: Path
) -> None:
    model = graphs[GraphKey("window", "la")]
    whole, half = tmp_path / "whole.xml", tmp_path / "half.xml"
    write_ir(model, whole)
    write_ir(model, half, half_weights=True)
    read = openvino.Core().read_model(whole)
    assert {port.get_any_name() for port in read.inputs} == {value.name for value in model.graph.input}
    assert read.output("reading").get_shape() == openvino.Shape([1, 1])
    assert half.with_suffix(".bin").stat().st_size < 0.75 * whole.with_suffix(".bin").stat().st_size


def test_a_graph_that_openvino_cannot_read_is_said_in_one_line(tmp_path: Path) -> None:
    broken = onnx.ModelProto()
    with pytest.raises(ExportError, match=r"x\.xml") as caught:
        write_ir(broken, tmp_path / "x.xml")
    assert "\n" not in str(caught.value)
    assert not np.any([path.is_file() for path in tmp_path.iterdir()])
