from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_msa.data.dataset import Dataset, FloatArray, Frames, Split
from edge_msa.data.tasks import EMOTIONS, MOSI, Task
from edge_msa.errors import DataError, EdgeMsaError
from edge_msa.evaluation.evaluate import (
    Evaluation,
    Source,
    evaluate,
    format_evaluation,
    write_predictions,
)
from edge_msa_runtime.modalities import Subset

SOURCE = Source("student", "run")
CLASSES = Task("classes", ("negative", "neutral", "positive"))


def split_of(seed: int, modalities: tuple[str, ...], *, samples: int = 40, task: Task = MOSI) -> Split:
    generator = np.random.default_rng(seed)
    labels: Any = generator.uniform(-3, 3, samples) if task.is_score else generator.random((samples, 4)) < 0.4
    if task.kind == "classes":
        labels = generator.integers(0, task.outputs, samples)
    frames = {
        name: Frames(np.ones((samples, 3), bool), generator.normal(0, 1, (samples, 3, 2)).astype(np.float32))
        for name in modalities
    }
    ids = tuple(f"{seed}v{row // 4}${row}" for row in range(samples))
    return Split(ids, tuple(f"v{row // 4}" for row in range(samples)), labels.astype(np.float32), frames)


def dataset_of(modalities: tuple[str, ...] = ("language", "audio", "vision"), task: Task = MOSI) -> Dataset:
    train, test = split_of(1, modalities, task=task), split_of(2, modalities, task=task)
    return Dataset("toy", task, {"train": train, "test": test}, "digest")


def predict_toy(split: Split, subset: Subset) -> FloatArray:
    """Return predictions that improve with every modality."""
    return split.labels * np.float32(0.2 * len(subset.modalities))


def test_all_subsets_are_evaluated_and_averaged() -> None:
    result, predictions = evaluate(predict_toy, dataset_of(), "test", SOURCE, resamples=20)
    assert list(result.by_subset) == [subset.value for subset in Subset]
    assert [item.subset for item in predictions] == list(Subset)
    assert result.by_subset["lav"]["mae"] < result.by_subset["la"]["mae"] < result.by_subset["l"]["mae"]
    six = [result.by_subset[name]["mae"] for name in ("l", "a", "v", "la", "lv", "av")]
    assert result.missing_average["mae"] == pytest.approx(np.mean(six))
    assert set(result.baselines) == {"median", "best_constant"}
    low, high = result.intervals["l"]["mae"]
    assert low < result.by_subset["l"]["mae"] < high


def predict_classes(split: Split, subset: Subset) -> FloatArray:
    """Return logits of which every modality corrects more."""
    logits: FloatArray = np.eye(3, dtype=np.float32)[split.labels.astype(int)] * np.float32(len(subset.modalities))
    return np.asarray(logits + 1.5 * np.eye(3, dtype=np.float32)[np.arange(len(split)) % 3], np.float32)


def test_classes_have_a_confusion_matrix_and_intervals(tmp_path: Path) -> None:
    data = dataset_of(task=CLASSES)
    result, predictions = evaluate(predict_classes, data, "test", SOURCE, resamples=20)
    assert result.task == "classes:negative,neutral,positive"
    assert set(result.baselines) == {"class_prior", "best_constant"}
    assert set(result.intervals["l"]) == {"accuracy", "weighted_f1", "macro_f1"}
    assert result.by_subset["l"]["weighted_f1"] < result.by_subset["lav"]["weighted_f1"] == 1.0
    counts = result.confusion["l"]
    assert sum(sum(row.values()) for row in counts.values()) == result.samples
    right = sum(counts[label][label] for label in counts)
    assert right / result.samples == pytest.approx(result.by_subset["l"]["accuracy"])
    table = format_evaluation(result)
    assert "baseline: class prior" in table
    assert "-> neutral" in table
    assert "precision_negative" not in table
    assert Evaluation.from_json(json.loads(json.dumps(result.to_json()))) == result
    path = write_predictions(tmp_path / "p.csv", CLASSES, data.split("test"), predictions)
    header, first, *_ = path.read_text().splitlines()
    assert header == "id,label,subset,score.negative,score.neutral,score.positive"
    assert first.split(",")[1] in CLASSES.labels


def test_subsets_with_an_absent_modality_are_skipped() -> None:
    result, _ = evaluate(predict_toy, dataset_of(("language", "audio")), "test", SOURCE, resamples=0)
    assert list(result.by_subset) == ["l", "a", "la"]
    assert result.skipped_subsets == ("v", "lv", "av", "lav")
    assert "v, lv, av, lav" in format_evaluation(result)
    assert result.intervals == {}


def test_samples_without_frames_are_excluded() -> None:
    data = dataset_of(("language", "audio"))
    data.splits["test"].modalities["audio"].valid[:7] = False
    seen: dict[Subset, int] = {}

    def predict(split: Split, subset: Subset) -> FloatArray:
        seen[subset] = len(split)
        return predict_toy(split, subset)

    result, predictions = evaluate(predict, data, "test", SOURCE, resamples=0)
    assert result.counts == {"l": 40, "a": 33, "la": 40}
    assert seen == {Subset.L: 40, Subset.A: 33, Subset.LA: 40}
    assert predictions[1].rows.tolist() == list(range(7, 40))
    assert "a: 7 samples without a valid frame excluded" in format_evaluation(result)


