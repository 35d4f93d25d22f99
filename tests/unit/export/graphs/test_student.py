from __future__ import annotations

import numpy as np
import onnx
import torch

from edge_msa.models.student import Student
from edge_msa_export.graphs.onnx_export import export_onnx
from edge_msa_export.graphs.student import (
    STREAM_BATCH,
    build_student_modules,
    get_student_shapes,
    list_window_lengths,
    predict_with_torch,
)
from edge_msa_export.lint import LintTarget, lint
from edge_msa_runtime.bundle.manifest import GraphKey
from edge_msa_runtime.modalities import Subset
from tests.unit.export.students import CHUNKS, DIMS, NORMALIZATION, WINDOWS

Graphs = dict[GraphKey, onnx.ModelProto]
STATES = ["conv0", "conv1", "peak", "mass", "tokens"]


def test_every_graph_is_valid_at_opset_17_for_every_backend(student_graphs: Graphs) -> None:
    assert len(student_graphs) == 2 * (3 + 1) + 7
    for key, model in student_graphs.items():
        assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
        assert model.ir_version == 8
        targets = [LintTarget("onnxruntime"), LintTarget("openvino")]
        for target in (*targets, LintTarget("tensorrt", (8, 6))) if key.batch == 1 else targets:
            assert lint(model, target) == []


def test_graphs_for_several_streams_have_a_row_for_each(student_graphs: Graphs) -> None:
    graphs = {key: model for key, model in student_graphs.items() if key.batch > 1}
    assert {key.batch for key in graphs} == {STREAM_BATCH}
    for key, model in graphs.items():
        single = student_graphs[key._replace(batch=1)]
        for value, other in zip(
            (*model.graph.input, *model.graph.output), (*single.graph.input, *single.graph.output), strict=True
        ):
            shapes = [[dim.dim_value for dim in info.type.tensor_type.shape.dim] for info in (value, other)]
            assert value.name == other.name
            assert shapes == [[STREAM_BATCH, *shapes[1][1:]], [1, *shapes[1][1:]]]


def test_weights_keep_their_names(student: Student, student_graphs: Graphs) -> None:
    names = set(student.state_dict())
    for key in (GraphKey.step("audio"), GraphKey.window(Subset.LAV)):
        weights = {node.input[1] for node in student_graphs[key].graph.node if node.op_type == "Conv"}
        assert weights <= names
        assert {"encoders.audio.embed.weight", "encoders.audio.blocks.1.weight"} <= weights


def test_step_graph_has_states_as_inputs_and_outputs(student_graphs: Graphs) -> None:
    step = student_graphs[GraphKey.step("vision")].graph
    assert [value.name for value in step.input] == ["frames", "valid", *(f"state.{name}" for name in STATES)]
    assert [value.name for value in step.output] == [f"next.{name}" for name in STATES]


def test_fuse_graph_takes_tokens_of_every_modality(student_graphs: Graphs) -> None:
    fuse = student_graphs[GraphKey.fuse(DIMS)].graph
    assert [value.name for value in fuse.input] == ["tokens.language", "tokens.audio", "tokens.vision", "available"]


def test_window_graph_takes_frames_of_its_subset(student_graphs: Graphs) -> None:
    window = student_graphs[GraphKey.window(Subset.LV)].graph
    names = ["frames.language", "valid.language", "frames.vision", "valid.vision"]
    assert [value.name for value in window.input] == names
    assert [value.name for value in window.output] == ["prediction"]


def test_window_graph_has_no_weights_of_absent_modalities(student_graphs: Graphs) -> None:
    names = {tensor.name for tensor in student_graphs[GraphKey.window(Subset.A)].graph.initializer}
    assert not [name for name in names if "language" in name or "vision" in name]


def test_language_has_window_graphs_for_shorter_texts() -> None:
    lengths = list_window_lengths(Subset.L, {"language": 50})
    assert [item["language"] for item in lengths.values()] == [16, 32, 50]
    assert list(lengths)[-1] == GraphKey.window(Subset.L)
    assert len(list_window_lengths(Subset.LA, {"language": 50, "audio": 50})) == 1


def test_export_is_deterministic(student: Student, student_graphs: Graphs) -> None:
    key = GraphKey.step("audio")
    again = export_onnx(build_student_modules(student, NORMALIZATION, CHUNKS, WINDOWS)[key])
    first = student_graphs[key].SerializeToString(deterministic=True)
    assert again.SerializeToString(deterministic=True) == first


def test_prediction_uses_no_dropout_and_keeps_training_mode(student: Student) -> None:
    student.train()
    try:
        frames = {"audio": np.ones((4, DIMS["audio"]), np.float32)}
        valid = {"audio": np.ones(4, np.bool_)}
        first = predict_with_torch(student, frames, valid)
        assert np.array_equal(first, predict_with_torch(student, frames, valid))
        assert student.training
    finally:
        student.eval()


def test_shapes_state_sizes_and_initial_values(student: Student) -> None:
    shapes = get_student_shapes(student)
    assert {spec.name: spec.initial for spec in shapes.states["audio"]}["peak"] == -1e4
    assert shapes.outputs == 1
    assert dict(shapes.dims) == DIMS
    assert torch.is_grad_enabled()
