"""A small pipeline from features to bundles, and the properties of everything that it writes."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import edge_msa_runtime
from edge_msa.artifacts.runs import load_run
from edge_msa.benchmark.precisions import PrecisionMeasurement
from edge_msa.data.dataset import Frames, Split
from edge_msa.data.opening import open_dataset
from edge_msa.evaluation.intervals.frame_loss import lose_frames
from edge_msa.evaluation.predictors import run_predictor, session_predictor
from edge_msa.training.load import load_student
from edge_msa.training.predict import predict
from edge_msa_runtime.bundle.loader import open_bundle
from edge_msa_runtime.modalities import MODALITIES, Subset
from tests.tolerances import assert_close_to_scale

if TYPE_CHECKING:
    from tests.integration.conftest import CommandResult, PipelineRun

    Command = Callable[..., CommandResult]

BUNDLES = ("bundle-laptop", "bundle-jetson")


def file_states(folder: Path) -> dict[str, tuple[str, int]]:
    """Return the digest and the modification time of every file except the report, which is always written."""
    return {
        path.relative_to(folder).as_posix(): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and path.name != "report.html"
    }


def only_line(text: str) -> Any:
    """Return the JSON that a command printed on stdout, which must be its only line there."""
    (line,) = text.splitlines()
    return json.loads(line)


@pytest.fixture
def bundle(pipeline_run: PipelineRun, tmp_path: Path) -> Path:
    """Return a copy of the laptop's bundle, to be damaged."""
    return shutil.copytree(pipeline_run.folder / "bundle-laptop", tmp_path / "bundle")


def test_every_step_writes_a_run_with_its_inputs(pipeline_run: PipelineRun) -> None:
    teacher, student, calibrated = (
        load_run(pipeline_run.folder / name) for name in ("teacher", "student", "calibrated")
    )
    assert [run.info.kind for run in (teacher, student, calibrated)] == ["teacher", "student", "calibration"]
    assert student.info.inputs["teacher"] == teacher.digest
    assert calibrated.info.inputs["student"] == student.digest


def test_no_temporary_files_remain(pipeline_run: PipelineRun) -> None:
    hidden = [path.name for path in pipeline_run.folder.rglob("*") if path.name.startswith(".")]
    assert [name for name in hidden if not name.endswith(".cache_key")] == []


def test_bundles_do_not_contain_local_paths(pipeline_run: PipelineRun) -> None:
    folder = str(pipeline_run.folder).encode()
    for name in BUNDLES:
        for path in (pipeline_run.folder / name).rglob("*"):
            assert not path.is_file() or folder not in path.read_bytes(), path


@pytest.mark.parametrize("name", BUNDLES)
def test_bundles_are_verified_by_the_runtime_inside_them(
    name: str, pipeline_run: PipelineRun, edge_msa_run: Command
) -> None:
    result = edge_msa_run("verify", pipeline_run.folder / name, "--json")
    assert result.code == 0, result.err
    assert json.loads(result.out.splitlines()[-1])


def test_the_trade_off_is_printed_as_table_and_json(pipeline_run: PipelineRun) -> None:
    for text in ("Acc-2 Non0", "laptop-x86", "jetson-orin-nano", "teacher", str(pipeline_run.folder / "report.html")):
        assert text in pipeline_run.err
    summary = only_line(pipeline_run.out)
    assert {record["record"] for record in summary["records"]} == {"evaluation", "bench"}
    (reference,) = (record for record in summary["records"] if record.get("reference"))
    assert (reference["name"], reference["backend"]) == ("teacher", "onnxruntime")
    assert "x teacher" in pipeline_run.err
    assert Path(summary["report"]).is_file()


def test_the_report_works_offline(pipeline_run: PipelineRun) -> None:
    page = (pipeline_run.folder / "report.html").read_text(encoding="utf-8")
    assert "not a measurement" not in page  # the pipeline expects its own runs and bundles
    links = re.findall(
        r"""(?:src|href|srcset|action)\s*=\s*["'](?!#|data:)[^"']*|url\((?!["']?(?:#|data:))[^)]*""", page
    )
    assert links == []
    assert "@import" not in page
    assert "<script src" not in page
    for text in ("laptop-x86", "jetson-orin-nano", "openvino", "missing-average"):
        assert text in page


