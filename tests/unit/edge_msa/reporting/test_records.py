from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edge_msa.errors import RunError
from edge_msa.evaluation.evaluate import Evaluation, Source, write_evaluation
from edge_msa.reporting import BenchRecord, Records, join_points, read_records, write_records

EVALUATION = Evaluation(
    source=Source("bundle", "bundle", "int8", "onnxruntime"),
    task="mosi",
    split="test",
    dataset="toy",
    digest="0123456789",
    samples=4,
    counts={"l": 4},
    left_out=("a",),
    by_subset={"l": {"mae": 1.0, "acc2_non0": 0.5}},
    missing_average={"mae": 1.0, "acc2_non0": 0.5},
    baselines={"best_constant": {"mae": 1.2, "acc2_non0": 0.4}},
    baseline_constants={"best_constant": (0.0,)},
    gate_metric="acc2_non0",
)
BENCH = BenchRecord("bundle", "laptop-x86", "onnxruntime", "int8", "CPU", {"l": {"p50": 0.1}}, 1000)


def test_records_are_found_below_a_folder(tmp_path: Path) -> None:
    write_evaluation(tmp_path / "a" / "evaluation-int8.json", EVALUATION)
    write_records(tmp_path / "b" / "bench.json", BENCH, replace(BENCH, precision="fp32"))
    found = read_records([tmp_path])
    assert found.evaluations == (EVALUATION,)
    assert [bench.precision for bench in found.benches] == ["int8", "fp32"]
    assert found.benches[0] == BENCH


def test_a_file_by_any_name_can_be_given(tmp_path: Path) -> None:
    path = write_records(tmp_path / "kept.json", EVALUATION, BENCH)
    assert read_records([path]) == Records((EVALUATION,), (BENCH,))


def test_a_bench_meets_the_evaluation_of_the_same_precision() -> None:
    fp32 = replace(BENCH, precision="fp32")
    torch = replace(EVALUATION, source=Source("student", "run"))
    points = join_points(Records((EVALUATION, torch), (fp32, BENCH)))
    assert [(point.backend, point.precision) for point in points] == [
        ("onnxruntime", "fp32"),
        ("onnxruntime", "int8"),
        ("torch", "fp32"),
    ]
    assert points[0].by_subset == {}
    assert points[1].by_subset == EVALUATION.by_subset
    assert points[1].latency_ms == BENCH.latency_ms
    assert points[2].latency_ms == {}


def test_evaluations_of_different_splits_are_not_put_in_one_picture() -> None:
    other = replace(EVALUATION, split="valid")
    with pytest.raises(RunError, match=r"cannot be compared.*toy test.*toy valid"):
        join_points(Records((EVALUATION, other)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[1]", "holds no evaluation"),
        ('{"record": "run"}', "'run'"),
        ('{"record": "bench", "schema": 1}', "bench cannot be read"),
        ('{"record": "evaluation", "schema": 0}', "schema 0"),
    ],
)
def test_what_is_no_record_is_refused_with_its_file(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "bench.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(RunError, match=message) as caught:
        read_records([file])
    assert "bench.json" in str(caught.value)


def test_missing_and_empty_paths_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="does not exist"):
        read_records([tmp_path / "nowhere"])
    with pytest.raises(RunError, match="holds no measurement"):
        read_records([tmp_path])


def test_written_records_are_strict_json(tmp_path: Path) -> None:
    text = write_records(tmp_path / "bench.json", BENCH).read_text(encoding="utf-8")
    assert json.loads(text)[0]["record"] == "bench"
