from __future__ import annotations

import pytest

from edge_msa.benchmark import students
from edge_msa.benchmark.students import StudentLatency, format_latencies, measure_students

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def latencies() -> tuple[StudentLatency, ...]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(students, "SIZES", {"nano": {}})
        patch.setattr(students, "DIMS", {"language": 4, "audio": 3, "vision": 2})
        patch.setattr(students, "LENGTHS", {"language": 5, "audio": 7, "vision": 6})
        return measure_students(threads=1, num_runs=3)


def test_almt_and_every_variant_of_each_size_are_measured(latencies: tuple[StudentLatency, ...]) -> None:
    assert [(item.name, item.backend, item.precision) for item in latencies] == [
        ("almt", "onnxruntime", "fp32"),
        *(("nano", backend, precision) for backend in ("openvino", "onnxruntime") for precision in ("fp32", "int8")),
    ]


def test_speedups_are_relative_to_almt(latencies: tuple[StudentLatency, ...]) -> None:
    almt = latencies[0]
    assert almt.p50_speedup == almt.min_speedup == almt.warm_speedup == 1
    for item in latencies[1:]:
        assert 0 < item.min_ms <= item.p50_ms
        assert item.p50_speedup == pytest.approx(almt.p50_ms / item.p50_ms)
        assert item.min_speedup == pytest.approx(almt.min_ms / item.min_ms)
        assert item.warm_speedup == pytest.approx(almt.warm_ms / item.warm_ms)


def test_size_includes_the_weights(latencies: tuple[StudentLatency, ...]) -> None:
    assert latencies[0].size_bytes is None
    for item in latencies[1:]:
        assert item.size_bytes is not None
        assert item.size_bytes > 4 * item.parameters * (item.precision == "fp32")


def test_table_has_one_row_per_variant(latencies: tuple[StudentLatency, ...]) -> None:
    lines = format_latencies(latencies).splitlines()
    assert "min speedup" in lines[0]
    assert [line.split()[0] for line in lines[2:]] == [item.name for item in latencies]
