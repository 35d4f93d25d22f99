from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_msa.evaluation.reproduction.conditions import Condition
from edge_msa.evaluation.reproduction.prediction_cache import (
    INFO_NAME,
    PREDICTIONS_NAME,
    load_test_predictions,
    write_test_predictions,
)

CONDITIONS = (Condition("l"), Condition("la", "dropped", 0.3), Condition("la", "audio-noise", 2.0))
PREDICTIONS = {condition.key: np.arange(4, dtype=np.float32) + n for n, condition in enumerate(CONDITIONS)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_test_predictions(tmp_path, "key", PREDICTIONS, {"l": {"mae": 1.0}})
    return tmp_path


def test_cached_predictions_are_loaded_as_written(folder: Path) -> None:
    loaded = load_test_predictions(folder, "key", CONDITIONS)
    assert loaded is not None
    assert list(loaded) == ["l", "la dropped 0.3", "la audio-noise 2"]
    for key, values in PREDICTIONS.items():
        np.testing.assert_array_equal(loaded[key], values)


def test_the_cache_must_contain_all_conditions(folder: Path) -> None:
    assert load_test_predictions(folder, "key", CONDITIONS[:1]) is not None
    assert load_test_predictions(folder, "key", (*CONDITIONS, Condition("a"))) is None


def test_another_cache_key_finds_no_predictions(folder: Path) -> None:
    assert load_test_predictions(folder, "other", CONDITIONS) is None


@pytest.mark.parametrize("name", [INFO_NAME, PREDICTIONS_NAME])
def test_a_truncated_or_missing_file_finds_no_predictions(name: str, folder: Path) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    assert load_test_predictions(folder, "key", CONDITIONS) is None
    (folder / name).unlink()
    assert load_test_predictions(folder, "key", CONDITIONS) is None
