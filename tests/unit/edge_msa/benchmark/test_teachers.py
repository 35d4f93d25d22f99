from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import edge_msa as em
from edge_msa.benchmark import teachers
from edge_msa.benchmark.records import BenchRecord
from edge_msa.benchmark.teachers import bench_teacher, onnxruntime_source
from edge_msa.config.teachers import TeacherName
from edge_msa.data.formats.archive import write_archive
from edge_msa.data.synthetic.generator import SyntheticConfig, generate_dataset
from edge_msa.evaluation.evaluate import Source

DATA = replace(generate_dataset(SyntheticConfig(train=12, valid=8, test=8)), name="small")
SOURCE = Source("teacher", "run")


def measure(folder: Path, model: TeacherName, recipe: dict[str, object]) -> list[BenchRecord]:
    write_archive(DATA, folder / "small.npz")
    run = em.train(
        folder / "small.npz", model=model, recipe={"epochs": 1, **recipe}, output_dir=folder / model, device="cpu"
    )
    return bench_teacher(run, SOURCE, run.spec.select_inputs(DATA).split("test"), num_runs=3)


@pytest.mark.slow
def test_a_teacher_is_measured_in_torch_and_in_onnxruntime(tmp_path: Path) -> None:
    torch, onnxruntime = measure(tmp_path, "hrlf", {"robust_epochs": 1, "d": 4, "heads": 2, "pooling": "max"})

    assert (torch.backend, torch.parity, torch.reference) == ("torch", None, False)
    assert (onnxruntime.backend, onnxruntime.reference, onnxruntime.precision) == ("onnxruntime", True, "fp32")
    assert onnxruntime.parity is not None
    assert onnxruntime.parity < 1e-5
    assert onnxruntime.note == "metrics are those of torch"
    for record in (torch, onnxruntime):
        assert record.name == "teacher"
        values = record.latency_values()["lav"]
        assert values["p50"] > 0
        assert "p99" not in values  # it needs 662 predictions


@pytest.mark.slow
def test_almt_is_measured_with_every_token_as_the_reference(tmp_path: Path) -> None:
    records = measure(tmp_path, "almt", {"tokens": 2})

    assert [(item.backend, item.precision_title, item.reference) for item in records] == [
        ("torch", "", False),
        ("onnxruntime", "fp32, needed tokens", False),
        ("onnxruntime", "fp32, every token", True),
    ]
    assert max(item.parity or 0.0 for item in records) < 1e-4


def test_without_onnxruntime_only_torch_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teachers, "unavailable_reason", lambda _backend: "not installed")
    (record,) = measure(tmp_path, "hrlf", {"robust_epochs": 1, "d": 4, "heads": 2})

    assert record.backend == "torch"
    assert not record.reference


def test_the_source_in_onnxruntime_says_that_torch_predicted() -> None:
    source = onnxruntime_source(SOURCE)

    assert (source.backend, source.device, source.name) == ("onnxruntime", "torch, CPU", "teacher")
