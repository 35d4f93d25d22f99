from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from edge_msa.benchmark.records import BenchRecord, Records, load_records, write_records
from edge_msa.errors import RunError
from edge_msa.evaluation.evaluate import Evaluation, Source
from edge_msa_runtime.benchmark.latency_statistics import Measured

EVALUATION = Evaluation(
    source=Source("bundle", "bundle", "int8", "onnxruntime"),
    task="mosi",
    split="test",
    dataset="toy",
    digest="0123456789",
    samples=4,
    counts={"l": 4},
    skipped_subsets=("a",),
    by_subset={"l": {"mae": 1.0, "acc2_non0": 0.5}},
    missing_average={"mae": 1.0, "acc2_non0": 0.5},
    baselines={"best_constant": {"mae": 1.2, "acc2_non0": 0.4}},
    baseline_constants={"best_constant": (0.0,)},
    gate_metric="acc2_non0",
)
LATENCY = {"l": {"p50": Measured(0.1, 0.09, 0.12), "p99": None}}
BENCH = BenchRecord(
    "bundle",
    "laptop-x86",
    "onnxruntime",
    "int8",
    "CPU",
    {"l": {"p50": Measured(0.1, 0.09, 0.12), "p99": None}},
    size_bytes=1000,
)


def test_records_below_a_folder_are_loaded(tmp_path: Path) -> None:
    write_records(tmp_path / "a" / "evaluation-int8.json", EVALUATION)
    write_records(tmp_path / "b" / "bench.json", BENCH, replace(BENCH, precision="fp32"))
    records = load_records([tmp_path])
    assert records.evaluations == (EVALUATION,)
    assert [bench.precision for bench in records.benches] == ["int8", "fp32"]
    assert records.benches[0] == BENCH


def test_a_file_may_have_any_name(tmp_path: Path) -> None:
    path = write_records(tmp_path / "measurements.json", EVALUATION, BENCH)
    expected = Records((EVALUATION,), (BENCH,), evaluation_files=(path,), bench_files=(path,))
    assert load_records([path]) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not valid JSON"),
        ("[1]", "must contain evaluation or bench records, got None"),
        ('{"record": "run"}', "got 'run'"),
        ('{"record": "bench", "schema": 3}', r"benchmark record is not valid \(name: Field required"),
        ('{"record": "bench", "schema": 2}', "got 'bench' of schema 2. Run edge-msa bench again"),
        ('{"record": "bench", "schema": 99}', "got 'bench' of schema 99. A newer edge-msa wrote it: update edge-msa"),
        ('{"record": "evaluation", "schema": 99}', "of schema 99. A newer edge-msa wrote it: update edge-msa"),
        (json.dumps(BENCH.to_json() | {"size_bytes": math.nan}), r"not valid \(size_bytes: .*finite"),
        ('{"record": "evaluation", "schema": 0}', "schema 0"),
    ],
)
def test_an_invalid_record_is_rejected_with_its_file(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "bench.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(RunError, match=message) as caught:
        load_records([file])
    assert "bench.json" in str(caught.value)


def test_missing_and_empty_paths_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="does not exist"):
        load_records([tmp_path / "nowhere"])
    with pytest.raises(RunError, match="contains no measurements"):
        load_records([tmp_path])


def test_written_records_are_json(tmp_path: Path) -> None:
    text = write_records(tmp_path / "bench.json", BENCH).read_text(encoding="utf-8")
    assert json.loads(text)[0]["record"] == "bench"


@pytest.mark.case("F33")
def test_every_kind_of_record_below_a_folder_is_loaded(tmp_path: Path) -> None:
    write_records(tmp_path / "my-results.json", EVALUATION, BENCH)
    cached = {"cache_key": "a", **replace(EVALUATION, source=Source("student", "run")).to_json()}
    (tmp_path / "bundle-fp32.json").write_text(json.dumps(cached))
    for kind in ("reproduction", "sweep", "search"):
        (tmp_path / f"{kind}.json").write_text(json.dumps({"record": kind}))
    records = load_records([tmp_path])
    assert {item.source.name for item in records.evaluations} == {"bundle", "student"}
    assert records.benches == (BENCH,)
    assert [item.kind for item in records.others] == ["reproduction", "search", "sweep"]
    assert records.skipped == ()


@pytest.mark.case("F33")
def test_skipped_files_are_listed_with_the_reason(tmp_path: Path) -> None:
    write_records(tmp_path / "evaluation.json", EVALUATION)
    write_records(tmp_path / "evaluation-2.json", replace(EVALUATION, source=Source("student", "run")))
    write_records(tmp_path / "other.json", replace(EVALUATION, dataset="mosei"))
    (tmp_path / "damaged.json").write_text("{")
    (tmp_path / "old.json").write_text(json.dumps({"record": "bench", "schema": 1}))
    (tmp_path / "notes.json").write_text("[1]")
    (tmp_path / "teacher").mkdir()
    for name in ("run.json", "ranges.json"):
        (tmp_path / "teacher" / name).write_text("{}")
    records = load_records([tmp_path])
    assert len(records.evaluations) == 2
    reasons = {path.name: reason for path, reason in records.skipped}
    assert set(reasons) == {"other.json", "damaged.json", "old.json", "notes.json"}
    assert "mosei test" in reasons["other.json"]
    assert "not valid JSON" in reasons["damaged.json"]
    assert "Run edge-msa bench again" in reasons["old.json"]
    assert "got None" in reasons["notes.json"]
    assert records.models == ((tmp_path / "teacher", "a run"),)


@pytest.mark.case("F33")
def test_damaged_measurements_in_a_run_are_listed(tmp_path: Path) -> None:
    write_records(tmp_path / "evaluation.json", EVALUATION)
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "old.json").write_text(json.dumps({"record": "bench", "schema": 1}))
    (tmp_path / "damaged.json").write_text("{")
    records = load_records([tmp_path])
    assert records.evaluations == (EVALUATION,)
    assert records.models == ((tmp_path, "a run"),)
    assert {path.name for path, _ in records.skipped} == {"old.json", "damaged.json"}
