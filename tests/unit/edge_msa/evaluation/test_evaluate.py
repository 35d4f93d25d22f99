from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_msa.data.dataset import Dataset, FloatArray, Frames, Split
from edge_msa.data.tasks import EMOTIONS, MOSI, Task
from edge_msa.errors import DataError, EdgeMsaError
from edge_msa.evaluation.evaluate import Evaluation, Source, evaluate, format_table, write_evaluation, write_predictions
from edge_msa_runtime.modalities import Subset

SOURCE = Source("student", "run")


def split_of(seed: int, modalities: tuple[str, ...], *, samples: int = 40, task: Task = MOSI) -> Split:
    generator = np.random.default_rng(seed)
    labels = generator.uniform(-3, 3, samples) if task.is_score else generator.random((samples, 4)) < 0.4
    frames = {
        name: Frames(np.ones((samples, 3), bool), generator.normal(0, 1, (samples, 3, 2)).astype(np.float32))
        for name in modalities
    }
    ids = tuple(f"{seed}v{row // 4}${row}" for row in range(samples))
    return Split(ids, tuple(f"v{row // 4}" for row in range(samples)), labels.astype(np.float32), frames)


def dataset_of(modalities: tuple[str, ...] = ("language", "audio", "vision"), task: Task = MOSI) -> Dataset:
    train, test = split_of(1, modalities, task=task), split_of(2, modalities, task=task)
    return Dataset("toy", task, {"train": train, "test": test}, "digest")


def knowing(split: Split, subset: Subset) -> FloatArray:
    """Predictions that get better with every modality."""
    return split.labels * np.float32(0.2 * len(subset.modalities))


def test_every_subset_is_read_once_and_averaged() -> None:
    found, predictions = evaluate(knowing, dataset_of(), "test", SOURCE, draws=20)
    assert list(found.by_subset) == [subset.value for subset in Subset]
    assert [item.subset for item in predictions] == list(Subset)
    assert found.by_subset["lav"]["mae"] < found.by_subset["la"]["mae"] < found.by_subset["l"]["mae"]
    six = [found.by_subset[name]["mae"] for name in ("l", "a", "v", "la", "lv", "av")]
    assert found.missing_average["mae"] == pytest.approx(np.mean(six))
    assert set(found.baselines) == {"learned_nothing", "best_constant"}
    low, high = found.intervals["l"]["mae"]
    assert low < found.by_subset["l"]["mae"] < high


def test_a_modality_that_the_split_lacks_is_left_out_and_named() -> None:
    found, _ = evaluate(knowing, dataset_of(("language", "audio")), "test", SOURCE, draws=0)
    assert list(found.by_subset) == ["l", "a", "la"]
    assert found.left_out == ("v", "lv", "av", "lav")
    assert "v, lv, av, lav" in format_table(found)
    assert found.intervals == {}


def test_samples_without_a_frame_of_the_subset_are_excluded_and_counted() -> None:
    data = dataset_of(("language", "audio"))
    data.splits["test"].modalities["audio"].valid[:7] = False
    seen: dict[Subset, int] = {}

    def predict(split: Split, subset: Subset) -> FloatArray:
        seen[subset] = len(split)
        return knowing(split, subset)

    found, predictions = evaluate(predict, data, "test", SOURCE, draws=0)
    assert found.counts == {"l": 40, "a": 33, "la": 40}
    assert seen == {Subset.L: 40, Subset.A: 33, Subset.LA: 40}
    assert predictions[1].rows.tolist() == list(range(7, 40))
    assert "a: 7 samples without a valid frame of it are excluded" in format_table(found)


@pytest.mark.parametrize("task", [MOSI, EMOTIONS], ids=["mosi", "emotions"])
def test_an_evaluation_survives_json(task: Task, tmp_path: Path) -> None:
    found, _ = evaluate(knowing, dataset_of(task=task), "test", SOURCE, limits={"l": {"mae": 0.1}}, draws=20)
    path = write_evaluation(tmp_path / "made" / "evaluation.json", found)
    assert Evaluation.from_json(json.loads(path.read_text(encoding="utf-8"))) == found
    assert [child.name for child in path.parent.iterdir()] == ["evaluation.json"]


