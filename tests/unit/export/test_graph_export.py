from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from edge_msa.models.student import ModalitySizes, Student, StudentConfig
from edge_msa_export.graphs.export import export_fuse, export_step, export_window, facts_of, torch_prediction
from edge_msa_export.lint import LintTarget, lint
from edge_msa_export.parity.graphs import Array, ParityCase, Program, measure_parity, read_chain, read_window
from edge_msa_runtime.backends import open_backend
from edge_msa_runtime.backends.base import Program as LoadedProgram
from edge_msa_runtime.bundle.manifest import GraphKey
from edge_msa_runtime.modalities import Subset

# Of tests/unit/export/conftest.py, which cannot be imported from.
DIMS = {"language": 6, "audio": 5, "vision": 4}
CHUNKS = {"language": 4, "audio": 5, "vision": 3}
WINDOWS = {"language": 14, "audio": 17, "vision": 12}


def _program(model: onnx.ModelProto) -> Program:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))

    return run


@pytest.fixture(scope="module")
def programs(graphs: dict[GraphKey, onnx.ModelProto]) -> dict[GraphKey, Program]:
    return {key: _program(model) for key, model in graphs.items()}


def _case(student: Student, subset: Subset, seed: int) -> ParityCase:
    rng = np.random.default_rng(seed)
    frames = {name: rng.normal(size=(WINDOWS[name], DIMS[name])).astype(np.float32) for name in subset.modalities}
    valid = {name: rng.random(WINDOWS[name]) < 0.6 for name in subset.modalities}
    for mask in valid.values():
        mask[0], mask[-1] = False, True
    return ParityCase(subset, GraphKey.window(subset), WINDOWS, frames, valid, torch_prediction(student, frames, valid))


def test_every_graph_is_a_true_opset_17_for_every_backend(graphs: dict[GraphKey, onnx.ModelProto]) -> None:
    assert len(graphs) == 3 + 1 + 7
    for model in graphs.values():
        assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
        assert model.ir_version == 8
        for reader in (LintTarget("onnxruntime"), LintTarget("openvino"), LintTarget("tensorrt", (8, 6))):
            assert lint(model, reader) == []


@pytest.mark.parametrize("subset", list(Subset))
def test_chunked_steps_and_window_and_torch_read_the_same_through_holes(
    student: Student, programs: dict[GraphKey, Program], subset: Subset
) -> None:
    states = facts_of(student).states
    for seed in range(3):
        case = _case(student, subset, seed)
        chain = read_chain(programs, case.frames, case.valid, states, CHUNKS)
        window = read_window(programs, case)
        np.testing.assert_allclose(chain, case.prediction, atol=1e-5, rtol=0)
        np.testing.assert_allclose(window, case.prediction, atol=1e-5, rtol=0)


@pytest.fixture(scope="module")
def rich() -> dict[GraphKey, onnx.ModelProto]:
    """The graphs of `rich_student` that read all modalities."""
    student = rich_student()
    found = {GraphKey.step(name): export_step(student, name, CHUNKS[name]) for name in DIMS}
    return found | {
        GraphKey.fuse(DIMS): export_fuse(student),
        GraphKey.window(Subset.LAV): export_window(student, Subset.LAV, WINDOWS),
    }


def rich_student() -> Student:
    """A GRU over words in wider tokens, and rows of frames: neither chunks nor windows are multiples of a row."""
    torch.manual_seed(3)
    own = {"language": ModalitySizes(width=20, blocks=1, recurrence="gru"), "audio": ModalitySizes(stride=4)}
    config = StudentConfig(
        DIMS, width=16, blocks=2, tokens=2, hidden=8, stride=2, own={**own, "vision": ModalitySizes()}
    )
    return Student(config).eval()


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_gru_and_rows_of_frames_read_as_torch_does_in_steps_and_windows(
    rich: dict[GraphKey, onnx.ModelProto], backend: str, tmp_path: Path
) -> None:
    student = rich_student()
    opened = open_backend(backend)
    programs: dict[GraphKey, Program] = {}
    for key, model in rich.items():
        assert lint(model, LintTarget(backend)) == []
        path = tmp_path / f"{key.file_stem}.onnx"
        path.write_bytes(model.SerializeToString())
        loaded = opened.load(path, "fp32")

        def run(inputs: Mapping[str, Array], program: LoadedProgram = loaded) -> Mapping[str, Array]:
            for name, value in inputs.items():
                program.inputs[name][...] = value
            program.run()
            return {name: value.copy() for name, value in program.outputs.items()}

        programs[key] = run
    states = facts_of(student).states
    assert [state.initial for state in states["audio"] if state.name == "phase"] == [3.0]
    for seed in range(4):
        case = _case(student, Subset.LAV, seed)
        chain = read_chain(programs, case.frames, case.valid, states, CHUNKS)
        np.testing.assert_allclose(chain, case.prediction, atol=1e-5, rtol=0)
        np.testing.assert_allclose(read_window(programs, case), case.prediction, atol=1e-5, rtol=0)