def test_a_second_pipeline_skips_every_step(pipeline_run: PipelineRun, edge_msa: Command, tmp_path: Path) -> None:
    folder = shutil.copytree(pipeline_run.folder, tmp_path / "out")
    before = file_states(folder)
    result = edge_msa("pipeline", "--recipe", pipeline_run.recipe, "--data", pipeline_run.data, "--output-dir", folder)
    assert result.code == 0, result.err
    steps = re.findall(r"^== (.*)\n(.*)", result.out, flags=re.MULTILINE)
    assert len(steps) == 7
    assert [name for name, next_line in steps if "up to date" not in next_line] == ["report"]
    assert file_states(folder) == before


@pytest.mark.parametrize("name", ["golden.npz", "graphs/onnx/fp32/window-lav.onnx", "manifest.json", "README.md"])
def test_the_runtime_rejects_and_names_a_changed_file(
    name: str, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from edge_msa_runtime.cli import main

    path = bundle / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    for command in ("info", "verify", "bench"):
        assert main([command, str(bundle)]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert name in line
        assert "changed" in line


def test_the_toolkit_rejects_and_names_a_changed_file(
    bundle: Path, pipeline_run: PipelineRun, edge_msa: Command
) -> None:
    path = bundle / "graphs/onnx/fp32/fuse.onnx"
    path.write_bytes(path.read_bytes() + b"\0")
    for command in (("evaluate", bundle, "--data", pipeline_run.data), ("bench", bundle)):
        result = edge_msa(*command)
        assert result.code == 1
        assert "graphs/onnx/fp32/fuse.onnx" in result.error_line
        assert "changed" in result.error_line


def test_evaluate_writes_predictions_and_metrics(pipeline_run: PipelineRun, tmp_path: Path, edge_msa: Command) -> None:
    predictions, record = tmp_path / "p.csv", tmp_path / "e.json"
    options = ("--data", pipeline_run.data, "--predictions", predictions, "--output", record, "--json")
    result = edge_msa("evaluate", pipeline_run.folder / "bundle-laptop", *options)
    assert result.code == 0, result.err
    evaluation = only_line(result.out)
    assert evaluation == json.loads(record.read_text())[0]
    assert set(evaluation["by_subset"]) == {subset.value for subset in Subset}
    levels = evaluation["prediction_intervals"]["complete"]["lav"]
    assert [item["coverage"] for item in levels] == sorted(item["coverage"] for item in levels)
    assert "Prediction intervals on complete utterances" in result.err
    split = open_dataset(pipeline_run.data).split("test")
    rows = list(csv.DictReader(predictions.read_text().splitlines()))
    assert list(rows[0]) == ["id", "label", "subset", "score"]
    assert len(rows) == 7 * len(split)
    assert {row["id"] for row in rows} == set(split.ids)
    scores = np.array([float(row["score"]) for row in rows if row["subset"] == "lav"])
    labels = np.array([float(row["label"]) for row in rows if row["subset"] == "lav"])
    np.testing.assert_array_equal(labels.astype(np.float32), split.labels)
    assert np.abs(scores - labels).mean() == pytest.approx(evaluation["by_subset"]["lav"]["mae"], rel=1e-5)


def test_a_run_and_its_bundle_have_the_same_metrics(pipeline_run: PipelineRun, edge_msa: Command) -> None:
    run = edge_msa("evaluate", pipeline_run.folder / "student", "--data", pipeline_run.data, "--json")
    options = ("--data", pipeline_run.data, "--precision", "fp32", "--json")
    bundle = edge_msa("evaluate", pipeline_run.folder / "bundle-laptop", *options)
    first, second = only_line(run.out), only_line(bundle.out)
    for subset in Subset:
        mae = second["by_subset"][subset.value]["mae"]
        assert first["by_subset"][subset.value]["mae"] == pytest.approx(mae, rel=1e-5)
    assert first["baselines"] == second["baselines"]


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_windows_and_chunks_give_the_predictions_of_torch(backend: str, pipeline_run: PipelineRun) -> None:
    run = load_run(pipeline_run.folder / "student")
    dataset = open_dataset(pipeline_run.data)
    split = dataset.split("test")
    student, normalized = load_student(run), run.spec.normalize(dataset).split("test")
    generator = np.random.default_rng(0)
    with edge_msa_runtime.load(pipeline_run.folder / "bundle-laptop", backend=backend, precision="fp32") as session:
        assert session.backend == backend
        for subset in Subset:
            expected = predict(student, normalized.select(np.arange(3)), subset)
            for row in range(3):
                frames: dict[str, Any] = {name: split.sample(row)[name] for name in subset.modalities}
                assert_close_to_scale(session.predict(**frames).outputs, expected[row])
                valid = {name: generator.random(len(value)) < 0.6 for name, value in frames.items()}
                for mask in valid.values():
                    mask[0] = True
                whole = session.predict(**frames, valid=valid).outputs
                masked = Split(
                    ("",), ("",), np.zeros(1, np.float32), {n: Frames(valid[n][None], frames[n][None]) for n in frames}
                )
                torch_outputs = predict(student, run.spec.normalize_split(masked), subset)[0]
                assert_close_to_scale(whole, torch_outputs)
                stream = session.create_stream()
                for name, value in frames.items():
                    start = 0
                    while start < len(value):
                        chunk = slice(start, start + int(generator.integers(1, 13)))
                        stream.push(name, value[chunk], valid=valid[name][chunk])
                        start = chunk.stop
                assert_close_to_scale(stream.predict().outputs, whole)


def test_a_run_and_its_bundle_agree_where_frames_are_missing(pipeline_run: PipelineRun) -> None:
    run = load_run(pipeline_run.folder / "student")
    split = open_dataset(pipeline_run.data).split("test").select(np.arange(8))
    lossy = lose_frames(split, np.random.default_rng(1))
    assert any(frames.gaps.any() for frames in lossy.modalities.values())
    with edge_msa_runtime.load(pipeline_run.folder / "bundle-laptop", precision="fp32") as session:
        assert all(spec.gap_frame is not None for spec in session.manifest.modalities.values())
        for subset in Subset:
            expected = run_predictor(run)(lossy, subset)
            assert_close_to_scale(session_predictor(session)(lossy, subset), expected)


@pytest.mark.case("F15")
def test_audio_in_another_unit_is_clipped_at_every_precision(pipeline_run: PipelineRun) -> None:
    run = load_run(pipeline_run.folder / "student")
    split = open_dataset(pipeline_run.data).split("test")
    sample: dict[str, Any] = dict(split.sample(0))
    frames: dict[str, Any] = {**sample, "audio": sample["audio"] * np.float32(100)}
    normalized = {
        name: torch.from_numpy(run.spec.normalization.normalize_frames(name, values))[None]
        for name, values in frames.items()
    }
    valid = {name: torch.ones(values.shape[:2], dtype=torch.bool) for name, values in normalized.items()}
    with torch.no_grad():
        expected = load_student(run)(normalized, valid)[0].tolist()
    for backend in ("onnxruntime", "openvino"):
        for precision, tolerance in (("fp32", 1e-5), ("int8", 0.05)):
            bundle = pipeline_run.folder / "bundle-laptop"
            with edge_msa_runtime.load(bundle, backend=backend, precision=precision) as session:
                prediction = session.predict(**frames)
                assert prediction.outputs == pytest.approx(expected, abs=tolerance)
                assert prediction.warnings == ("audio: values far out of the range seen in training were clipped",)
                assert session.predict(**sample).warnings == ()


def test_a_precision_that_fails_the_gate_exits_with_3(
    pipeline_run: PipelineRun, tmp_path: Path, edge_msa: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lossy(*_: object) -> tuple[PrecisionMeasurement, ...]:
        return tuple(
            PrecisionMeasurement(backend, precision, backend, {"lav": points}, {}, frozenset({"lav"}), (latency,))
            for backend in ("openvino", "onnxruntime")
            for precision, points, latency in (("fp32", 80.0, 2.0), ("int8", 70.0, 1.0))
        )

    monkeypatch.setattr("edge_msa.workflows.export.measure_precisions", lossy)
    output = tmp_path / "bundle"
    options = ("--data", pipeline_run.data, "--precision", "int8", "--max-drop", "0", "--output-dir", output)
    command = ("export", "--target", "laptop", pipeline_run.folder / "calibrated", *options)
    result = edge_msa(*command, "--allow-worse-than-constant")
    assert result.code == 3
    (line,) = [line for line in result.err.splitlines() if line.startswith("edge-msa:")]
    assert "10.00" in line
    assert "lav" in line
    # The bundle is written with the precision that passes.
    assert set(open_bundle(output).manifest.precision.values()) == {"fp32"}
    assert {spec.precision for spec in open_bundle(output).manifest.graphs} == {"fp32"}


def test_several_bundles_are_measured_together(pipeline_run: PipelineRun, tmp_path: Path, edge_msa: Command) -> None:
    output = tmp_path / "bench.json"
    options = ("--backend", "onnxruntime", "--repeats", "5", "--processes", "1", "--output", output, "--json")
    result = edge_msa("bench", *(pipeline_run.folder / name for name in BUNDLES), *options)
    assert result.code == 0, result.err
    records = only_line(result.out)["records"]
    assert {record["name"] for record in records} == set(BUNDLES)
    for record in records:
        assert set(record["latency_ms"]) == {subset.value for subset in Subset}
        assert all(0 < latency["p50"]["value"] <= latency["max"]["value"] for latency in record["latency_ms"].values())
        assert record["peak_memory_mib"]["value"] > 1
    page = tmp_path / "page.html"
    assert edge_msa("report", output, "--output", page).code == 0
    assert "onnxruntime" in page.read_text()


def test_bench_bundle_is_the_default_of_bench(pipeline_run: PipelineRun, edge_msa: Command) -> None:
    options = ("--backend", "onnxruntime", "--repeats", "2", "--processes", "1", "--json")
    bundle = pipeline_run.folder / "bundle-laptop"
    short, long = edge_msa("bench", *options, bundle), edge_msa("bench", "bundle", *options, bundle)
    assert (short.code, long.code) == (0, 0)
    assert len(only_line(short.out)["records"]) == len(only_line(long.out)["records"]) > 0


def test_data_is_inspected_and_converted(archive: Path, tmp_path: Path, edge_msa: Command) -> None:
    inspected = edge_msa("data", "inspect", archive, "--json")
    assert inspected.code == 0
    assert only_line(inspected.out)
    assert edge_msa("data", "convert", archive, "--output", tmp_path / "copy.npz").code == 0
    first, second = open_dataset(archive), open_dataset(tmp_path / "copy.npz")
    for name in MODALITIES:
        np.testing.assert_array_equal(
            first.split("test").modalities[name].take(), second.split("test").modalities[name].take()
        )


def test_devices_are_listed(edge_msa: Command) -> None:
    lines = edge_msa("devices").out.splitlines()
    assert any("jetson-xavier-nx" in line and "8.5.2.2, DLA" in line for line in lines)
    assert any("jetson-orin-nano (= jetson)" in line and "10.3" in line and "DLA" not in line for line in lines)
    assert {"laptop-x86", "raspberry-pi-5"} <= set(only_line(edge_msa("devices", "--json").out))


def test_a_bundle_is_checked_for_its_tensorrt_version(pipeline_run: PipelineRun, edge_msa: Command) -> None:
    bundle = pipeline_run.folder / "bundle-jetson"
    result = edge_msa("inspect", bundle, "--json")
    assert result.code == 0
    assert "\nnote:" not in result.err
    specs = [spec for spec in open_bundle(bundle).manifest.graphs if spec.backend == "tensorrt"]
    inspection = only_line(result.out)
    assert inspection["target"] == "TensorRT 10.3"
    assert [graph["graph"] for graph in inspection["graphs"]] == [spec.file for spec in specs]
    assert any(graph["int8_nodes"] for graph in inspection["graphs"] if graph["precision"] == "int8")


def test_a_bundle_is_checked_for_an_older_tensorrt(pipeline_run: PipelineRun, edge_msa: Command) -> None:
    assert edge_msa("inspect", pipeline_run.folder / "bundle-jetson", "--target", "jetson-xavier-nx").code == 0


def test_inspect_needs_a_bundle_with_tensorrt_graphs(pipeline_run: PipelineRun, edge_msa: Command) -> None:
    assert "TensorRT" in edge_msa("inspect", pipeline_run.folder / "bundle-laptop").error_line
    assert "DLA" in edge_msa("inspect", pipeline_run.folder / "bundle-jetson", "--dla").error_line


def training_command(data: Path, output: Path) -> list[str]:
    options = ["--data", str(data), "--output-dir", str(output), "--epochs", "5", "--device", "cpu"]
    return [sys.executable, "-m", "edge_msa", "train", *options]


@pytest.mark.slow
def test_a_killed_training_resumes_with_the_same_weights(
    archive: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    import torch

    killed, uninterrupted = tmp_path / "killed", tmp_path / "uninterrupted"
    process = subprocess.Popen(training_command(archive, killed), env=environment, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 300
        while not (checkpoints := list(tmp_path.glob(".killed.partial/**/checkpoint.pt"))):
            assert process.poll() is None, "the training ended before its first checkpoint"
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not killed.exists()
    rows = torch.load(checkpoints[0], weights_only=True)["rows"]
    for output in (killed, uninterrupted):
        subprocess.run(training_command(archive, output), env=environment, check=True, stdout=subprocess.DEVNULL)
    log = [json.loads(line) for line in (killed / "log.jsonl").read_text().splitlines()]
    assert log[: len(rows)] == rows, "the epochs before the kill were trained again"
    assert len(log) == 10
    first, second = load_run(killed).weights, load_run(uninterrupted).weights
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name])
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
