from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_msa.data.classes import find_class
from edge_msa.data.dataset import Dataset
from edge_msa.data.formats.archive import write_archive
from edge_msa.data.inspect import inspect_dataset
from edge_msa.data.opening import open_dataset
from edge_msa.data.tasks import EMOTIONS, MOSI, Task, find_task
from edge_msa.errors import DataError, UnstatedTaskError, UsageError

NAMES = ("negative", "neutral", "positive")
NAN = float("nan")


def _arrays(train: Any, test: Any, **others: Any) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    for split, labels in (("train", train), ("valid", test), ("test", test)):
        arrays |= {f"{split}_audio": np.ones((len(labels), 3, 2), np.float32), f"{split}_label": np.asarray(labels)}
    return arrays | others


def _open(tmp_path: Path, arrays: dict[str, Any], task: str | None = None) -> Dataset:
    np.savez(tmp_path / "youtube.npz", **arrays)
    return open_dataset(tmp_path / "youtube.npz", task=None if task is None else find_task(task))


def _labels(dataset: Dataset, split: Any = "train") -> Any:
    return dataset.split(split).labels.tolist()


def test_text_labels_name_the_classes_in_sorted_order(tmp_path: Path) -> None:
    dataset = _open(tmp_path, _arrays(["positive", "negative", "neutral", ""], ["neutral", "positive"]))
    assert dataset.task == Task("classes", NAMES)
    np.testing.assert_equal(_labels(dataset), [2, 0, 1, NAN])
    assert _labels(dataset, "test") == [1, 2]
    assert "the task is classes:negative,neutral,positive" in dataset.notes


def test_stated_names_keep_their_order(tmp_path: Path) -> None:
    dataset = _open(tmp_path, _arrays(["positive", "negative"], ["neutral"]), "classes:positive,neutral,negative")
    assert dataset.task.labels == ("positive", "neutral", "negative")
    assert _labels(dataset) == [0, 2]


def test_a_label_that_is_no_class_is_named_with_a_suggestion(tmp_path: Path) -> None:
    arrays = _arrays(["positive", "negative", "neutral"], ["neutral"]) | {"test_label": np.array(["Netural"])}
    message = "'test-0' in test must be one of negative, neutral, positive, got 'Netural'. Did you mean 'neutral'"
    with pytest.raises(DataError, match=message):
        _open(tmp_path, arrays)


def test_an_array_of_names_gives_meaning_to_numbers(tmp_path: Path) -> None:
    arrays = _arrays([1, 0, 2], [1], class_names=np.array(["neutral", "positive", "negative"]))
    assert _open(tmp_path, arrays).task.labels == ("neutral", "positive", "negative")
    reordered = _open(tmp_path, arrays, "classes:negative,neutral,positive")
    assert _labels(reordered) == [2, 1, 0]


def test_numbers_without_names_are_refused_and_named_ones_noted(tmp_path: Path) -> None:
    arrays = _arrays([1, 0, 2], [1])
    with pytest.raises(
        UsageError, match=r"has the labels 0, 1, 2, but does not state the names .* --task classes:NAME"
    ):
        _open(tmp_path, arrays, "classes")
    dataset = _open(tmp_path, arrays, "classes:negative,neutral,positive")
    assert "labels are numbers: 0 is negative, 1 is neutral, 2 is positive" in dataset.notes


def test_numbers_of_classes_can_be_stated(tmp_path: Path) -> None:
    arrays = _arrays([[[-1]], [[0]], [[1]]], [[[0]]])
    with pytest.raises(DataError, match=r"one of the numbers 0, 1, 2 .* got -1. State the number of each class"):
        _open(tmp_path, arrays, "classes:negative,neutral,positive")
    dataset = _open(tmp_path, arrays, "classes:-1=negative,0=neutral,1=positive")
    assert _labels(dataset) == [0, 1, 2]
    assert _labels(dataset, "test") == [1]
    assert find_task(dataset.task.option) == dataset.task


