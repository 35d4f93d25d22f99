"""The Python API from data to a report, and the command line with the same requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import edge_msa as em
from edge_msa.cli import run as edge_msa
from edge_msa.data.formats.archive import write_archive
from edge_msa.data.synthetic.generator import SyntheticConfig, generate_dataset

RECIPE: dict[str, Any] = {
    "hrlf": {"epochs": 1, "robust_epochs": 2, "d": 8, "heads": 2},
    "student": {"epochs": 2, "width": 8, "blocks": 1, "hidden": 8},
    "pipeline": {"num_samples": 16, "max_drop": 100.0, "allow_worse_than_constant": True},
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "words.npz"
    write_archive(generate_dataset(SyntheticConfig(train=64, valid=24, test=24)).without(["audio", "vision"]), path)
    return path


@pytest.mark.slow
def test_from_data_to_a_report_in_python(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    steps: list[str] = []

    def on_progress(progress: em.Progress) -> None:
        steps.append(progress.step)

    teacher = em.train(data, model="hrlf", recipe=RECIPE, output_dir="teacher", on_progress=on_progress)
    student = em.distill(teacher, data=data, recipe=RECIPE, output_dir="student", on_progress=on_progress)
    calibrated = em.calibrate(student, num_samples=16, output_dir="calibrated")
    bundle = em.export(
        calibrated,
        target="laptop-x86",
        precision="fp32",
        allow_worse_than_constant=True,
        output_dir="bundle",
        on_progress=on_progress,
    )
    table = em.evaluate(bundle, data=data, output="evaluation.json")
    bench = em.bench(bundle, repeats=3, processes=1)
    page = em.report([table, bench], output="report.html")
    predictions = em.predict(bundle, data=data, split="test")
    assert capfd.readouterr() == ("", "")
    assert steps.count("teacher: epoch") + steps.count("student: epoch") >= 3
    assert steps.count("export: precision") >= 2
    assert repr(teacher).startswith("<Run teacher hrlf, validation MAE ")
    assert bundle.precisions == {"openvino": "fp32", "onnxruntime": "fp32"}
    assert bundle.sizes["openvino"]["fp32"] > 1000
    assert repr(bundle).startswith("<ExportedBundle for laptop-x86: openvino fp32 ")
    assert {row["available"] for row in table.rows if row["kind"] == "model"} == {"l"}
    assert table.by_subset["l"]["mae"] == pytest.approx(
        next(row["mae"] for row in table.rows if row["kind"] == "model")
    )
    assert {row["backend"] for row in bench.rows} == {"openvino", "onnxruntime"}
    assert "MAE" in Path(page).read_text(encoding="utf-8")
    assert len(predictions) == predictions.predicted == 24
    with bundle.load("onnxruntime") as session:
        assert repr(session).startswith("<Session bundle: onnxruntime fp32")

    # The command line makes the same requests, so every step is up to date.
    (tmp_path / "recipe.toml").write_text(
        "[hrlf]\nepochs = 1\nrobust_epochs = 2\nd = 8\nheads = 2\n"
        "[student]\nepochs = 2\nwidth = 8\nblocks = 1\nhidden = 8\n"
    )
    digests = [run.digest for run in (teacher, student, calibrated)]
    for line in (
        f"train --data {data} --recipe recipe.toml --output-dir teacher",
        f"distill --teacher teacher --data {data} --recipe recipe.toml --output-dir student",
        "calibrate student --num-samples 16 --output-dir calibrated",
        "export calibrated --target laptop-x86 --precision fp32 --allow-worse-than-constant --output-dir bundle",
    ):
        assert edge_msa(line.split()) == 0
        assert "is up to date" in capfd.readouterr().out
    assert [em.load_run(name).digest for name in ("teacher", "student", "calibrated")] == digests


@pytest.mark.slow
def test_an_interrupted_pipeline_continues(data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pipeline = em.Pipeline(data, output_dir=tmp_path / "out", target="laptop-x86", recipe=RECIPE)

    def interrupt(progress: em.Progress) -> None:
        if progress.step == "student: epoch":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipeline.run(on_progress=interrupt)
    teacher = em.load_run(tmp_path / "out" / "teacher").digest
    steps: list[tuple[str, int]] = []
    result = pipeline.run(on_progress=lambda progress: steps.append((progress.step, progress.done)))
    assert capfd.readouterr() == ("", "")
    assert result.teacher.digest == teacher
    assert [done for step, done in steps if step == "student: epoch"] == [2]
    assert not [step for step, _ in steps if step == "robust: epoch"]
    assert [bundle.target for bundle in result.bundles] == ["laptop-x86"]
    assert result.report.path.is_file()
    assert result.report.rows
    again = pipeline.run()
    assert again.to_json() == result.to_json()