@pytest.mark.parametrize("task", [MOSI, EMOTIONS], ids=["mosi", "emotions"])
def test_an_evaluation_survives_a_json_round_trip(task: Task) -> None:
    result, _ = evaluate(
        predict_toy,
        dataset_of(task=task),
        "test",
        SOURCE,
        bayes_optimum={"l": {"mae": 0.1}},
        resamples=20,
    )
    assert Evaluation.from_json(json.loads(json.dumps(result.to_json()))) == result


@pytest.mark.parametrize(
    ("change", "message"),
    [({"record": "bench"}, "must be an evaluation"), ({"schema": 9}, "of schema 9"), ({"surplus": 1}, "surplus")],
)
def test_another_record_is_refused(change: dict[str, object], message: str) -> None:
    result, _ = evaluate(predict_toy, dataset_of(), "test", SOURCE, resamples=0)
    with pytest.raises(EdgeMsaError, match=message):
        Evaluation.from_json({**result.to_json(), **change})


def test_the_table_lists_subsets_baselines_and_optimum() -> None:
    optimum = {"l": {"mae": 0.5, "corr": 0.9, "acc2_non0": 0.95}}
    result, _ = evaluate(predict_toy, dataset_of(), "test", SOURCE, bayes_optimum=optimum, resamples=20)
    lines = format_evaluation(result).splitlines()
    starts = [line.split("  ")[0].strip() for line in lines[4:15]]
    assert starts[:8] == ["l", "a", "v", "la", "lv", "av", "lav", "missing-average"]
    assert starts[8].startswith("baseline: median (")
    assert starts[9].startswith("baseline: best constant (")
    assert starts[10] == "Bayes optimum l"
    assert "95.0" in lines[14]
    assert "over videos" in format_evaluation(result)
    assert format_evaluation(result).count("optimal predictor on this split") == 1
    assert "optimal predictor" not in format_evaluation(replace(result, bayes_optimum={}))


def test_equal_baselines_share_a_row() -> None:
    result, _ = evaluate(predict_toy, dataset_of(), "test", SOURCE, resamples=0)
    level = replace(
        result,
        baselines=dict.fromkeys(result.baselines, result.baselines["best_constant"]),
        baseline_constants=dict.fromkeys(result.baselines, (0.0,)),
    )
    rows = [line for line in format_evaluation(level).splitlines() if line.startswith("baseline")]
    assert len(rows) == 1
    assert rows[0].startswith("baseline: median = best constant (0) ")


def test_predictions_have_a_row_per_sample_and_subset(tmp_path: Path) -> None:
    data = dataset_of(("language",))
    _, predictions = evaluate(predict_toy, data, "test", SOURCE, resamples=0)
    path = write_predictions(tmp_path / "out.csv", MOSI, data.splits["test"], predictions)
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["id", "label", "subset", "score"]
    assert len(rows) == 40
    assert [row["id"] for row in rows] == list(data.splits["test"].ids)
    assert np.float32(rows[3]["score"]) == np.float32(predictions[0].scores[3])


def test_each_emotion_has_its_own_prediction_column(tmp_path: Path) -> None:
    data = dataset_of(("language",), EMOTIONS)
    _, predictions = evaluate(predict_toy, data, "test", SOURCE, resamples=0)
    path = write_predictions(tmp_path / "out.csv", EMOTIONS, data.splits["test"], predictions)
    header = path.read_text(encoding="utf-8").splitlines()[0]
    assert header.startswith("id,label.neutral,label.happy,label.sad,label.angry,subset,score.neutral")


def test_without_training_labels_the_median_is_omitted() -> None:
    data = Dataset("toy", MOSI, {"test": split_of(2, ("language",))}, "digest")
    result, _ = evaluate(predict_toy, data, "test", SOURCE, resamples=0)
    assert list(result.baselines) == ["best_constant"]
    assert any("no training labels" in note for note in result.notes)


def test_a_split_without_labels_is_refused() -> None:
    dataset = dataset_of()
    test = dataset.split("test")
    silent = replace(
        dataset, splits={**dataset.splits, "test": replace(test, labels=np.full_like(test.labels, np.nan))}
    )
    with pytest.raises(DataError, match="The test split of toy has samples without labels"):
        evaluate(predict_toy, silent, "test", SOURCE, resamples=0)


def test_missing_splits_and_bad_predictions_are_refused() -> None:
    with pytest.raises(DataError, match="no valid split"):
        evaluate(predict_toy, dataset_of(), "valid", SOURCE)
    with pytest.raises(EdgeMsaError, match="shape"):
        evaluate(lambda split, _: split.labels[1:], dataset_of(), "test", SOURCE)