def test_one_hot_rows_need_exactly_one_class(tmp_path: Path) -> None:
    rows = [[0, 0, 1], [1, 0, 0], [0, 0, 0], [1, 1, 0], [NAN, 0, 0]]
    dataset = _open(tmp_path, _arrays(rows, [[0, 1, 0]]), "classes:negative,neutral,positive")
    np.testing.assert_equal(_labels(dataset), [2, 0, NAN, NAN, NAN])
    notes = " ".join(dataset.notes)
    assert "train: 1 of 5 samples is unlabeled, because several classes are present" in notes
    assert "train: 1 of 5 samples is unlabeled, because no class is present" in notes


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([[0.5, 0.5, 0]], "must be 0 or 1 per class, got 0.5"),
        ([[0, 1]], "have 2 columns, but the task has 3 classes"),
        ([3], "one of the numbers 0, 1, 2"),
    ],
)
def test_labels_that_fit_no_class_are_refused(tmp_path: Path, labels: Any, message: str) -> None:
    with pytest.raises((DataError, UsageError), match=message):
        _open(tmp_path, _arrays(labels, labels), "classes:negative,neutral,positive")


def _mult(path: Path, labels: Any, **others: Any) -> Path:
    split = {"audio": np.ones((len(labels), 3, 2)), "labels": np.asarray(labels)}
    path.write_bytes(pickle.dumps({"train": split, "valid": split, "test": split} | others))
    return path


def test_iemocap_has_classes_where_one_emotion_is_present(tmp_path: Path) -> None:
    present = np.array([[0, 1, 0, 0], [1, 0, 0, 1], [0, 0, 0, 0]])
    path = _mult(tmp_path / "iemocap.pkl", np.stack([1 - present, present], axis=-1))
    dataset = open_dataset(path, task=find_task("classes"))
    assert dataset.task == Task("classes", EMOTIONS.labels)
    np.testing.assert_equal(_labels(dataset), [1, NAN, NAN])
    assert open_dataset(path).task == EMOTIONS
    renamed = open_dataset(path, task=find_task("classes:angry,happy,neutral,sad"))
    np.testing.assert_equal(_labels(renamed), [1, NAN, NAN])


def test_mult_files_have_text_numbers_or_one_hot_classes(tmp_path: Path) -> None:
    assert open_dataset(_mult(tmp_path / "a.pkl", ["b", "a", "b"])).task.labels == ("a", "b")
    named = _mult(tmp_path / "b.pkl", [[[1]], [[0]]], class_names=["x", "y"])
    assert _labels(open_dataset(named)) == [1, 0]
    one_hot = _mult(tmp_path / "c.pkl", np.eye(3)[:, None])
    with pytest.raises(UnstatedTaskError, match="does not state what its labels mean"):
        open_dataset(one_hot)
    assert _labels(open_dataset(one_hot, task=find_task("classes:a,b,c"))) == [0, 1, 2]


def test_mmsa_files_have_classes_beside_scores(tmp_path: Path) -> None:
    split = {
        "audio": np.ones((3, 4, 2)),
        "regression_labels": np.array([1.0, -2.0, 0.0]),
        "classification_labels": np.array([2, 0, 1]),
        "annotations": np.array(["Positive", "Negative", "Neutral"]),
    }
    path = tmp_path / "mosi.pkl"
    path.write_bytes(pickle.dumps({"train": split, "valid": split, "test": split}))
    assert open_dataset(path).task == MOSI
    dataset = open_dataset(path, task=find_task("classes"))
    assert dataset.task.labels == ("Negative", "Neutral", "Positive")
    del split["annotations"]
    path.write_bytes(pickle.dumps({"train": split, "valid": split, "test": split}))
    assert _labels(open_dataset(path, task=find_task("classes:a,b,c"))) == [2, 0, 1]


def test_archives_keep_classes_and_inspection_counts_them(tmp_path: Path) -> None:
    dataset = _open(tmp_path, _arrays(["positive", "negative", "neutral", ""], ["neutral", "positive"]))
    write_archive(dataset, tmp_path / "converted.npz")
    again = open_dataset(tmp_path / "converted.npz")
    assert again.task == dataset.task
    np.testing.assert_equal(_labels(again), _labels(dataset))
    reordered = open_dataset(tmp_path / "converted.npz", task=find_task("classes:positive,neutral,negative"))
    np.testing.assert_equal(_labels(reordered), [0, 2, 1, NAN])
    inspected = inspect_dataset(again)
    assert inspected.task == "classes:negative,neutral,positive"
    assert inspected.splits["train"].labels == {"negative": 1, "neutral": 1, "positive": 1, "unlabeled": 1}


MELD = """Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,StartTime,EndTime
1,also I was the point person,Chandler,neutral,neutral,0,0,"00:16:16,059","00:16:21,731"
3,Now you'll be heading a whole division,Chandler,joy,positive,0,10,"00:16:21,940","00:16:23,442"
2,You must've had your hands full.,Interviewer,anger,negative,0,2,"00:16:23,442","00:16:26,389"
"""