def test_parity_sees_a_graph_that_reads_something_else(student: Student, programs: dict[GraphKey, Program]) -> None:
    right = programs[GraphKey.window(Subset.LA)]

    def wrong(inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        return {"prediction": right(inputs)["prediction"] + np.float32(0.5)}

    cases = [_case(student, subset, 0) for subset in Subset]
    states = facts_of(student).states
    parity = measure_parity({**programs, GraphKey.window(Subset.LA): wrong}, cases, states, CHUNKS)
    assert parity[GraphKey.window(Subset.LA)] == pytest.approx(0.5, abs=1e-4)
    assert max(value for key, value in parity.items() if key != GraphKey.window(Subset.LA)) < 1e-5


def test_weights_keep_their_names_in_step_and_window_graphs(
    student: Student, graphs: dict[GraphKey, onnx.ModelProto]
) -> None:
    known = set(student.state_dict())
    for key in (GraphKey.step("audio"), GraphKey.window(Subset.LAV)):
        convs = [node.input[1] for node in graphs[key].graph.node if node.op_type == "Conv"]
        assert set(convs) <= known
        assert {"encoders.audio.embed.weight", "encoders.audio.blocks.1.weight"} <= set(convs)


def test_names_of_inputs_and_outputs_are_those_of_the_manifest(graphs: dict[GraphKey, onnx.ModelProto]) -> None:
    step = graphs[GraphKey.step("vision")].graph
    states = ["conv0", "conv1", "peak", "mass", "tokens"]
    assert [value.name for value in step.input] == ["frames", "valid", *(f"state.{name}" for name in states)]
    assert [value.name for value in step.output] == [f"next.{name}" for name in states]
    fuse = graphs[GraphKey.fuse(DIMS)].graph
    assert [value.name for value in fuse.input] == ["tokens.language", "tokens.audio", "tokens.vision", "available"]
    window = graphs[GraphKey.window(Subset.LV)].graph
    assert [value.name for value in window.input] == [
        "frames.language",
        "valid.language",
        "frames.vision",
        "valid.vision",
    ]
    assert [value.name for value in window.output] == ["prediction"]


def test_a_window_graph_holds_nothing_of_absent_modalities(graphs: dict[GraphKey, onnx.ModelProto]) -> None:
    names = {tensor.name for tensor in graphs[GraphKey.window(Subset.A)].graph.initializer}
    assert not [name for name in names if "language" in name or "vision" in name]


def test_the_same_student_gives_the_same_bytes(student: Student, graphs: dict[GraphKey, onnx.ModelProto]) -> None:
    again = export_step(student, "audio", CHUNKS["audio"])
    assert again.SerializeToString(deterministic=True) == graphs[GraphKey.step("audio")].SerializeToString(
        deterministic=True
    )


def test_a_student_in_training_mode_is_exported_without_dropout_and_left_in_it(student: Student) -> None:
    student.train()
    try:
        frames = {"audio": np.ones((4, DIMS["audio"]), np.float32)}
        valid = {"audio": np.ones(4, np.bool_)}
        first = torch_prediction(student, frames, valid)
        assert np.array_equal(first, torch_prediction(student, frames, valid))
        assert student.training
    finally:
        student.eval()


def test_initial_states_are_described_by_one_value_each(student: Student) -> None:
    facts = facts_of(student)
    assert {spec.name: spec.initial for spec in facts.states["audio"]}["peak"] == -1e4
    assert facts.outputs == 1
    assert dict(facts.dims) == DIMS
    assert torch.is_grad_enabled()
