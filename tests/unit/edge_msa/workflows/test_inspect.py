from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from edge_msa.cli import run
from edge_msa.workflows.inspect import SHOWN, slow_line
from edge_msa_export.lint import ERROR, NOTE, WARNING, Finding
from tests.unit.export.onnx_models import make_int8_product, make_model


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """Fine for a TensorRT of 8.6 and later."""
    path = tmp_path / "model.onnx"
    nodes = [helper.make_node("LayerNormalization", ["x", "w"], ["y"], name="norm")]
    path.write_bytes(make_model(nodes, {"w": np.ones(8, np.float32)}).SerializeToString())
    return path


def test_a_file_that_is_read_ends_with_0(graph: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(graph), "--tensorrt", "8.6"]) == 0
    said = capsys.readouterr()
    assert "1 graphs held against TensorRT 8.6" in said.out
    assert "error: 0, warning: 0" in said.out
    assert said.err == ""


def test_a_file_that_is_refused_ends_with_1_and_says_what(graph: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(graph), "--target", "jetson-xavier-nx", "--json"]) == 1
    said = capsys.readouterr()
    assert "8.5-GA" in said.out
    assert said.err.count("\n") == 1
    assert "TensorRT 8.5.2.2 refuses 1 of 1 graphs" in said.err
    assert "LayerNormalization norm" in said.err
    found = json.loads(said.out.splitlines()[-1])["graphs"][0]["findings"][0]
    assert (found["rule"], found["severity"], found["location"]) == (
        "operator", "error", "LayerNormalization norm")  # fmt: skip


def test_what_does_not_pay_is_told_and_ends_with_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(make_int8_product((1, 1, 64), (64, 64)).SerializeToString())
    assert run(["inspect", str(path), "--tensorrt", "11"]) == 0
    out = capsys.readouterr().out
    assert "int8-vector" in out
    assert "strong-typing" in out
    assert "MatMul 1" in out


def test_of_a_rule_the_first_few_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nodes = [helper.make_node("Erf", ["x" if not i else f"t{i}"], [f"t{i + 1}"]) for i in range(SHOWN + 3)]
    nodes.append(helper.make_node("Relu", [f"t{SHOWN + 3}"], ["y"]))
    path = tmp_path / "model.onnx"
    path.write_bytes(make_model(nodes).SerializeToString())
    assert run(["inspect", str(path), "--target", "jetson-orin-nx", "--dla", "--json"]) == 0
    *table, last = capsys.readouterr().out.splitlines()
    assert sum("dla-operator" in line for line in table) == SHOWN + 1
    assert any("and 3 more" in line for line in table)
    assert sum(found["rule"] == "dla-operator" for found in json.loads(last)["graphs"][0]["findings"]) == SHOWN + 3


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        ([], 2, "give --tensorrt VERSION or --target NAME"),
        (["--tensorrt", "7.2"], 2, "TensorRT version must be at least 8.5"),
        (["--tensorrt", "new"], 2, "must be like 8.5, 10.3 or 11.4.1, got 'new'"),
        (["--tensorrt", "8.5", "--target", "jetson"], 2, "give one of them"),
        (["--target", "laptop"], 2, "laptop-x86 has no TensorRT"),
        (["--target", "jetson", "--dla"], 2, "jetson-orin-nano has no DLA"),
        (["--target", "jetsn"], 2, "Did you mean 'jetson'"),
    ],
)
def test_what_cannot_be_held_against_anything_is_one_line(
    graph: Path, options: list[str], code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["inspect", str(graph), *options]) == code
    err = capsys.readouterr().err
    assert told in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("none", "none does not exist: give a bundle"),
        (".", "is not a bundle"),
        ("cut.onnx", "is not a complete ONNX model"),
    ],
)
def test_what_is_no_bundle_and_no_graph_is_one_line(
    graph: Path, name: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (graph.parent / "cut.onnx").write_bytes(graph.read_bytes()[:20])
    assert run(["inspect", str(graph.parent / name), "--tensorrt", "8.5"]) in {1, 2}
    err = capsys.readouterr().err
    assert told in err
    assert err.count("\n") == 1


def test_export_tells_what_does_not_pay_in_one_line() -> None:
    def finding(rule: str, severity: str) -> Finding:
        return Finding(rule, severity, "here", "what", "document")

    assert slow_line([finding("strong-typing", NOTE), finding("operator", ERROR)]) is None
    line = slow_line([finding("int8-small", WARNING), finding("int8-vector", WARNING), finding("int8-small", WARNING)])
    assert line is not None
    assert "3 places" in line
    assert "int8-small 2, int8-vector 1" in line
