"""Features in, a bundle out: one small pipeline, and what must be true of everything it leaves behind."""

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

import edge_msa_runtime
from edge_msa.artifacts.runs import load_run
from edge_msa.benchmark.precisions import PrecisionMeasurement
from edge_msa.data.formats.archive import read_archive
from edge_msa.training.load import student_of
from edge_msa.training.predict import predict
from edge_msa_runtime.bundle.reader import open_bundle
from edge_msa_runtime.modalities import MODALITIES, Subset

if TYPE_CHECKING:
    from tests.integration.conftest import Ran, WholeWay

    Command = Callable[..., Ran]

BUNDLES = ("bundle-laptop", "bundle-jetson")


def snapshot(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def last_line(text: str) -> Any:
    return json.loads(text.splitlines()[-1])


@pytest.fixture
def bundle(whole_way: WholeWay, tmp_path: Path) -> Path:
    """The laptop's bundle, to be spoilt."""
    return shutil.copytree(whole_way.folder / "bundle-laptop", tmp_path / "bundle")


def test_every_step_leaves_its_run_and_nothing_half_made(whole_way: WholeWay) -> None:
    teacher, student, calibrated = (load_run(whole_way.folder / name) for name in ("teacher", "student", "calibrated"))
    assert [run.info.kind for run in (teacher, student, calibrated)] == ["teacher", "student", "calibration"]
    assert student.info.inputs["teacher"] == teacher.digest
    assert calibrated.info.inputs["student"] == student.digest
    assert not [path for path in whole_way.folder.rglob("*") if path.name.startswith(".")]


def test_no_file_tells_where_it_was_made(whole_way: WholeWay) -> None:
    place = str(whole_way.folder).encode()
    for name in BUNDLES:
        for path in (whole_way.folder / name).rglob("*"):
            assert not path.is_file() or place not in path.read_bytes(), path


@pytest.mark.parametrize("name", BUNDLES)
def test_a_bundle_is_verified_by_the_runtime_inside_it(name: str, whole_way: WholeWay, edge_msa_run: Command) -> None:
    ran = edge_msa_run("verify", whole_way.folder / name, "--json")
    assert ran.code == 0, ran.err
    assert last_line(ran.out)


def test_the_trade_off_is_printed_and_told_as_json(whole_way: WholeWay) -> None:
    out = whole_way.ran.out
    for text in ("Acc-2 Non0", "laptop-x86", "jetson-orin-nano", "teacher", str(whole_way.folder / "report.html")):
        assert text in out
    found = last_line(out)
    assert {record["record"] for record in found["records"]} == {"evaluation", "bench"}
    assert Path(found["report"]).is_file()


def test_the_report_needs_no_network(whole_way: WholeWay) -> None:
    page = (whole_way.folder / "report.html").read_text(encoding="utf-8")
    fetched = re.findall(
        r"""(?:src|href|srcset|action)\s*=\s*["'](?!#|data:)[^"']*|url\((?!["']?(?:#|data:))[^)]*""", page
    )
    assert fetched == []
    assert "@import" not in page
    assert "<script src" not in page
    for text in ("laptop-x86", "jetson-orin-nano", "openvino", "missing-average"):
        assert text in page


def test_a_second_run_skips_every_step_and_changes_no_file(whole_way: WholeWay, edge_msa: Command) -> None:
    before = snapshot(whole_way.folder)
    touched = {path: path.stat().st_mtime_ns for path in whole_way.folder.rglob("*") if path.name != "report.html"}
    ran = edge_msa(*whole_way.again)
    assert ran.code == 0, ran.err
    steps = re.findall(r"^== (.*)\n(.*)", ran.out, flags=re.MULTILINE)
    assert len(steps) == 7
    assert [name for name, following in steps if "is up to date, skipped" not in following] == ["report"]
    assert snapshot(whole_way.folder) == before
    assert {path: path.stat().st_mtime_ns for path in touched if path.is_file()} == {
        path: at for path, at in touched.items() if path.is_file()
    }


@pytest.mark.parametrize("what", ["golden.npz", "graphs/onnx/fp32/window-lav.onnx", "manifest.json", "README.md"])
def test_a_changed_byte_is_named_and_stops_the_device(
    what: str, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from edge_msa_runtime.cli import main

    path = bundle / what
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    for command in ("info", "verify", "bench"):
        assert main([command, str(bundle)]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"error: {what} has changed")


def test_a_changed_byte_stops_the_commands_of_the_workstation_too(
    bundle: Path, whole_way: WholeWay, edge_msa: Command
) -> None:
    path = bundle / "graphs/onnx/fp32/fuse.onnx"
    path.write_bytes(path.read_bytes() + b"\0")
    for command in (("evaluate", bundle, "--data", whole_way.data), ("bench", bundle)):
        ran = edge_msa(*command)
        assert ran.code == 1
        assert ran.err.startswith("edge-msa: graphs/onnx/fp32/fuse.onnx has changed")
        assert ran.err.count("\n") == 1


def test_a_bundle_is_evaluated_with_its_predictions(whole_way: WholeWay, tmp_path: Path, edge_msa: Command) -> None:
    predictions, record = tmp_path / "p.csv", tmp_path / "e.json"
    arguments = ("--data", whole_way.data, "--predictions", predictions, "--output", record, "--json")
    ran = edge_msa("evaluate", whole_way.folder / "bundle-laptop", *arguments)
    assert ran.code == 0, ran.err
    found = last_line(ran.out)
    assert found == json.loads(record.read_text())[0]
    assert set(found["by_subset"]) == {subset.value for subset in Subset}
    split = read_archive(whole_way.data).split("test")
    rows = list(csv.DictReader(predictions.read_text().splitlines()))
    assert list(rows[0]) == ["id", "label", "subset", "score"]
    assert len(rows) == 7 * len(split)
    assert {row["id"] for row in rows} == set(split.ids)
    own = np.array([float(row["score"]) for row in rows if row["subset"] == "lav"])
    labels = np.array([float(row["label"]) for row in rows if row["subset"] == "lav"])
    np.testing.assert_array_equal(labels.astype(np.float32), split.labels)
    assert np.abs(own - labels).mean() == pytest.approx(found["by_subset"]["lav"]["mae"], abs=1e-5)


def test_a_run_and_its_bundle_are_measured_alike(whole_way: WholeWay, edge_msa: Command) -> None:
    run = edge_msa("evaluate", whole_way.folder / "student", "--data", whole_way.data, "--json")
    options = ("--data", whole_way.data, "--precision", "fp32", "--json")
    bundle = edge_msa("evaluate", whole_way.folder / "bundle-laptop", *options)
    first, second = last_line(run.out), last_line(bundle.out)
    for subset in Subset:
        assert first["by_subset"][subset.value]["mae"] == pytest.approx(
            second["by_subset"][subset.value]["mae"], abs=1e-5
        )
    assert first["baselines"] == second["baselines"]


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_chunks_with_masked_frames_windows_and_torch_read_the_same(backend: str, whole_way: WholeWay) -> None:
    run = load_run(whole_way.folder / "student")
    dataset = read_archive(whole_way.data)
    split = dataset.split("test")
    student, normalized = student_of(run), run.spec.normalize(dataset).split("test")
    generator = np.random.default_rng(0)
    with edge_msa_runtime.load(whole_way.folder / "bundle-laptop", backend=backend, precision="fp32") as session:
        assert session.backend == backend
        for subset in Subset:
            expected = predict(student, normalized.select(np.arange(3)), subset)
            for row in range(3):
                frames: dict[str, Any] = {name: split.sample(row)[name] for name in subset.modalities}
                assert session.predict(**frames).outputs == pytest.approx(expected[row], abs=1e-5)
                valid = {name: generator.random(len(value)) < 0.6 for name, value in frames.items()}
                for mask in valid.values():
                    mask[0] = True
                whole = session.predict(**frames, valid=valid).outputs
                stream = session.create_stream()
                for name, value in frames.items():
                    start = 0
                    while start < len(value):
                        chunk = slice(start, start + int(generator.integers(1, 13)))
                        stream.push(**{name: value[chunk]}, valid={name: valid[name][chunk]})
                        start = chunk.stop
                assert stream.predict().outputs == pytest.approx(whole, abs=1e-5)


def test_a_precision_that_loses_too_much_ends_with_3_and_leaves_the_bundle_that_passed(
    whole_way: WholeWay, tmp_path: Path, edge_msa: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lossy(*_: object) -> tuple[PrecisionMeasurement, ...]:
        return tuple(
            PrecisionMeasurement(backend, precision, backend, {"lav": points}, {}, frozenset({"lav"}), (speed,))
            for backend in ("openvino", "onnxruntime")
            for precision, points, speed in (("fp32", 80.0, 2.0), ("int8", 70.0, 1.0))
        )

    monkeypatch.setattr("edge_msa.workflows.export.measure_precisions", lossy)
    output = tmp_path / "bundle"
    options = ("--data", whole_way.data, "--precision", "int8", "--max-drop", "0", "--output-dir", output)
    ran = edge_msa("export", "--target", "laptop", "--model", whole_way.folder / "calibrated", *options)
    assert ran.code == 3
    (line,) = [line for line in ran.err.splitlines() if line.startswith("edge-msa:")]
    assert "loses 10.00 points on subset lav" in line
    assert set(open_bundle(output).manifest.precision.values()) == {"fp32"}
    assert {spec.precision for spec in open_bundle(output).manifest.graphs} == {"fp32"}


def test_bundles_are_benched_in_one_run_and_reported(whole_way: WholeWay, tmp_path: Path, edge_msa: Command) -> None:
    kept = tmp_path / "bench.json"
    options = ("--backend", "onnxruntime", "--num-runs", "5", "--output", kept, "--json")
    ran = edge_msa("bench", *(whole_way.folder / name for name in BUNDLES), *options)
    assert ran.code == 0, ran.err
    records = last_line(ran.out)["records"]
    assert {record["name"] for record in records} == set(BUNDLES)
    for record in records:
        assert set(record["latency_ms"]) == {subset.value for subset in Subset}
        assert all(0 < item["p50"] <= item["p90"] for item in record["latency_ms"].values())
        assert record["peak_memory_mib"] > 1
    page = tmp_path / "page.html"
    assert edge_msa("report", kept, "--output", page).code == 0
    assert "onnxruntime" in page.read_text()


def test_data_can_be_looked_at_and_converted(archive: Path, tmp_path: Path, edge_msa: Command) -> None:
    inspected = edge_msa("data", "inspect", archive, "--json")
    assert inspected.code == 0
    assert last_line(inspected.out)
    assert edge_msa("data", "convert", archive, tmp_path / "again.npz").code == 0
    first, second = read_archive(archive), read_archive(tmp_path / "again.npz")
    for name in MODALITIES:
        np.testing.assert_array_equal(
            first.split("test").modalities[name].take(), second.split("test").modalities[name].take()
        )


def test_devices_are_listed(edge_msa: Command) -> None:
    lines = edge_msa("devices").out.splitlines()
    assert any("jetson-xavier-nx" in line and "8.5.2.2, DLA" in line for line in lines)
    assert any("jetson-orin-nano (= jetson)" in line and "10.3" in line and "DLA" not in line for line in lines)
    assert {"laptop-x86", "raspberry-pi-5"} <= set(last_line(edge_msa("devices", "--json").out))


def test_a_bundle_is_held_against_its_tensorrt(whole_way: WholeWay, edge_msa: Command) -> None:
    bundle = whole_way.folder / "bundle-jetson"
    ran = edge_msa("inspect", bundle, "--json")
    assert (ran.code, ran.err) == (0, "")
    specs = [spec for spec in open_bundle(bundle).manifest.graphs if spec.backend == "tensorrt"]
    found = last_line(ran.out)
    assert found["reader"] == "TensorRT 10.3"
    assert [graph["graph"] for graph in found["graphs"]] == [spec.file for spec in specs]
    assert any(graph["int8"] for graph in found["graphs"] if graph["precision"] == "int8")
    assert edge_msa("inspect", bundle, "--target", "jetson-xavier-nx").code == 0  # nothing in it is newer than 8.5
    assert "has no graphs for TensorRT" in edge_msa("inspect", whole_way.folder / "bundle-laptop").told
    assert "has no DLA" in edge_msa("inspect", bundle, "--dla").told


def training(data: Path, output: Path) -> list[str]:
    options = ["--data", str(data), "--output-dir", str(output), "--epochs", "5", "--device", "cpu"]
    return [sys.executable, "-c", "from edge_msa.cli import main; main()", "train", *options]


def test_a_training_killed_in_the_middle_goes_on_and_ends_with_the_same_weights(
    archive: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    import torch

    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = subprocess.Popen(training(archive, killed), env=environment, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not (found := list(tmp_path.glob(".killed.partial/**/checkpoint.pt"))):
            assert process.poll() is None, "the training ended before its first checkpoint"
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not killed.exists()
    rows = torch.load(found[0], weights_only=True)["rows"]
    for output in (killed, whole):
        subprocess.run(training(archive, output), env=environment, check=True, stdout=subprocess.DEVNULL)
    log = [json.loads(line) for line in (killed / "log.jsonl").read_text().splitlines()]
    assert log[: len(rows)] == rows, "the epochs of before the kill were made again"
    assert len(log) == 10
    first, second = load_run(killed).weights, load_run(whole).weights
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name])
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
