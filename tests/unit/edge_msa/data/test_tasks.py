from __future__ import annotations

import pytest

from edge_msa.data.tasks import CLASSES, EMOTIONS, MOSI, Task, describe_mismatch, find_task, suggest_labels
from edge_msa.errors import UsageError


def test_the_option_states_the_names_of_classes_in_order() -> None:
    task = find_task("classes:negative, neutral,positive")
    assert (task.kind, task.labels, task.outputs, task.is_score) == (
        "classes",
        ("negative", "neutral", "positive"),
        3,
        False,
    )
    assert find_task(task.option) == task


def test_classes_have_one_label_per_sample_and_emotions_one_per_emotion() -> None:
    assert Task("classes", ("a", "b")).label_shape == ()
    assert EMOTIONS.label_shape == (4,)
    assert MOSI.label_shape == ()


def test_classes_without_names_are_a_request_to_the_data() -> None:
    assert find_task("classes") == CLASSES
    assert CLASSES.option == "classes"


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("classes:only", "at least two classes, got 'only'"),
        ("classes:a,b,a", "unique, got 'a' more than once"),
        ("classes:a,,b", "without commas"),
        ("classes:-1=anger,neutral,1=joy", "Either all classes must have a label in the data or none, got 'cl"),
        ("classes:=anger,b=joy", "Either all classes must have a label in the data or none, got 'classes:=anger"),
        ("classes:1=anger,1=joy", "Each class must have its own number, got 'classes:1=anger,1=joy'"),
        ("classes:A=anger,A=joy", "Each class must have its own label, got 'classes:A=anger,A=joy'"),
        ("clases", "Did you mean 'classes'"),
    ],
)
def test_wrong_names_of_classes_are_rejected(option: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        find_task(option)


def test_the_option_states_the_labels_of_classes_in_the_data() -> None:
    task = find_task("classes:Anger=anger, ha ppy =joy")
    assert (task.labels, task.spellings, task.values) == (("anger", "joy"), ("Anger", "ha ppy"), ())
    assert task.option == "classes:Anger=anger,ha ppy=joy"
    assert task == find_task("classes:anger,joy")
    assert find_task("classes:-1=anger,1=joy").values == (-1, 1)


def test_a_label_of_the_data_comes_before_the_name_of_another_class() -> None:
    assert find_task("classes:b=a,a=b").text_labels == {"a": 1, "b": 0}


def test_an_error_about_other_classes_suggests_their_labels() -> None:
    model, data = find_task("classes:anger,joy,sad"), find_task("classes:Anger,JOY,other")
    message = describe_mismatch(model, data, "x.csv")
    assert "those of the model, anger, joy, sad, got Anger, JOY, other in x.csv" in message
    assert message.endswith("--task classes:Anger=anger,JOY=joy,LABEL=sad.")
    assert suggest_labels(model, ["1"]) == "classes:LABEL=NAME,LABEL=NAME,..."
    reordered = describe_mismatch(model, find_task("classes:joy,sad,anger"), "x.csv")
    assert reordered.endswith("--task classes:anger,joy,sad.")
    assert "Pass the matching --task" in describe_mismatch(model, MOSI, "x.csv")
