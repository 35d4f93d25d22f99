from __future__ import annotations

import pytest

from edge_msa.data.tasks import CLASSES, EMOTIONS, MOSI, Task, find_task
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
        ("classes:-1=anger,neutral,1=joy", "Either all classes must have a number or none, got 'classes:-1=anger,n"),
        ("clases", "Did you mean 'classes'"),
    ],
)
def test_wrong_names_of_classes_are_rejected(option: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        find_task(option)
