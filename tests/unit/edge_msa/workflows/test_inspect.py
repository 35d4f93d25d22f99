from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from edge_msa.cli import run
from edge_msa.deployment.lint_report import MAX_FINDINGS
from tests.unit.export.onnx_models import make_int8_product, make_model


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """A graph that TensorRT supports from 8.6 on."""
    path = tmp_path / "model.onnx"
    nodes = [helper.make_node("LayerNormalization", ["x", "w"], ["y"], name="norm")]
    path.write_bytes(make_model(nodes, {"w": np.ones(8, np.float32)}).SerializeToString())
    return path


def test_supported_graph_exits_with_code_0(graph: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(graph), "--tensorrt", "8.6"]) == 0
    printed = capsys.readouterr()
    assert "1 graphs checked for TensorRT 8.6" in printed.out
    assert "error: 0, warning: 0" in printed.out
    assert printed.err == ""


def test_unsupported_graph_exits_with_code_1_and_a_reason(graph: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(graph), "--target", "jetson-xavier-nx", "--json"]) == 1
    printed = capsys.readouterr()
    assert "8.5-GA" in printed.out
    assert printed.out.count("\n") == 1
    assert "TensorRT 8.5.2.2: 1 of 1 graphs are not supported (operator 1)" in printed.err
    assert "LayerNormalization norm" in printed.err
    finding = json.loads(printed.out.splitlines()[-1])["graphs"][0]["findings"][0]
    assert (finding["rule"], finding["severity"], finding["location"]) == (
        "operator",
        "error",
        "LayerNormalization norm",
    )


def test_slow_patterns_exit_with_code_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(make_int8_product((1, 1, 64), (64, 64)).SerializeToString())
    assert run(["inspect", str(path), "--tensorrt", "11"]) == 0
    out = capsys.readouterr().out
    assert "int8-vector" in out
    assert "strong-typing" in out
    assert "MatMul 1" in out


def test_table_lists_the_first_findings_of_a_rule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    count = MAX_FINDINGS + 3
    nodes = [helper.make_node("Erf", ["x" if not i else f"t{i}"], [f"t{i + 1}"]) for i in range(count)]
    nodes.append(helper.make_node("Relu", [f"t{count}"], ["y"]))
    path = tmp_path / "model.onnx"
    path.write_bytes(make_model(nodes).SerializeToString())
    assert run(["inspect", str(path), "--target", "jetson-orin-nx", "--dla", "--json"]) == 0
    printed = capsys.readouterr()
    table, (last,) = printed.err.splitlines(), printed.out.splitlines()
    assert sum("dla-operator" in line for line in table) == MAX_FINDINGS + 1
    assert any("and 3 more" in line for line in table)
    assert sum(item["rule"] == "dla-operator" for item in json.loads(last)["graphs"][0]["findings"]) == count


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "Pass --tensorrt VERSION or --target NAME"),
        (["--tensorrt", "7.2"], "TensorRT version must be at least 8.5"),
        (["--tensorrt", "new"], "must be like 8.5, 10.3 or 11.4.1, got 'new'"),
        (["--tensorrt", "8.5", "--target", "jetson"], "--target and --tensorrt cannot be combined"),
        (["--target", "laptop"], "laptop-x86 has no TensorRT"),
        (["--target", "jetson", "--dla"], "jetson-orin-nano has no DLA"),
        (["--target", "jetsn"], "id you mean 'jetson'"),
    ],
)
def test_invalid_target_is_a_usage_error(
    graph: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["inspect", str(graph), *options]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [("none", "none does not exist. Pass a bundle"), (".", "is not a bundle"), ("cut.onnx", "ONNX")],
)
def test_other_files_are_an_error_of_one_line(
    graph: Path, name: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (graph.parent / "cut.onnx").write_bytes(graph.read_bytes()[:20])
    assert run(["inspect", str(graph.parent / name), "--tensorrt", "8.5"]) in {1, 2}
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_devices_lists_every_profile(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["devices", "--json"]) == 0
    profiles = json.loads(capsys.readouterr().out)
    assert {"laptop-x86", "jetson-orin-nano"} <= set(profiles)
    assert run(["devices"]) == 0
    table = capsys.readouterr().out
    assert all(name in table for name in profiles)
