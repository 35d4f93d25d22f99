from __future__ import annotations

import errno
import hashlib
import json
import re
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import edge_msa_runtime
from edge_msa.models.student import Student
from edge_msa_calibrate.qdq import quantize
from edge_msa_export.build import GraphSet, build_graphs
from edge_msa_export.bundle.write import is_bundle, write_bundle, write_candidate
from edge_msa_export.errors import ExportError, OutputError
from edge_msa_export.graphs.export import torch_prediction
from edge_msa_export.lint import LintTarget, find_local_paths, lint
from edge_msa_export.request import ExportRequest, variants_of
from edge_msa_runtime.bundle.loader import open_bundle
from edge_msa_runtime.bundle.manifest import WEIGHTS_NAME, GraphKey, Manifest
from edge_msa_runtime.errors import BundleError
from edge_msa_runtime.modalities import MODALITIES, Subset

FP32 = {"openvino": "fp32", "onnxruntime": "fp32"}


def _manifest(folder: Path) -> Manifest:
    return Manifest.from_json(json.loads((folder / "manifest.json").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def bundle(
    laptop_graphs: GraphSet, request_for_laptop: ExportRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    accuracy = {"openvino": {"int8": {"la": {"acc2": 81.0}}}}
    folder = tmp_path_factory.mktemp("bundles") / "laptop"
    return write_bundle(folder, laptop_graphs, request_for_laptop, {**FP32, "openvino": "int8"}, accuracy)


def test_every_file_is_under_a_hash_and_the_manifest_under_its_own(bundle: Path) -> None:
    manifest = _manifest(bundle)
    on_disk = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    assert set(manifest.files) == on_disk - {"manifest.json", "manifest.sha256"}
    for name, digest in manifest.files.items():
        assert hashlib.sha256((bundle / name).read_bytes()).hexdigest() == digest
    digest = hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest()
    assert (bundle / "manifest.sha256").read_text(encoding="utf-8").split() == [digest]


def test_the_runtime_opens_it_and_refuses_it_with_a_changed_byte(bundle: Path, tmp_path: Path) -> None:
    opened = open_bundle(bundle)
    assert opened.precisions("openvino") == ("fp32", "int8")
    for name in (opened.manifest.graphs[0].file, "golden.npz", "manifest.json"):
        copy = tmp_path / name.replace("/", "-")
        shutil.copytree(bundle, copy)
        data = bytearray((copy / name).read_bytes())
        data[len(data) // 2] ^= 1
        (copy / name).write_bytes(data)
        with pytest.raises(BundleError, match=re.escape(name.rsplit("/", maxsplit=1)[-1])):
            open_bundle(copy)


def test_only_the_chosen_precision_and_fp32_are_inside(bundle: Path) -> None:
    manifest = _manifest(bundle)
    kept = {(graph.backend, graph.precision) for graph in manifest.graphs}
    assert kept == {("openvino", "fp32"), ("openvino", "int8"), ("onnxruntime", "fp32")}
    assert manifest.precision == {"openvino": "int8", "onnxruntime": "fp32"}
    assert manifest.backends == ("openvino", "onnxruntime")
    for graph in manifest.graphs:
        assert (bundle / graph.file).is_file()
    used = {graph.file for graph in manifest.graphs}
    graphs = {path.relative_to(bundle).as_posix() for path in (bundle / "graphs").rglob("*") if path.suffix != ".bin"}
    assert {name for name in graphs if (bundle / name).is_file()} == used


def test_fp32_gives_the_prediction_of_torch_in_every_graph(laptop_graphs: GraphSet, jetson_graphs: GraphSet) -> None:
    for graph in (*laptop_graphs.specs, *jetson_graphs.specs):
        assert graph.parity < (1e-5 if graph.precision == "fp32" else 1.0)
    whole = [graph for graph in laptop_graphs.specs if (graph.backend, graph.precision) == ("onnxruntime", "fp32")]
    assert {graph.key for graph in whole} == {
        *(GraphKey.step(name) for name in MODALITIES),
        GraphKey.fuse(MODALITIES),
        *(GraphKey.window(subset) for subset in Subset),
    }


def test_the_manifest_says_who_measured_what_tensorrt_will_run(
    jetson_graphs: GraphSet, request_for_jetson: ExportRequest, tmp_path: Path
) -> None:
    chosen = {"tensorrt": "fp16", "onnxruntime": "fp32"}
    manifest = _manifest(write_bundle(tmp_path / "j", jetson_graphs, request_for_jetson, chosen, {}))
    assert manifest.provenance["parity_measured_by"] == {"tensorrt": "onnxruntime", "onnxruntime": "onnxruntime"}
    assert manifest.provenance["seed"] == 7
    assert manifest.target == "jetson-orin-nano"
    readme = (tmp_path / "j" / "README.md").read_text(encoding="utf-8")
    assert "python3 -m pip install 'cuda-python<13'" in readme
    assert "edge-msa-run build ." in readme
    assert manifest.profile["sm"] == 87


def test_backends_that_read_the_same_graph_share_one_file(jetson_graphs: GraphSet) -> None:
    files = {(graph.backend, graph.precision, graph.key): graph.file for graph in jetson_graphs.specs}
    shared = files["tensorrt", "fp32", GraphKey.window(Subset.LAV)]
    assert shared == files["onnxruntime", "fp32", GraphKey.window(Subset.LAV)]
    weights = {(graph.backend, graph.precision): graph.weights for graph in jetson_graphs.specs}
    assert weights["tensorrt", "fp32"] == weights["onnxruntime", "fp32"] == f"graphs/onnx/fp32/{WEIGHTS_NAME}"
    assert len(set(weights.values())) == 4  # fp32, fp16, and int8 for each of the two quantization schemes


def test_int8_graphs_differ_by_rule_set(laptop_graphs: GraphSet, jetson_graphs: GraphSet) -> None:
    sets = {graph.scheme for graph in (*laptop_graphs.specs, *jetson_graphs.specs) if graph.precision == "int8"}
    assert sets == {"openvino-x86", "ort-x86-vnni", "tensorrt", "ort-arm"}


def test_tensorrt_gets_float_weights_behind_q_dq_that_read_the_same_as_int8_ones(
    jetson_graphs: GraphSet, request_for_jetson: ExportRequest, graphs: dict[GraphKey, onnx.ModelProto]
) -> None:
    spec = next(spec for spec in jetson_graphs.specs if (spec.scheme, spec.key.role) == ("tensorrt", "window"))
    pairs = onnx.load(jetson_graphs.root / spec.file)
    assert request_for_jetson.ranges is not None
    stored = quantize(graphs[spec.key], request_for_jetson.ranges, "tensorrt")
    assert [finding.rule for finding in lint(stored, LintTarget("tensorrt", (8, 6)))]
    assert "QuantizeLinear" in [node.op_type for node in pairs.graph.node]
    rng = np.random.default_rng(0)
    feed = {}
    for value in pairs.graph.input:
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        one = value.name.startswith("valid")
        feed[value.name] = np.ones(shape, np.float32) if one else rng.normal(size=shape).astype(np.float32)
    predictions = [
        onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, feed)[0]
        for model in (stored, pairs)
    ]
    np.testing.assert_array_equal(*predictions)


def test_no_path_of_this_machine_is_inside(bundle: Path) -> None:
    for path in bundle.rglob("*"):
        if path.suffix in (".json", ".md"):
            assert find_local_paths(path.read_text(encoding="utf-8")) is None


def test_golden_vectors_are_raw_frames_and_the_predictions_of_torch(
    bundle: Path, student: Student, request_for_laptop: ExportRequest
) -> None:
    with np.load(bundle / "golden.npz") as golden:
        assert len([name for name in golden.files if name.endswith("/prediction")]) == 7
        frames = {name: golden[f"av/{name}"] for name in ("audio", "vision")}
        given = next(sample for sample in request_for_laptop.golden if sample.subset is Subset.AV)
        np.testing.assert_array_equal(frames["audio"], given.frames["audio"])
        normalized = {name: (value - np.float32(2)) / np.float32(3) for name, value in frames.items()}
        valid = {name: np.ones(len(value), np.bool_) for name, value in frames.items()}
        np.testing.assert_allclose(golden["av/prediction"], torch_prediction(student, normalized, valid), atol=1e-6)


def test_modalities_keep_their_order_and_contract(bundle: Path) -> None:
    manifest = _manifest(bundle)
    assert list(manifest.modalities) == ["language", "audio", "vision"]
    audio = manifest.modalities["audio"]
    assert (audio.dim, audio.chunk, audio.window, audio.frame_rate_hz) == (5, 5, 17, 100.0)
    assert [state.name for state in audio.states] == ["conv0", "conv1", "peak", "mass", "tokens"]
    assert manifest.modalities["vision"].frame_rate_hz is None


def test_the_wheel_and_the_two_commands_are_inside(bundle: Path) -> None:
    wheel = next(bundle.glob("edge_msa_runtime-*.whl"))
    assert zipfile.is_zipfile(wheel)
    readme = (bundle / "README.md").read_text(encoding="utf-8")
    assert f"python3 -m pip install './{wheel.name}[openvino]'" in readme
    assert "edge-msa-run verify ." in readme


def test_a_candidate_has_every_precision_of_every_backend(
    jetson_graphs: GraphSet, request_for_jetson: ExportRequest, tmp_path: Path
) -> None:
    manifest = _manifest(write_candidate(tmp_path / "candidate", jetson_graphs, request_for_jetson))
    assert {(graph.backend, graph.precision) for graph in manifest.graphs} == {
        ("tensorrt", "fp32"),
        ("tensorrt", "fp16"),
        ("tensorrt", "int8"),
        ("onnxruntime", "fp32"),
        ("onnxruntime", "int8"),
    }
    assert manifest.precision == {"tensorrt": "fp32", "onnxruntime": "fp32"}


def test_a_candidate_runs_here_at_every_precision(
    jetson_graphs: GraphSet, request_for_jetson: ExportRequest, tmp_path: Path
) -> None:
    place = write_candidate(tmp_path / "candidate", jetson_graphs, request_for_jetson)
    sample = next(sample for sample in request_for_jetson.golden if sample.subset is Subset.LA)
    for precision in ("fp32", "int8"):
        with edge_msa_runtime.load(place, backend="onnxruntime", precision=precision) as session:
            prediction = session.predict(language=sample.frames["language"], audio=sample.frames["audio"])
        expected = float(jetson_graphs.golden["la/prediction"][0])
        assert prediction.score == pytest.approx(expected, abs=1e-5 if precision == "fp32" else 0.5)


def test_precisions_that_passed_are_kept_beside_the_chosen_one(
    laptop_graphs: GraphSet, request_for_laptop: ExportRequest, empty_folder: Path
) -> None:
    write_bundle(empty_folder, laptop_graphs, request_for_laptop, FP32, {}, kept={"openvino": ("int8",)})
    found = {(graph.backend, graph.precision) for graph in _manifest(empty_folder).graphs}
    assert found == {("openvino", "fp32"), ("openvino", "int8"), ("onnxruntime", "fp32")}


def test_an_older_bundle_is_replaced(
    laptop_graphs: GraphSet, request_for_laptop: ExportRequest, empty_folder: Path
) -> None:
    write_bundle(empty_folder, laptop_graphs, request_for_laptop, FP32, {})
    (empty_folder / "left-over.txt").write_text("old", encoding="utf-8")
    write_bundle(empty_folder, laptop_graphs, replace(request_for_laptop, name="newer"), FP32, {})
    assert _manifest(empty_folder).name == "newer"
    assert not (empty_folder / "left-over.txt").exists()
    assert [path.name for path in empty_folder.parent.iterdir()] == [empty_folder.name]


def test_what_is_not_a_bundle_is_never_deleted(
    laptop_graphs: GraphSet, request_for_laptop: ExportRequest, empty_folder: Path
) -> None:
    (empty_folder / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(OutputError, match="not a bundle") as caught:
        write_bundle(empty_folder, laptop_graphs, request_for_laptop, FP32, {})
    assert caught.value.exit_code == 2
    assert [path.name for path in empty_folder.iterdir()] == ["thesis.txt"]
    assert not is_bundle(empty_folder)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_nothing_half_written_is_left_and_the_older_bundle_stays(
    laptop_graphs: GraphSet,
    request_for_laptop: ExportRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
) -> None:
    place = write_bundle(tmp_path / "b", laptop_graphs, request_for_laptop, FP32, {})
    before = (place / "manifest.json").read_bytes()

    def fail(_: Path) -> Path:
        raise error

    monkeypatch.setattr("edge_msa_export.bundle.write.write_runtime_wheel", fail)
    expected = ExportError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected) as caught:
        write_bundle(place, laptop_graphs, request_for_laptop, FP32, {})
    if isinstance(error, OSError):
        assert "no space left" in str(caught.value)
    assert (place / "manifest.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_precision_that_was_not_built_is_refused(
    laptop_graphs: GraphSet, request_for_laptop: ExportRequest, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match="onnxruntime cannot be given fp16"):
        write_bundle(tmp_path / "b", laptop_graphs, request_for_laptop, {"openvino": "fp32", "onnxruntime": "fp16"}, {})
    assert not list(tmp_path.iterdir())


def test_provenance_that_is_not_json_is_refused(
    laptop_graphs: GraphSet, request_for_laptop: ExportRequest, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match="must be JSON"):
        write_bundle(tmp_path / "b", laptop_graphs, request_for_laptop, FP32, {"x": float("nan")})
    assert not list(tmp_path.iterdir())


def test_without_calibration_int8_is_not_offered_and_refused_by_name(request_for_laptop: ExportRequest) -> None:
    plain = replace(request_for_laptop, ranges=None)
    assert {variant.precision for variant in variants_of(plain)} == {"fp32", "fp16"}
    with pytest.raises(ExportError, match="calibrate first"):
        variants_of(replace(plain, precisions=("int8",)))


def test_a_request_that_does_not_fit_the_student_is_refused_before_slow_work(
    student: Student, request_for_laptop: ExportRequest, tmp_path: Path
) -> None:
    narrow = dict(request_for_laptop.normalization)
    narrow["audio"] = replace(narrow["audio"], mean=(0.0,))
    for request, message in (
        (replace(request_for_laptop, normalization=narrow), "normalization of audio must have 5"),
        (replace(request_for_laptop, golden=request_for_laptop.golden[1:]), "no golden sample of l"),
        (replace(request_for_laptop, chunks={"audio": 2}), "chunks has no language"),
        (replace(request_for_laptop, task=replace(request_for_laptop.task, outputs=4)), "4 outputs"),
    ):
        with pytest.raises(ExportError, match=message):
            build_graphs(student, request, tmp_path)
    assert not list(tmp_path.iterdir())
