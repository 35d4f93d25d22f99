from __future__ import annotations

import dataclasses
import json
import math

import pytest

from edge_msa_runtime.bundle.manifest import TaskSpec
from edge_msa_runtime.errors import InferenceError
from edge_msa_runtime.interpretation import make_interpreter
from edge_msa_runtime.prediction import Prediction, make_prediction

MOSI = TaskSpec("mosi", 1, ("negative", "neutral", "positive"), (-0.5, 0.5))


def _prediction(outputs: list[float], task: TaskSpec) -> Prediction:
    return make_prediction(
        outputs,
        make_interpreter(task),
        subset="l",
        backend="onnxruntime",
        device="CPU",
        precision="fp32",
        latency_ms=1.0,
        warnings=("language: 3 tokens were cut off",),
    )


@pytest.mark.parametrize(
    ("score", "label"),
    [(-3.0, "negative"), (-0.5, "neutral"), (0.0, "neutral"), (0.4999, "neutral"), (0.5, "positive")],
)
def test_a_score_on_an_edge_has_the_upper_label(score: float, label: str) -> None:
    prediction = _prediction([score], MOSI)
    assert (prediction.score, prediction.label, prediction.probabilities) == (score, label, {})


def test_the_label_is_empty_without_label_names() -> None:
    assert _prediction([7.5], TaskSpec("regression", 1)).label == ""


def test_large_logits_do_not_overflow() -> None:
    prediction = _prediction([-1e4, 1e4], TaskSpec("emotions", 2, ("happy", "sad")))
    assert prediction.probabilities == {"happy": 0.0, "sad": 1.0}
    assert prediction.label == "sad"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_non_finite_output_raises(value: float) -> None:
    with pytest.raises(InferenceError, match="Outputs must be finite"):
        _prediction([value], MOSI)


def test_json_has_every_field() -> None:
    assert json.loads(json.dumps(_prediction([1.0], MOSI).to_json())) == {
        "score": 1.0,
        "label": "positive",
        "probabilities": {},
        "outputs": [1.0],
        "subset": "l",
        "backend": "onnxruntime",
        "device": "CPU",
        "precision": "fp32",
        "latency_ms": 1.0,
        "warnings": ["language: 3 tokens were cut off"],
        "interval": None,
        "prediction_set": None,
        "ages": {},
        "masked": {},
        "delay_ms": 1.0,
        "member": "",
    }


@pytest.mark.case("F15")
@pytest.mark.parametrize(("output", "score"), [(-31.1, -3.0), (2.5, 2.5), (3.001, 3.0)])
def test_the_score_is_clamped_to_the_scale_but_outputs_are_not(output: float, score: float) -> None:
    prediction = _prediction([output], dataclasses.replace(MOSI, low=-3.0, high=3.0))
    assert (prediction.score, prediction.outputs) == (score, (output,))
    assert _prediction([output], MOSI).score == output


def test_the_repr_says_what_was_predicted() -> None:
    assert repr(_prediction([1.234], MOSI)) == "<Prediction 1.23 positive from l, 1 ms, 1 warning>"
    emotions = TaskSpec("emotions", 2, ("happy", "sad"))
    assert repr(_prediction([0.0, -5.0], emotions)) == "<Prediction happy 0.50 from l, 1 ms, 1 warning>"
