from __future__ import annotations

import json

import pytest

from edge_msa.benchmark import students
from edge_msa.errors import UsageError
from edge_msa.workflows.bench import bench_paths


def test_every_size_is_timed_beside_almt_in_one_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(students, "STUDENT_SIZES", {"nano": {}})
    monkeypatch.setattr(students, "DIMS", {"language": 4, "audio": 3, "vision": 2})
    monkeypatch.setattr(students, "LENGTHS", {"language": 5, "audio": 7, "vision": 6})
    found = students.bench_students(threads=1, num_runs=3, json=True)
    assert [(item.name, item.backend, item.precision) for item in found] == [
        ("almt", "onnxruntime", "fp32"),
        *(("nano", backend, precision) for backend in ("openvino", "onnxruntime") for precision in ("fp32", "int8")),
    ]
    assert found[0].ratio == found[0].ratio_of_least == 1
    for item in found[1:]:
        assert 0 < item.least <= item.p50
        assert item.ratio == pytest.approx(found[0].p50 / item.p50)
        assert item.ratio_of_least == pytest.approx(found[0].least / item.least)
        assert item.size_bytes is not None
        assert item.size_bytes > 4 * item.parameters * (item.precision == "fp32")
    lines = capsys.readouterr().out.splitlines()
    assert "ALMT / least" in lines[0]
    assert [row["name"] for row in json.loads(lines[-1])["students"]] == [item.name for item in found]


def test_students_are_benched_alone() -> None:
    with pytest.raises(UsageError, match="bench students stands alone"):
        bench_paths(["students", "other"])
