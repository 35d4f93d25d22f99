from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from edge_msa.models.student import Student
from edge_msa_export.graphs.onnx_export import export_onnx
from edge_msa_export.graphs.student import build_student_modules, get_student_shapes
from edge_msa_export.parity.reference_backend import ReferenceBackend
from edge_msa_export.transforms.fp16 import to_fp16
from edge_msa_runtime.backends.base import Program
from edge_msa_runtime.bundle.manifest import GraphKey
from edge_msa_runtime.modalities import Subset
from tests.unit.export.onnx_models import assert_close, make_inputs, run_onnx
from tests.unit.export.students import DIMS, NORMALIZATION, make_frames

Array = np.ndarray
Graphs = dict[GraphKey, onnx.ModelProto]


def load(graph: onnx.ModelProto, folder: Path) -> Program:
    path = folder / "graph.onnx"
    path.write_bytes(graph.SerializeToString())
    return ReferenceBackend().load(path)


def test_reference_computes_what_onnx_runtime_computes(student_graphs: Graphs, tmp_path: Path) -> None:
    for key in (GraphKey.step("audio"), GraphKey.window(Subset.LA), GraphKey.fuse(DIMS)):
        inputs = make_inputs(student_graphs[key])
        if "state.mass" in inputs:
            inputs["state.mass"][:] = 2
        outputs = load(student_graphs[key], tmp_path)(inputs)
        for actual, expected in zip(outputs.values(), run_onnx(student_graphs[key], inputs), strict=True):
            assert_close(actual, expected, rtol=1e-5)


def stream_tokens(
    graph: onnx.ModelProto, student: Student, folder: Path, chunk: int, lengths: list[int]
) -> list[Array]:
    """Return the tokens after each number of frames, computed chunk by chunk."""
    program = load(graph, folder)
    state = {
        spec.name: np.full(spec.shape, spec.initial, np.float32) for spec in get_student_shapes(student).states["audio"]
    }
    frames = make_frames(np.random.default_rng(1), max(lengths), DIMS["audio"])
    tokens: list[Array] = []
    for start in range(0, max(lengths), chunk):
        inputs = {f"state.{name}": value for name, value in state.items()}
        inputs |= {"frames": frames[None, start : start + chunk], "valid": np.ones((1, chunk), np.float32)}
        state = {name.partition(".")[2]: value for name, value in program(inputs).items()}
        if start + chunk in lengths:
            tokens.append(state["tokens"])
    return tokens


@pytest.mark.case("F9")
def test_a_long_stream_in_float16_does_not_drift(student: Student, tmp_path: Path) -> None:
    chunk, lengths = 1000, [1000, 10_000, 100_000]
    module = build_student_modules(student, NORMALIZATION, {**dict.fromkeys(DIMS, chunk)}, dict.fromkeys(DIMS, 4))
    graph = export_onnx(module[GraphKey.step("audio")])
    exact = stream_tokens(graph, student, tmp_path, chunk, lengths)
    half = stream_tokens(to_fp16(graph), student, tmp_path, chunk, lengths)
    scale = float(np.abs(exact[-1]).max())
    differences = [float(np.abs(a - b).max()) / scale for a, b in zip(half, exact, strict=True)]
    assert max(differences) < 1e-2
    assert differences[-1] < max(4 * differences[0], 1e-3)


def run_conv(inputs: dict[str, Array], folder: Path, **attributes: Any) -> Array:
    half = {name: values.astype(np.float16) for name, values in inputs.items()}
    shape = np.shape(half["x"])
    node = helper.make_node("Conv", list(half), ["y"], **attributes)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT16, value.shape) for name, value in half.items()]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT16, (shape[0], len(half["w"]), *shape[2:]))
    graph = helper.make_graph([node], "conv", values, [output])
    return load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), folder)(half)["y"]


@pytest.mark.parametrize(
    "attributes", [{"auto_pad": "SAME_UPPER"}, {"pads": [1, 1]}, {"auto_pad": "NOTSET", "pads": [1, 1]}]
)
def test_padded_convolutions_have_float32_accumulators(attributes: dict[str, Any], tmp_path: Path) -> None:
    """A float16 sum of ones stops growing at 2048."""
    channels = 4096
    inputs = {"x": np.ones((1, channels, 5)), "w": np.ones((1, channels, 3))}
    outputs = run_conv(inputs, tmp_path, kernel_shape=[3], **attributes)
    np.testing.assert_array_equal(outputs, np.array([[[8192, 12288, 12288, 12288, 8192]]], np.float16))


def test_the_error_function_is_that_of_the_reference(tmp_path: Path) -> None:
    x = np.linspace(-4, 4, 999).astype(np.float16)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT16, x.shape) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Erf", ["x"], ["y"])], "erf", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    (expected,) = ReferenceEvaluator(model).run(None, {"x": x})
    np.testing.assert_array_equal(load(model, tmp_path)({"x": x})["y"], expected)
