from __future__ import annotations

import numpy as np
import pytest

from edge_msa.data.dataset import Dataset, Frames, Split
from edge_msa.data.tasks import EMOTIONS, MOSI, SIMS, Task
from edge_msa.errors import UsageError
from edge_msa.evaluation.metrics import metric_functions
from edge_msa.evaluation.reproduction.published import (
    _TABLES,
    AVERAGE,
    COLUMNS,
    ModelName,
    PaperName,
    find_paper,
    find_published_table,
    swapped_f1,
)

CONDITIONS = [column for column in COLUMNS if column not in {AVERAGE, "lav"}]


def sized(sizes: tuple[int, int, int], task: Task) -> Dataset:
    splits = []
    for size in sizes:
        ids = tuple(map(str, range(size)))
        labels = np.zeros(size if task.is_score else (size, task.outputs), np.float32)
        splits.append(
            Split(ids, ids, labels, {"audio": Frames(np.ones((size, 1), np.bool_), np.ones((size, 1, 1), np.float32))})
        )
    return Dataset("toy", task, dict(zip(("train", "valid", "test"), splits, strict=True)), "digest")


@pytest.mark.parametrize(
    ("sizes", "task", "paper"),
    [
        ((1284, 229, 686), MOSI, "mosi"),
        ((16326, 1871, 4659), MOSI, "mosei"),
        ((2717, 798, 938), EMOTIONS, "iemocap"),
        ((1368, 456, 457), SIMS, "sims"),
        ((1368, 456, 457), MOSI, "none"),
        ((1284, 229, 685), MOSI, "none"),
    ],
)
def test_a_corpus_is_recognized_by_task_and_sizes(sizes: tuple[int, int, int], task: Task, paper: str) -> None:
    result, why = find_paper(sized(sizes, task), None)
    assert result == paper
    assert "/".join(map(str, sizes)) in why


def test_a_requested_corpus_needs_the_same_task() -> None:
    assert find_paper(sized((5, 5, 5), MOSI), "mosei") == ("mosei", "")
    assert find_paper(sized((1284, 229, 686), MOSI), "none") == ("none", "")
    with pytest.raises(UsageError, match="The task must be sims for --paper sims, got mosi in toy"):
        find_paper(sized((5, 5, 5), MOSI), "sims")


@pytest.mark.parametrize("key", [key for key in _TABLES if key[0] == "hrlf"])
def test_published_averages_match_their_six_columns(key: tuple[ModelName, PaperName]) -> None:
    """Detect digits that were copied wrongly."""
    for row in find_published_table(*key).rows:
        mean = np.mean([row.cells[column] for column in CONDITIONS])
        assert row.cells[AVERAGE] == pytest.approx(mean, abs=0.51 * 0.1**row.digits), row.source


def test_published_metrics_belong_to_their_task() -> None:
    tasks = {"mosi": MOSI, "mosei": MOSI, "iemocap": EMOTIONS, "sims": SIMS}
    for (_, paper), table in _TABLES.items():
        for row in table.rows:
            assert row.metric in metric_functions(tasks[paper]), row
            assert set(row.cells) <= set(COLUMNS)


def test_an_unpublished_table_is_empty() -> None:
    assert find_published_table("hrlf", "sims").rows == ()
    assert find_published_table("almt", "none").rows == ()


def test_swapped_f1_equals_f1_with_swapped_arguments() -> None:
    from sklearn.metrics import f1_score

    truth = np.array([0] * 37 + [1] * 63)
    constant = np.ones_like(truth)
    assert swapped_f1(0.63) == pytest.approx(f1_score(constant, truth, average="weighted", zero_division=0))
    assert round(100 * swapped_f1(0.5777), 1) == 73.2
