from __future__ import annotations

from pathlib import Path

import pytest

from edge_msa.evaluation.metrics import Comparison
from edge_msa.reporting.models import ModelAccuracy, ModelBenchmark, ModelCost, write_models_page


@pytest.fixture
def benchmark() -> ModelBenchmark:
    costs = (
        ModelCost("table", "bundle", "int8: 2 of 3 layers", "openvino", 1_300_000, {"p50": 0.157, "p90": 0.2}),
        ModelCost("vader", "baseline", size_bytes=426_000, latency_ms={"p50": 0.05, "p90": 0.06, "p99": 0.1}),
        ModelCost("median", "baseline"),
    )
    difference = Comparison(0.25, 0.2, 0.3, covers_seeds=False, unit="groups")
    accuracies = tuple(
        ModelAccuracy(cost.name, data, {"mae": 0.81 + index, "corr": 0.5}, {"mae": difference} if index else {})
        for data in ("mosi", "mosei")
        for index, cost in enumerate(costs)
    )
    return ModelBenchmark("test", {"mosi": 686, "mosei": 4659}, "a | b", costs, accuracies, {"CPU": "x86"})


def test_there_is_a_table_per_data_set(benchmark: ModelBenchmark) -> None:
    text = str(benchmark)
    assert text.count("vader") == text.count("0.157") == 2
    assert "mosi, test split, 686 samples" in text
    assert "+0.250 (+0.200 to +0.300)" in text
    assert "Differences from table" in text
    assert len(benchmark.rows) == 6
    assert benchmark.rows[0]["p50_ms"] == 0.157


@pytest.mark.parametrize(("suffix", "cell"), [("md", "| vader |"), ("html", ">vader</th>")])
def test_the_page_has_the_tables(benchmark: ModelBenchmark, tmp_path: Path, suffix: str, cell: str) -> None:
    page = write_models_page(benchmark, tmp_path / f"page.{suffix}").read_text()
    assert page.count(cell) == 2
    assert "mosei, test split, 4659 samples" in page
