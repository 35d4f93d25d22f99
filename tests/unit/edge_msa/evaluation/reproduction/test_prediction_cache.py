from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_msa.evaluation.reproduction.conditions import Condition
from edge_msa.evaluation.reproduction.prediction_cache import (
    INFO_NAME,
    PREDICTIONS_NAME,
    prediction_cache_key,
    read_test_predictions,
    write_test_predictions,
)

CONDITIONS = (Condition("l"), Condition("la", "dropped", 0.3), Condition("la", "audio-noise", 2.0))
PREDICTIONS = {condition.key: np.arange(4, dtype=np.float32) + place for place, condition in enumerate(CONDITIONS)}
IDENTITY = prediction_cache_key("run", "data", "mosi")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_test_predictions(tmp_path, IDENTITY, PREDICTIONS, {"l": {"mae": 1.0}})
    return tmp_path


def test_what_was_read_is_found_again(folder: Path) -> None:
    found = read_test_predictions(folder, IDENTITY, CONDITIONS)
    assert found is not None
    assert list(found) == ["l", "la dropped 0.3", "la audio-noise 2"]
    for key, values in PREDICTIONS.items():
        np.testing.assert_array_equal(found[key], values)


def test_fewer_conditions_are_there_too_but_not_more(folder: Path) -> None:
    assert read_test_predictions(folder, IDENTITY, CONDITIONS[:1]) is not None
    assert read_test_predictions(folder, IDENTITY, (*CONDITIONS, Condition("a"))) is None


def test_another_run_data_or_task_has_not_been_read(folder: Path) -> None:
    for parts in (("other", "data", "mosi"), ("run", "other", "mosi"), ("run", "data", "sims")):
        assert read_test_predictions(folder, prediction_cache_key(*parts), CONDITIONS) is None


@pytest.mark.parametrize("name", [INFO_NAME, PREDICTIONS_NAME])
def test_half_a_file_is_none(name: str, folder: Path) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    assert read_test_predictions(folder, IDENTITY, CONDITIONS) is None
    (folder / name).unlink()
    assert read_test_predictions(folder, IDENTITY, CONDITIONS) is None