@pytest.mark.parametrize(
    ("change", "message"),
    [({"record": "bench"}, "not an evaluation"), ({"schema": 9}, "schema 9"), ({"surplus": 1}, "surplus")],
)
def test_another_record_is_refused(change: dict[str, object], message: str) -> None:
    found, _ = evaluate(knowing, dataset_of(), "test", SOURCE, draws=0)
    with pytest.raises(EdgeMsaError, match=message):
        Evaluation.from_json({**found.to_json(), **change})


def test_the_table_has_subsets_baselines_and_limits_in_order() -> None:
    limits = {"l": {"mae": 0.5, "corr": 0.9, "acc2_non0": 0.95}}
    found, _ = evaluate(knowing, dataset_of(), "test", SOURCE, limits=limits, draws=20)
    lines = format_table(found).splitlines()
    starts = [line.split("  ")[0].strip() for line in lines[4:15]]
    assert starts[:8] == ["l", "a", "v", "la", "lv", "av", "lav", "missing-average"]
    assert starts[8].startswith("baseline: learned nothing (")
    assert starts[9].startswith("baseline: best constant (")
    assert starts[10] == "limit l"
    assert "95.0" in lines[14]
    assert "over videos" in format_table(found)
    assert format_table(found).count("on this very split on average") == 1
    assert "on average" not in format_table(replace(found, limits={}))


def test_equal_baselines_are_one_row_named_both() -> None:
    found, _ = evaluate(knowing, dataset_of(), "test", SOURCE, draws=0)
    level = replace(
        found,
        baselines=dict.fromkeys(found.baselines, found.baselines["best_constant"]),
        baseline_constants=dict.fromkeys(found.baselines, (0.0,)),
    )
    rows = [line for line in format_table(level).splitlines() if line.startswith("baseline")]
    assert len(rows) == 1
    assert rows[0].startswith("baseline: learned nothing = best constant (0) ")


def test_predictions_have_a_row_for_each_sample_and_subset(tmp_path: Path) -> None:
    data = dataset_of(("language",))
    _, predictions = evaluate(knowing, data, "test", SOURCE, draws=0)
    path = write_predictions(tmp_path / "out.csv", MOSI, data.splits["test"], predictions)
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["id", "label", "subset", "score"]
    assert len(rows) == 40
    assert [row["id"] for row in rows] == list(data.splits["test"].ids)
    assert np.float32(rows[3]["score"]) == np.float32(predictions[0].scores[3])


def test_predictions_of_emotions_have_a_column_each(tmp_path: Path) -> None:
    data = dataset_of(("language",), EMOTIONS)
    _, predictions = evaluate(knowing, data, "test", SOURCE, draws=0)
    path = write_predictions(tmp_path / "out.csv", EMOTIONS, data.splits["test"], predictions)
    header = path.read_text(encoding="utf-8").splitlines()[0]
    assert header.startswith("id,label.neutral,label.happy,label.sad,label.angry,subset,score.neutral")


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    found, _ = evaluate(knowing, dataset_of(), "test", SOURCE, draws=0)
    with pytest.raises(EdgeMsaError, match="Cannot write"):
        write_evaluation(tmp_path / "file" / "evaluation.json", found)


def test_without_training_labels_the_baseline_of_learning_nothing_is_left_out_and_said() -> None:
    data = Dataset("toy", MOSI, {"test": split_of(2, ("language",))}, "digest")
    found, _ = evaluate(knowing, data, "test", SOURCE, draws=0)
    assert list(found.baselines) == ["best_constant"]
    assert any("no training labels" in note for note in found.notes)


def test_a_split_without_labels_is_named() -> None:
    dataset = dataset_of()
    test = dataset.split("test")
    silent = replace(
        dataset, splits={**dataset.splits, "test": replace(test, labels=np.full_like(test.labels, np.nan))}
    )
    with pytest.raises(DataError, match="the test split of toy has samples without labels"):
        evaluate(knowing, silent, "test", SOURCE, draws=0)


def test_splits_and_predictions_that_cannot_be_measured_are_refused() -> None:
    with pytest.raises(DataError, match="no valid split"):
        evaluate(knowing, dataset_of(), "valid", SOURCE)
    with pytest.raises(EdgeMsaError, match="shape"):
        evaluate(lambda split, _: split.labels[1:], dataset_of(), "test", SOURCE)
