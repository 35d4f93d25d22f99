from __future__ import annotations

import json
import math

import pytest

from edge_msa_runtime.errors import RuntimeFailure
from edge_msa_runtime.manifest import TaskSpec
from edge_msa_runtime.reading import Reading, make_reading

MOSI = TaskSpec("mosi", 1, ("negative", "neutral", "positive"), (-0.5, 0.5))


def _reading(outputs: list[float], task: TaskSpec) -> Reading:
    return make_reading(outputs, task, subset="l", executed=("onnxruntime", "CPU", "fp32"), milliseconds=1.0)


@pytest.mark.parametrize(
    ("score", "label"),
    [(-3.0, "negative"), (-0.5, "neutral"), (0.0, "neutral"), (0.4999, "neutral"), (0.5, "positive")],
)
def test_a_score_on_an_edge_has_the_upper_label(score: float, label: str) -> None:
    reading = _reading([score], MOSI)
    assert (reading.score, reading.label, reading.probabilities) == (score, label, {})


def test_a_score_without_names_has_no_label() -> None:
    assert _reading([7.5], TaskSpec("regression", 1)).label == ""


def test_far_logits_do_not_overflow() -> None:
    reading = _reading([-1e4, 1e4], TaskSpec("emotions", 2, ("happy", "sad")))
    assert reading.probabilities == {"happy": 0.0, "sad": 1.0}
    assert reading.label == "sad"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_no_reading(value: float) -> None:
    with pytest.raises(RuntimeFailure, match="not finite"):
        _reading([value], MOSI)


def test_json_has_every_field() -> None:
    told = json.loads(json.dumps(_reading([1.0], MOSI).to_json()))
    assert told == {
        "score": 1.0,
        "label": "positive",
        "probabilities": {},
        "outputs": [1.0],
        "subset": "l",
        "engine": "onnxruntime",
        "device": "CPU",
        "precision": "fp32",
        "milliseconds": 1.0,
    }
