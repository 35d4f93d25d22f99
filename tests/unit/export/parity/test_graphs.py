from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from edge_msa.models.student import ModalitySizes, Student, StudentConfig
from edge_msa_export.graphs.onnx_export import export_onnx
from edge_msa_export.graphs.student import (
    STREAM_BATCH,
    build_batch_modules,
    build_student_modules,
    get_student_shapes,
    predict_with_torch,
)
from edge_msa_export.lint import LintTarget, lint
from edge_msa_export.parity.graphs import (
    Array,
    ParityCase,
    Program,
    make_mask_with_gaps,
    measure_parity,
    predict_batch,
    predict_in_chunks,
    predict_window,
)
from edge_msa_runtime.backends import open_backend
from edge_msa_runtime.bundle.manifest import GraphKey
from edge_msa_runtime.inputs.gaps import pack_frames
from edge_msa_runtime.modalities import Subset
from tests.unit.export.onnx_models import assert_close
from tests.unit.export.students import CHUNKS, DIMS, NORMALIZATION, WINDOWS, make_frames

Graphs = dict[GraphKey, onnx.ModelProto]
Programs = dict[GraphKey, Program]


def load_programs(graphs: Graphs, backend: str, folder: Path) -> Programs:
    opened = open_backend(backend)
    programs: Programs = {}
    for key, graph in graphs.items():
        path = folder / f"{key.file_stem}.onnx"
        path.write_bytes(graph.SerializeToString())
        programs[key] = opened.load(path, "fp32")
    return programs


@pytest.fixture(scope="module")
def programs(student_graphs: Graphs, tmp_path_factory: pytest.TempPathFactory) -> Programs:
    return load_programs(student_graphs, "onnxruntime", tmp_path_factory.mktemp("programs"))


def make_case(student: Student, subset: Subset, seed: int) -> ParityCase:
    """Return a case of random frames with random gaps; the first frame is masked and the last one is valid."""
    rng = np.random.default_rng(seed)
    frames = {name: make_frames(rng, WINDOWS[name], DIMS[name]) for name in subset.modalities}
    normalized = {name: NORMALIZATION[name].apply(value) for name, value in frames.items()}
    valid = {name: rng.random(WINDOWS[name]) < 0.6 for name in subset.modalities}
    for mask in valid.values():
        mask[0], mask[-1] = False, True
    prediction = predict_with_torch(student, normalized, valid)
    rows = {}
    for name, value in frames.items():
        mean = np.array(NORMALIZATION[name].mean_frame, np.float32)
        rows[name] = pack_frames(value, valid[name], mean if name in student.config.gap_frames else None)
    return ParityCase(subset, GraphKey.window(subset), WINDOWS, rows, prediction)


@pytest.mark.parametrize("subset", list(Subset))
def test_steps_and_window_reproduce_torch_with_gaps(student: Student, programs: Programs, subset: Subset) -> None:
    states = get_student_shapes(student).states
    for seed in range(3):
        case = make_case(student, subset, seed)
        chunked = predict_in_chunks(programs, case.rows, states, CHUNKS)
        assert_close(chunked, case.prediction, rtol=2e-5)
        assert_close(predict_window(programs, case), case.prediction, rtol=2e-5)


@pytest.fixture(scope="module")
def varied_student() -> Student:
    """A student with a GRU, rows of frames, and gap frames; neither chunks nor windows are multiples of a row."""
    torch.manual_seed(3)
    sizes = {
        "language": ModalitySizes(width=20, blocks=1, recurrence="gru"),
        "audio": ModalitySizes(stride=4),
        "vision": ModalitySizes(),
    }
    config = StudentConfig(
        DIMS, width=16, blocks=2, tokens=2, hidden=8, stride=2, overrides=sizes, gap_frames=("language", "audio")
    )
    return Student(config).eval()


@pytest.fixture(scope="module")
def varied_graphs(varied_student: Student) -> Graphs:
    keys = [*map(GraphKey.step, DIMS), GraphKey.fuse(DIMS), GraphKey.window(Subset.LAV)]
    modules = build_student_modules(varied_student, NORMALIZATION, CHUNKS, WINDOWS)
    batches = build_batch_modules(varied_student, NORMALIZATION, CHUNKS)
    return {key: export_onnx(module) for key, module in {**{key: modules[key] for key in keys}, **batches}.items()}


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_gru_and_rows_of_frames_reproduce_torch(
    varied_student: Student, varied_graphs: Graphs, backend: str, tmp_path: Path
) -> None:
    for graph in varied_graphs.values():
        assert lint(graph, LintTarget(backend)) == []
    programs = load_programs(varied_graphs, backend, tmp_path)
    states = get_student_shapes(varied_student).states
    assert [state.initial for state in states["audio"] if state.name == "phase"] == [3.0]
    for seed in range(4):
        case = make_case(varied_student, Subset.LAV, seed)
        chunked = predict_in_chunks(programs, case.rows, states, CHUNKS)
        assert_close(chunked, case.prediction, rtol=2e-5)
        assert_close(predict_window(programs, case), case.prediction, rtol=2e-5)
    cases = [make_case(varied_student, subset, seed) for seed, subset in enumerate(Subset)]
    for case, prediction in zip(cases, predict_batch(programs, cases, states, CHUNKS, STREAM_BATCH), strict=True):
        assert_close(prediction, case.prediction, rtol=2e-5)


@pytest.mark.parametrize("offset", [0.5, np.nan])
def test_parity_reports_a_graph_with_other_predictions(student: Student, programs: Programs, offset: float) -> None:
    wrong_key = GraphKey.window(Subset.LA)
    correct = programs[wrong_key]

    def run_wrong(inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        return {"prediction": correct(inputs)["prediction"] + np.float32(offset)}

    cases = [make_case(student, subset, 0) for subset in Subset]
    states = get_student_shapes(student).states
    parity = measure_parity({**programs, wrong_key: run_wrong}, cases, states, CHUNKS)
    assert parity[wrong_key] == pytest.approx(offset, rel=1e-3, nan_ok=True)
    scale = max(float(np.abs(case.prediction).max()) for case in cases)
    assert max(value for key, value in parity.items() if key != wrong_key) < 2e-5 * scale


def test_parity_reports_a_graph_for_several_streams_with_other_predictions(
    student: Student, programs: Programs
) -> None:
    wrong_key = GraphKey.fuse(DIMS, STREAM_BATCH)
    correct = programs[wrong_key]

    def run_wrong(inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        return {"prediction": correct(inputs)["prediction"] + np.float32(0.5)}

    cases = [make_case(student, subset, seed) for seed in range(2) for subset in Subset]
    parity = measure_parity({**programs, wrong_key: run_wrong}, cases, get_student_shapes(student).states, CHUNKS)
    assert {key for key, value in parity.items() if value > 0.4} == {key for key in programs if key.batch > 1}


@pytest.mark.parametrize(("length", "valid"), [(1, [True]), (5, [False, True, True, False, True])])
def test_mask_with_gaps_keeps_at_least_one_frame(length: int, valid: list[bool]) -> None:
    assert make_mask_with_gaps(length).tolist() == valid
