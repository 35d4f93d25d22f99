from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_msa_export.errors import ExportError
from edge_msa_export.lint import find_local_paths, lint, refuse_findings


def _model(
    nodes: list[onnx.NodeProto],
    constants: dict[str, np.ndarray] | None = None,
    shape: tuple[int | str, ...] = (1, 3, 8),
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "edge_msa",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, list(shape))],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _rules(model: onnx.ModelProto, engine: str = "tensorrt") -> set[str]:
    return {finding.rule for finding in lint(model, engine)}


def test_a_plain_graph_has_no_findings() -> None:
    assert _rules(_model([helper.make_node("Relu", ["x"], ["y"])])) == set()


def test_another_opset_or_ir_version_is_found() -> None:
    model = _model([helper.make_node("Relu", ["x"], ["y"])])
    model.opset_import[0].version, model.ir_version = 18, 10
    assert _rules(model) == {"opset", "ir-version"}


def test_an_operator_of_another_domain_or_unknown_to_the_engine_is_found() -> None:
    assert _rules(_model([helper.make_node("FusedConv", ["x"], ["y"], domain="com.microsoft")])) == {"operator"}
    layer_norm = helper.make_node("LayerNormalization", ["x", "s"], ["y"])
    model = _model([layer_norm], {"s": np.ones(8, np.float32)})
    assert _rules(model, "tensorrt") == {"operator"}
    assert _rules(model, "onnxruntime") == set()


def test_a_reduce_whose_axes_are_an_input_is_found() -> None:
    node = helper.make_node("ReduceMax", ["x", "axes"], ["y"])
    assert _rules(_model([node], {"axes": np.array([1])})) == {"reduce-axes"}


def test_a_reduce_over_all_axes_is_found() -> None:
    assert _rules(_model([helper.make_node("ReduceMean", ["x"], ["y"])])) == {"reduce-axes"}
    assert _rules(_model([helper.make_node("ReduceSum", ["x"], ["y"])])) == {"reduce-axes"}


def test_a_dimension_that_is_not_fixed_is_found() -> None:
    assert _rules(_model([helper.make_node("Relu", ["x"], ["y"])], shape=(1, "time", 8))) == {"static-shape"}


@pytest.mark.parametrize("path", ["/home/somebody/x.py", "C:\\Users\\somebody\\x.py", f"{sys.prefix}/lib/x.py"])
def test_a_path_is_found_in_every_string(path: str) -> None:
    named = _model([helper.make_node("Relu", ["x"], ["y"], name=path)])
    assert _rules(named) == {"local-path"}
    documented = _model([helper.make_node("Relu", ["x"], ["y"])])
    documented.graph.node[0].doc_string = f"File {path}, line 3"
    assert _rules(documented) == {"local-path"}
    noted = _model([helper.make_node("Relu", ["x"], ["y"])])
    entry = noted.graph.node[0].metadata_props.add()
    entry.key, entry.value = "trace", path
    assert _rules(noted) == {"local-path"}


def test_names_with_slashes_are_not_paths() -> None:
    assert find_local_paths("/encoders/language/Conv_output_0 a/b http://onnx.ai/x") is None


def test_an_element_is_not_the_folder_of_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "cwd", lambda: Path("/data"))
    assert find_local_paths("<layer><data/></layer></data>") is None
    assert find_local_paths('name="/data/model.py"') == "/data"


def _quantised() -> list[onnx.NodeProto]:
    return [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"], axis=1),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"], axis=1),
    ]


@pytest.mark.parametrize(
    ("scale", "zero", "rules"),
    [
        (np.float32(0.1), np.int8(0), set()),
        (np.float32(0.1), np.int8(3), {"zero-point"}),
        (np.float32(0.1), np.uint8(0), {"zero-point"}),
        (np.full(3, 0.1, np.float32), np.zeros(3, np.int8), {"per-channel-activation"}),
    ],
)
def test_quantisation_that_tensorrt_refuses_is_found(scale: np.ndarray, zero: np.ndarray, rules: set[str]) -> None:
    model = _model(_quantised(), {"scale": np.asarray(scale), "zero": np.asarray(zero)})
    assert _rules(model, "tensorrt") == rules
    assert _rules(model, "onnxruntime") == set()


def test_a_quantised_bias_is_found() -> None:
    nodes = [
        helper.make_node("DequantizeLinear", ["b", "scale", "zero"], ["bias"]),
        helper.make_node("Conv", ["x", "w", "bias"], ["y"]),
    ]
    constants: dict[str, np.ndarray] = {
        "b": np.zeros(3, np.int8),
        "scale": np.asarray(0.1, np.float32),
        "zero": np.asarray(0, np.int8),
        "w": np.zeros((3, 3, 1), np.float32),
    }
    assert _rules(_model(nodes, constants)) == {"quantised-bias", "int8-weight"}


def test_export_refuses_findings_in_one_line() -> None:
    model = _model([helper.make_node("Mish", ["x"], ["y"])])
    with pytest.raises(ExportError, match=r"step-audio is not fit for openvino: operator.*Mish") as caught:
        refuse_findings(model, "openvino", "step-audio")
    assert "\n" not in str(caught.value)


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(ExportError, match="tflite"):
        lint(_model([helper.make_node("Relu", ["x"], ["y"])]), "tflite")
