from __future__ import annotations

import numpy as np
import pytest

from edge_msa.data.dataset import FloatArray, Frames, Split
from edge_msa.data.tasks import Task
from edge_msa.evaluation.intervals import calibrate_sets, collect_outputs, format_quality
from edge_msa.evaluation.intervals.calibrate import COVERAGES, improbability
from edge_msa.evaluation.intervals.quality import StatedIntervals, measure_quality
from edge_msa.evaluation.subsets import available_subsets, sample_rows
from edge_msa_runtime.classes import PredictionSets, select_labels, softmax
from edge_msa_runtime.modalities import Subset

CLASSES = Task("classes", ("calm", "glad", "sad"))
TEMPERATURE = 2.0


def _split(count: int, seed: int) -> Split:
    """Audio and vision whose frames point to the class, plus noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=count)
    modalities = {}
    for name, noise in (("audio", 5.0), ("vision", 3.0)):
        valid = np.arange(12) < rng.integers(6, 13, size=(count, 1))
        values = np.eye(3)[labels][:, None] + rng.normal(0, noise, size=(count, 12, 3))
        modalities[name] = Frames(valid, values=values.astype(np.float32))
    ids = tuple(map(str, range(count)))
    return Split(ids, ids, labels.astype(np.float32), modalities)


def _logits(split: Split, subset: Subset) -> FloatArray:
    """Predict logits that are too large: probabilities need a temperature above 1."""
    frames = [split.modalities[name] for name in subset.modalities if name in split.modalities]
    total = sum(item.take().sum(axis=1) for item in frames)
    return np.asarray(6 * total / np.maximum(1, sum(item.lengths for item in frames))[:, None], np.float32)


def _stated(sets: PredictionSets, precision: str = "fp32") -> StatedIntervals:
    def count(split: Split) -> dict[str, np.ndarray[tuple[int], np.dtype[np.int64]]]:
        return {name: frames.lengths for name, frames in split.modalities.items()}

    return StatedIntervals(sets, "openvino", precision, count)


@pytest.fixture(scope="module")
def sets() -> PredictionSets:
    split = _split(1000, 0)
    outputs = collect_outputs(CLASSES, split, _logits)
    assert outputs is not None
    predictions = {subset.value: _logits(split.select(rows), subset) for subset, rows in available_subsets(split)}
    noise = np.random.default_rng(1).normal(0, 4, size=(1000, 3)).astype(np.float32)
    other = {name: values + noise[: len(values)] for name, values in predictions.items()}
    measured = {("openvino", "fp32"): predictions, ("openvino", "int8"): other}
    return calibrate_sets(outputs, split, measured, TEMPERATURE)


def test_sets_cover_new_samples_of_every_subset(sets: PredictionSets) -> None:
    split = _split(4000, 2)
    for subset, rows in available_subsets(split):
        logits = _logits(split.select(rows), subset) / TEMPERATURE
        levels = measure_quality(CLASSES, split, rows, logits, subset, _stated(sets))
        accuracy = 1 - float(levels[0].risk_of_all or 0)
        for level in levels:
            # A set has at least one class, so its coverage is at least the accuracy, in each bin of evidence.
            assert level.coverage - 0.035 < level.observed < max(level.coverage, accuracy) + 0.06
            assert 1 <= float(level.width or 0) <= 3
        assert [item.width for item in levels] == sorted(item.width or 0.0 for item in levels)
        sure = levels[COVERAGES.index(0.9)]
        assert float(sure.risk or 0) < float(sure.risk_of_all or 0)


def test_a_noisier_precision_has_larger_sets(sets: PredictionSets) -> None:
    index = COVERAGES.index(0.8)
    exact, noisy = (sets.thresholds["openvino"][name]["av"][-1][index] for name in ("fp32", "int8"))
    assert float(noisy or 1) > float(exact or 1)


def test_the_device_and_the_workstation_choose_the_same_sets(sets: PredictionSets) -> None:
    split = _split(300, 3)
    rows = sample_rows(split, Subset.AV)
    logits = _logits(split, Subset.AV)
    levels = measure_quality(CLASSES, split, rows, logits / np.float32(TEMPERATURE), Subset.AV, _stated(sets))
    for index, coverage in enumerate(COVERAGES):
        lookup = sets.lookup("openvino", "fp32", coverage)
        chosen = []
        for row in rows:
            counts = {name: int(frames.lengths[row]) for name, frames in split.modalities.items()}
            shares = dict(zip(CLASSES.labels, softmax(logits[row].tolist(), TEMPERATURE), strict=True))
            chosen.append(select_labels(shares, lookup.find("av", counts)))
        assert np.mean([len(labels) for labels in chosen]) == pytest.approx(levels[index].width)
        covered = [CLASSES.labels[int(split.labels[row])] in labels for row, labels in zip(rows, chosen, strict=True)]
        assert np.mean(covered) == pytest.approx(levels[index].observed)


def test_the_most_probable_class_is_always_in_the_set() -> None:
    logits = np.log(np.array([[0.2, 0.5, 0.3]] * 3))
    assert improbability(logits, np.array([0, 2, 1], np.float32)) == pytest.approx([0.8, 0.7, 0.0])


def test_the_table_names_sets_and_wrong_classes(sets: PredictionSets) -> None:
    split = _split(60, 4)
    rows = sample_rows(split, Subset.A)
    levels = measure_quality(CLASSES, split, rows, _logits(split, Subset.A), Subset.A, _stated(sets))
    text = format_quality({"complete": {"a": levels}}, sets=True)
    assert text.startswith("Prediction sets on complete utterances: % of labels in them")
    assert "in 90 % set" in text
    assert "wrong class of these" in text
