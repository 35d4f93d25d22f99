from __future__ import annotations

import errno
import hashlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edge_msa_runtime
from edge_msa.models.student import Student
from edge_msa_export.build import GraphSet
from edge_msa_export.bundle.write import is_bundle, write_bundle
from edge_msa_export.errors import ExportError, OutputError
from edge_msa_export.graphs.student import predict_with_torch
from edge_msa_export.lint import find_local_paths
from edge_msa_export.request import ExportRequest
from edge_msa_runtime.bundle.loader import open_bundle
from edge_msa_runtime.bundle.manifest import Manifest
from edge_msa_runtime.errors import BundleError
from edge_msa_runtime.modalities import Subset
from tests.unit.export.onnx_models import assert_close
from tests.unit.export.students import DIMS, FEATURES, NORMALIZATION, WINDOWS, make_frames

FP32 = {"openvino": "fp32", "onnxruntime": "fp32"}


def load_manifest(folder: Path) -> Manifest:
    return Manifest.from_json(json.loads((folder / "manifest.json").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def bundle(laptop_graphs: GraphSet, laptop_request: ExportRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    accuracy = {"openvino": {"int8": {"la": {"acc2": 81.0}}}}
    folder = tmp_path_factory.mktemp("bundles") / "laptop"
    return write_bundle(folder, laptop_graphs, laptop_request, {**FP32, "openvino": "int8"}, accuracy)


def test_every_file_has_its_hash_in_the_manifest(bundle: Path) -> None:
    manifest = load_manifest(bundle)
    files = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    assert set(manifest.files) == files - {"manifest.json", "manifest.sha256"}
    for name, digest in manifest.files.items():
        assert hashlib.sha256((bundle / name).read_bytes()).hexdigest() == digest
    digest = hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest()
    assert (bundle / "manifest.sha256").read_text(encoding="utf-8").split() == [digest]


def test_runtime_opens_the_bundle(bundle: Path) -> None:
    assert open_bundle(bundle).precisions("openvino") == ("fp32", "int8")


def test_gap_frames_are_the_mean_frames_and_predict_as_in_torch(student: Student, bundle: Path) -> None:
    modalities = load_manifest(bundle).modalities
    mean = NORMALIZATION["vision"].mean
    assert {name: spec.gap_frame for name, spec in modalities.items()} == {
        "language": NORMALIZATION["language"].mean,
        "audio": None,
        "vision": mean,
    }
    rng = np.random.default_rng(4)
    frames = {name: make_frames(rng, WINDOWS[name], DIMS[name]) for name in DIMS}
    valid = {name: rng.random(WINDOWS[name]) < 0.6 for name in DIMS}
    normalized = {name: NORMALIZATION[name].apply(values) for name, values in frames.items()}
    expected = predict_with_torch(student, normalized, valid)
    for backend in ("onnxruntime", "openvino"):
        with edge_msa_runtime.load(bundle, backend, precision="fp32") as session:
            inputs: dict[str, Any] = dict(frames)
            assert_close(np.array(session.predict(**inputs, valid=valid).outputs), expected, rtol=2e-5)
            masked, missing = session.create_stream(), session.create_stream()
            for name, values in frames.items():
                for start in range(0, len(values), 3):
                    part = slice(start, start + 3)
                    masked.push(name, values[part], start * 0.1, period=0.1, valid=valid[name][part])
                    masked.predict()
                for frame in np.flatnonzero(valid[name]):
                    missing.push(name, values[frame : frame + 1], frame * 0.1, period=0.1)
            for stream in (masked, missing):
                assert_close(np.array(stream.predict().outputs), expected, rtol=2e-5)


@pytest.mark.parametrize("kind", ["graph", "golden.npz", "manifest.json"])
def test_runtime_rejects_a_changed_byte(bundle: Path, tmp_path: Path, kind: str) -> None:
    name = load_manifest(bundle).graphs[0].file if kind == "graph" else kind
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(BundleError, match=re.escape(name.rsplit("/", maxsplit=1)[-1])):
        open_bundle(copy)


def test_bundle_has_only_the_chosen_precision_and_fp32(bundle: Path) -> None:
    manifest = load_manifest(bundle)
    variants = {(graph.backend, graph.precision) for graph in manifest.graphs}
    assert variants == {("openvino", "fp32"), ("openvino", "int8"), ("onnxruntime", "fp32")}
    assert manifest.precision == {"openvino": "int8", "onnxruntime": "fp32"}
    assert manifest.backends == ("openvino", "onnxruntime")
    listed = {graph.file for graph in manifest.graphs}
    paths = [path for path in (bundle / "graphs").rglob("*") if path.is_file() and path.suffix != ".bin"]
    assert {path.relative_to(bundle).as_posix() for path in paths} == listed


def test_precisions_that_also_passed_are_included(
    laptop_graphs: GraphSet, laptop_request: ExportRequest, empty_folder: Path
) -> None:
    write_bundle(empty_folder, laptop_graphs, laptop_request, FP32, {}, also_passed={"openvino": ("int8",)})
    variants = {(graph.backend, graph.precision) for graph in load_manifest(empty_folder).graphs}
    assert variants == {("openvino", "fp32"), ("openvino", "int8"), ("onnxruntime", "fp32")}


def test_manifest_states_provenance_and_device(
    jetson_graphs: GraphSet, jetson_request: ExportRequest, tmp_path: Path
) -> None:
    chosen = {"tensorrt": "fp16", "onnxruntime": "fp32"}
    manifest = load_manifest(write_bundle(tmp_path / "jetson", jetson_graphs, jetson_request, chosen, {}))
    assert manifest.provenance["parity_measured_by"] == {
        "tensorrt": {"fp32": "onnxruntime", "fp16": "onnx-reference", "int8": "onnxruntime"},
        "onnxruntime": {"fp32": "onnxruntime", "int8": "onnxruntime"},
    }
    assert manifest.provenance["seed"] == 7
    assert manifest.target == "jetson-orin-nano"
    assert manifest.profile == jetson_request.profile.to_json()


def test_manifest_states_sizes_and_states_of_modalities(bundle: Path) -> None:
    manifest = load_manifest(bundle)
    assert list(manifest.modalities) == ["language", "audio", "vision"]
    audio = manifest.modalities["audio"]
    assert (audio.dim, audio.chunk, audio.window, audio.features) == (5, 5, 17, FEATURES["audio"])
    assert [state.name for state in audio.states] == ["conv0", "conv1", "peak", "mass", "tokens"]
    assert manifest.modalities["vision"].features.is_empty


def test_bundle_has_no_local_paths(bundle: Path) -> None:
    for path in bundle.rglob("*"):
        if path.suffix in (".json", ".md"):
            assert find_local_paths(path.read_text(encoding="utf-8")) is None


def test_golden_vectors_are_raw_frames_and_torch_predictions(
    bundle: Path, student: Student, laptop_request: ExportRequest
) -> None:
    sample = next(sample for sample in laptop_request.golden_samples if sample.subset is Subset.AV)
    with np.load(bundle / "golden.npz") as golden:
        assert len([name for name in golden.files if name.endswith("/prediction")]) == 7
        frames = {name: golden[f"av/{name}"] for name in ("audio", "vision")}
        prediction = golden["av/prediction"]
    np.testing.assert_array_equal(frames["audio"], sample.frames["audio"])
    normalized = {name: (value - np.float32(2)) / np.float32(3) for name, value in frames.items()}
    valid = {name: np.ones(len(value), np.bool_) for name, value in frames.items()}
    assert_close(prediction, predict_with_torch(student, normalized, valid), rtol=1e-6)


def test_candidate_has_every_precision_of_every_backend(jetson_candidate: Path) -> None:
    manifest = load_manifest(jetson_candidate)
    assert {(graph.backend, graph.precision) for graph in manifest.graphs} == {
        ("tensorrt", "fp32"),
        ("tensorrt", "fp16"),
        ("tensorrt", "int8"),
        ("onnxruntime", "fp32"),
        ("onnxruntime", "int8"),
    }
    assert manifest.precision == {"tensorrt": "fp32", "onnxruntime": "fp32"}


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("int8", 0.5)])
def test_candidate_runs_at_every_precision(
    jetson_candidate: Path,
    jetson_graphs: GraphSet,
    jetson_request: ExportRequest,
    precision: str,
    tolerance: float,
) -> None:
    sample = next(sample for sample in jetson_request.golden_samples if sample.subset is Subset.LA)
    with edge_msa_runtime.load(jetson_candidate, backend="onnxruntime", precision=precision) as session:
        prediction = session.predict(language=sample.frames["language"], audio=sample.frames["audio"])
    assert prediction.score == pytest.approx(float(jetson_graphs.golden["la/prediction"][0]), abs=tolerance)


def test_earlier_bundle_is_replaced(laptop_graphs: GraphSet, laptop_request: ExportRequest, empty_folder: Path) -> None:
    write_bundle(empty_folder, laptop_graphs, laptop_request, FP32, {})
    (empty_folder / "left-over.txt").write_text("old", encoding="utf-8")
    write_bundle(empty_folder, laptop_graphs, replace(laptop_request, name="newer"), FP32, {})
    assert load_manifest(empty_folder).name == "newer"
    assert not (empty_folder / "left-over.txt").exists()


def test_folder_that_is_not_a_bundle_is_never_deleted(
    laptop_graphs: GraphSet, laptop_request: ExportRequest, empty_folder: Path
) -> None:
    (empty_folder / "thesis.txt").write_text("years of work", encoding="utf-8")
    assert not is_bundle(empty_folder)
    with pytest.raises(OutputError, match="not from an earlier export"):
        write_bundle(empty_folder, laptop_graphs, laptop_request, FP32, {})
    assert [path.name for path in empty_folder.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_earlier_bundle_survives_an_error(
    laptop_graphs: GraphSet,
    laptop_request: ExportRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
) -> None:
    folder = write_bundle(tmp_path / "bundle", laptop_graphs, laptop_request, FP32, {})
    before = (folder / "manifest.json").read_bytes()

    def fail(_: Path) -> Path:
        raise error

    monkeypatch.setattr("edge_msa_export.bundle.write.write_runtime_wheel", fail)
    with pytest.raises(ExportError if isinstance(error, OSError) else KeyboardInterrupt):
        write_bundle(folder, laptop_graphs, laptop_request, FP32, {})
    assert (folder / "manifest.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_precision_that_was_not_built_is_an_error(
    laptop_graphs: GraphSet, laptop_request: ExportRequest, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match="Precision fp16 is not available for onnxruntime: it was not built"):
        write_bundle(tmp_path / "b", laptop_graphs, laptop_request, {"openvino": "fp32", "onnxruntime": "fp16"}, {})
    assert not list(tmp_path.iterdir())


def test_accuracy_that_is_not_json_is_an_error(
    laptop_graphs: GraphSet, laptop_request: ExportRequest, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match="must be JSON"):
        write_bundle(tmp_path / "b", laptop_graphs, laptop_request, FP32, {"x": float("nan")})
    assert not list(tmp_path.iterdir())