def test_a_folder_of_meld_has_dialogues_in_the_order_of_their_utterances(tmp_path: Path) -> None:
    for name in ("train", "dev", "test"):
        (tmp_path / f"{name}_sent_emo.csv").write_text(MELD, encoding="utf-8")
    with pytest.raises(UsageError, match=r"neutral,positive for sentiment; --task classes:anger,joy,neutral for"):
        open_dataset(tmp_path, task=find_task("classes"))
    with pytest.raises(UsageError, match=r"has only the classes joy, anger: sentiment has .*; emotion has 'neutral'"):
        open_dataset(tmp_path, task=find_task("classes:joy,anger"))
    dataset = open_dataset(tmp_path, task=find_task("classes:negative,neutral,positive"))
    assert _labels(dataset, "valid") == [1, 2, 0]
    assert dataset.split("valid").positions == (0, 10, 2)
    assert dataset.split("valid").groups == ("valid-0",) * 3
    assert dataset.split("train").texts[2] == "You must've had your hands full."
    emotions = open_dataset(tmp_path / "test_sent_emo.csv", task=find_task("classes:anger,joy,neutral"))
    assert _labels(emotions) == [2, 1, 0]
    assert "labels are in the column 'emotion'" in emotions.notes


def test_one_table_of_meld_points_to_the_folder_with_all(tmp_path: Path) -> None:
    (tmp_path / "dev_sent_emo.csv").write_text(MELD, encoding="utf-8")
    hint = "pass the folder with it, train_sent_emo.csv and test_sent_emo.csv"
    with pytest.raises(UsageError, match=f"has labels in 2 columns.*{hint}"):
        open_dataset(tmp_path / "dev_sent_emo.csv")
    dataset = open_dataset(tmp_path / "dev_sent_emo.csv", task=find_task("classes:anger,joy,neutral"))
    assert any(hint in note for note in dataset.notes)


def test_labels_that_the_task_states_stand_for_its_classes(tmp_path: Path) -> None:
    task = find_task("classes:Anger=anger,Happy=joy")
    path = _csv(tmp_path / "a.csv", ["Happy", "Anger", ""])
    np.testing.assert_equal(_labels(open_dataset(path, task=task)), [1, 0, NAN])
    named = _arrays([1, 0], [1, 1])
    named["class_names"] = np.array(["Anger", "Happy"])
    np.testing.assert_equal(_labels(_open(tmp_path, named, task.option)), [1, 0])


def test_other_spellings_of_classes_get_the_option_that_states_them(tmp_path: Path) -> None:
    path = _csv(tmp_path / "a.csv", ["Joy", "Anger"])
    option = "classes:Anger=anger,Joy=joy"
    with pytest.raises(DataError, match=f"must be one of anger, joy, got 'Joy'.*--task {option}"):
        open_dataset(path, task=find_task("classes:anger,joy"))
    assert _labels(open_dataset(path, task=find_task(option))) == [1, 0]


def test_classes_without_a_training_sample_are_noted(tmp_path: Path) -> None:
    path = _csv(tmp_path / "a.csv", ["joy", "anger"])
    note = "train: no sample has the classes fear, sad, so a model cannot learn them"
    assert note in open_dataset(path, task=find_task("classes:anger,fear,joy,sad")).notes
    assert not any("no sample" in item for item in open_dataset(path, task=find_task("classes:anger,joy")).notes)


def test_a_score_column_stays_the_default_beside_text(tmp_path: Path) -> None:
    (tmp_path / "label.csv").write_text(
        "text,label,annotation\na b,1.5,Positive\nc d,-1.2,Negative\n", encoding="utf-8"
    )
    assert open_dataset(tmp_path / "label.csv").task == MOSI
    dataset = open_dataset(tmp_path / "label.csv", task=find_task("classes"))
    assert dataset.task.labels == ("Negative", "Positive")


