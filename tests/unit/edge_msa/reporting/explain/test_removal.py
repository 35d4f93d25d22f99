from __future__ import annotations

import numpy as np
import pytest

from edge_msa.data.dataset import FloatArray, Frames, Split
from edge_msa.data.tasks import EMOTIONS, MOSI, Task
from edge_msa.reporting.explain.removal import (
    compute_removals,
    lacks_subset,
    predict_all_subsets,
    prediction_rows,
    removal_table,
    samples_table,
    subset_without,
    to_predictions,
)
from edge_msa_runtime.modalities import Subset

COUNT = 24


def toy(task: Task = MOSI) -> Split:
    """Sample 0 has no audio, sample 1 only audio, and no sample has vision."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (COUNT, 4)) if not task.is_score else np.linspace(-3, 3, COUNT)
    valid = {name: np.ones((COUNT, 3), np.bool_) for name in ("language", "audio")}
    valid["audio"][0] = False
    valid["language"][1] = False
    frames = {name: Frames(mask, rng.normal(size=(COUNT, 3, 2)).astype(np.float32)) for name, mask in valid.items()}
    ids = tuple(f"v{row // 3}[{row}]" for row in range(COUNT))
    groups = tuple(f"v{row // 3}" for row in range(COUNT))
    return Split(ids, groups, labels.astype(np.float32), frames, ("one two three",) * COUNT)


def predict_toy(split: Split, subset: Subset) -> FloatArray:
    """Language contributes the label, audio adds 0.5."""
    has = {name: split.modalities[name].valid.any(axis=1) for name in split.modalities}
    score = np.zeros(len(split), np.float32)
    if "language" in subset.modalities:
        score += np.where(has["language"], split.labels, 0)
    if "audio" in subset.modalities:
        score += np.where(has["audio"], np.float32(0.5), 0)
    return score[:, None]


def test_removal_compares_samples_that_have_the_modality() -> None:
    split = toy()
    predictions = predict_all_subsets(predict_toy, split)
    results = {item.modality: item for item in compute_removals(predictions, split)}
    assert list(results) == ["language", "audio"]
    assert results["language"].samples == results["audio"].samples == COUNT - 1
    assert results["audio"].change.value == pytest.approx(0.5)
    assert results["audio"].error == pytest.approx((0.5 * (COUNT - 2) + abs(0.5 - split.labels[1])) / (COUNT - 1))
    with_language = split.labels[np.arange(COUNT) != 1]
    assert results["language"].change.value == pytest.approx(np.abs(with_language).mean(), rel=1e-5)
    assert results["language"].error_increase is not None
    before, after = results["language"].error, results["language"].error_without
    assert before is not None
    assert after is not None
    assert results["language"].error_increase.value == pytest.approx(after - before, abs=1e-5 * after)
    assert results["language"].error_increase.unit == "groups"


def test_emotions_become_probabilities() -> None:
    split = toy(EMOTIONS)
    logits = np.tile(np.array([-1000.0, 0.0, 2.0, 1000.0], np.float32), (COUNT, 1))
    predictions = predict_all_subsets(lambda _split, _subset: to_predictions(logits, EMOTIONS), split)
    np.testing.assert_allclose(predictions[Subset.L][0], [0, 0.5, 1 / (1 + np.exp(-2)), 1], atol=1e-6)
    table = samples_table(split, np.array([2]), predictions, EMOTIONS)
    assert [row[1] for row in table.rows] == list(EMOTIONS.labels)
    assert table.rows[1][3] == "0.50"


def test_missing_modalities_and_empty_inputs_are_marked() -> None:
    split = toy()
    table = samples_table(split, np.array([0, 1, 5]), predict_all_subsets(predict_toy, split), MOSI)
    rows = {row[0]: dict(zip(table.header, row, strict=True)) for row in table.rows}
    assert "without vision" not in table.header
    assert rows["v0[0]"]["without audio"] == rows["v0[0]"]["only audio"] == "missing"
    assert rows["v0[0]"]["without language"] == "0.00°"
    assert rows["v1[5]"]["without language"] == rows["v1[5]"]["only audio"] == "+0.50"
    assert "prediction without any input" in table.notes[0]
    assert not lacks_subset(split, subset_without("audio"))[0]
    lines = prediction_rows(split, np.array([0]), predict_all_subsets(predict_toy, split), MOSI)
    assert list(lines[0].predictions) == ["all", "without language"]


def test_without_labels_only_the_change_is_known() -> None:
    split = toy()
    unlabeled = Split(split.ids, split.groups, np.full(COUNT, np.nan, np.float32), split.modalities)
    constant = {subset: np.full((COUNT, 1), float(len(subset.value)), np.float32) for subset in Subset}
    results = compute_removals(constant, unlabeled)
    assert results[0].error_increase is None
    assert results[0].change.value == 1
    assert removal_table(results, MOSI).rows[0][3:] == ["-"] * 4