def test_a_wrong_score_does_not_make_classes(tmp_path: Path) -> None:
    (tmp_path / "label.csv").write_text("text,label\na b,1.o\nc d,-1.2\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"line 2: the score must be a number, got '1.o'"):
        open_dataset(tmp_path / "label.csv")


def _csv(path: Path, labels: list[str]) -> Path:
    rows = [f"{index},words {index},{label}\n" for index, label in enumerate(labels)]
    path.write_text("id,text,label\n" + "".join(rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("task", [None, "classes", "classes:anger,joy"])
@pytest.mark.parametrize("missing", ["nan", "NaN", ""])
def test_the_text_nan_is_a_missing_class(tmp_path: Path, task: str | None, missing: str) -> None:
    path = _csv(tmp_path / "a.csv", ["joy", missing, "anger"])
    dataset = open_dataset(path, task=None if task is None else find_task(task))
    assert dataset.task.labels == ("anger", "joy")
    np.testing.assert_equal(_labels(dataset), [1, NAN, 0])


def test_a_class_that_is_stated_as_nan_is_a_class(tmp_path: Path) -> None:
    path = _csv(tmp_path / "a.csv", ["nan", "", "nv"])
    np.testing.assert_equal(_labels(open_dataset(path, task=find_task("classes:nan,nv"))), [0, NAN, 1])


@pytest.mark.parametrize("task", [None, "classes"])
def test_a_number_among_names_is_named_with_its_sample(tmp_path: Path, task: str | None) -> None:
    path = _csv(tmp_path / "a.csv", ["joy", "anger", "3"])
    message = "^The label of sample '2' in train is the number '3', but the other labels are names. Correct the label.$"
    with pytest.raises(DataError, match=message):
        open_dataset(path, task=None if task is None else find_task(task))


def test_a_name_among_numbers_is_named_with_its_sample(tmp_path: Path) -> None:
    path = _csv(tmp_path / "a.csv", ["1", "0", "l"])
    with pytest.raises(DataError, match="sample '2' in train is the text 'l', but the other labels are numbers"):
        open_dataset(path, task=find_task("classes"))


def test_numbers_in_text_are_described_like_numbers(tmp_path: Path) -> None:
    message = r"has the labels -1, 0, 1, 2, but does not state the names of the classes\. Pass --task classes:LABEL="
    with pytest.raises(UsageError, match=message):
        open_dataset(_csv(tmp_path / "a.csv", ["-1", "0", "1", "", "2"]), task=find_task("classes"))
    for labels in (np.array(["-1", "0", "1", "2"]), [-1, 0, 1, 2]):
        with pytest.raises(UsageError, match=message):
            _open(tmp_path, _arrays(labels, labels), "classes")
    with pytest.raises(UsageError, match=message):
        open_dataset(
            _mult(tmp_path / "a.pkl", np.array([-1, 0, 1, 2, None], object)),
            task=find_task("classes"),
        )


def test_an_error_shows_only_the_first_of_many_classes(tmp_path: Path) -> None:
    arrays = _arrays([f"class {index:02}" for index in range(30)], ["x" * 500])
    with pytest.raises(DataError, match=r"class 06, class 07, \.\.\. \(30 classes\), got 'x{59}\.") as raised:
        _open(tmp_path, arrays)
    assert "class 08" not in str(raised.value)


def test_names_that_differ_only_in_case_are_noted(tmp_path: Path) -> None:
    dataset = _open(tmp_path, _arrays(["Joy", "joy", "anger"], ["joy"]))
    assert dataset.task.labels == ("Joy", "anger", "joy")
    (note,) = [note for note in dataset.notes if "case" in note]
    assert note.startswith("names of classes differ only in case: 'Joy' and 'joy' (")
    assert not any("case" in note for note in _open(tmp_path, _arrays(["joy", "anger"], ["joy"])).notes)


def test_scores_are_not_taken_for_numbers_of_classes(tmp_path: Path) -> None:
    path = _csv(tmp_path / "a.csv", ["1.0", "-1.5", "3"])
    message = "train are scores, not classes: the label of sample '1' is -1.5. Pass data with the classes anger, joy"
    with pytest.raises(DataError, match=message) as raised:
        open_dataset(path, task=find_task("classes:anger,joy"))
    assert "State the number" not in str(raised.value)


def test_a_cell_can_state_a_class_by_name_or_number_or_be_missing() -> None:
    task = find_task("classes:-1=anger,1=joy")
    cells = ("joy", "-1", "NaN", "", "Joy")
    np.testing.assert_equal([find_class(cell, task, numbered=True) for cell in cells], [1, 0, NAN, NAN, None])
    np.testing.assert_equal([find_class(cell, task, numbered=False) for cell in cells], [1, None, NAN, NAN, None])
