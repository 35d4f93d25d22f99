from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest

import edge_msa_runtime as emr
from edge_msa_runtime.bundle.loader import open_bundle
from edge_msa_runtime.bundle.manifest import TaskSpec
from edge_msa_runtime.classes import ClassCalibration, select_labels, softmax
from edge_msa_runtime.errors import BundleError, UsageError
from edge_msa_runtime.modalities import MODALITIES
from edge_msa_runtime.tolerances import largest_tolerance
from edge_msa_runtime.verification import verify_bundle
from tests.unit.runtime.class_tasks import CLASSES, LABELS, TEMPERATURE, make_calibration
from tests.unit.runtime.fake_bundles import random_frames, reference_prediction

MakeBundle = Callable[..., Path]


@pytest.fixture(scope="module")
def bundle(make_bundle: MakeBundle) -> Path:
    return make_bundle(task=CLASSES, class_calibration=make_calibration(), batch=2)


@pytest.fixture(scope="module")
def inputs() -> dict[str, Any]:
    return {name: random_frames(name, 8) for name in MODALITIES}


def test_probabilities_are_the_softmax_of_logits_by_temperature(bundle: Path, inputs: dict[str, Any]) -> None:
    with emr.load(bundle) as session:
        prediction = session.predict(**inputs)
    weights = np.exp(reference_prediction(inputs, 4) / TEMPERATURE)
    assert list(prediction.probabilities.values()) == pytest.approx(weights / weights.sum(), abs=1e-5)
    assert sum(prediction.probabilities.values()) == pytest.approx(1.0)
    assert prediction.outputs == pytest.approx(reference_prediction(inputs, 4), abs=1e-5)
    assert (prediction.score, prediction.interval) == (None, None)
    assert prediction.label == LABELS[int(weights.argmax())]


def test_large_logits_do_not_overflow() -> None:
    assert softmax([-1e38, 1e38], 0.01) == [0.0, 1.0]
    assert softmax([1e38, 1e38, 0.0]) == [0.5, 0.5, 0.0]


@pytest.mark.parametrize(
    ("threshold", "labels"),
    [(0.0, "b"), (0.7, "b"), (0.75, "ba"), (0.87, "ba"), (0.875, "bac"), (1.0, "bac"), (None, "bac")],
)
def test_a_set_has_the_most_probable_classes_up_to_the_threshold(threshold: float | None, labels: str) -> None:
    assert select_labels({"a": 0.25, "b": 0.625, "c": 0.125}, threshold) == tuple(labels)


def test_a_larger_coverage_gives_a_larger_set(bundle: Path, inputs: dict[str, Any]) -> None:
    sizes = []
    for coverage in (0.4, 0.9, 0.95):
        with emr.load(bundle, coverage=coverage) as session:
            prediction = session.predict(**inputs)
            chosen = prediction.prediction_set
            assert chosen is not None
            ordered = sorted(LABELS, key=prediction.probabilities.__getitem__, reverse=True)
            assert list(chosen) == ordered[: len(chosen)]
            sizes.append(len(chosen))
    assert sizes[0] < sizes[1] < sizes[2] == 4


def test_little_evidence_gives_all_classes(bundle: Path, inputs: dict[str, Any]) -> None:
    with emr.load(bundle) as session:
        chosen = session.predict(language=inputs["language"][:1]).prediction_set
    assert chosen is not None
    assert set(chosen) == set(LABELS)


def test_a_session_that_abstains_is_uncertain_about_the_class(bundle: Path, inputs: dict[str, Any]) -> None:
    with emr.load(bundle, abstain=True, coverage=0.5) as session:
        sure, unsure = session.predict(**inputs), session.predict(language=inputs["language"][:1])
    assert sure.prediction_set == (sure.label,)
    assert unsure.label == "uncertain"
    assert repr(unsure).startswith("<Prediction uncertain: ")


def test_a_stream_predicts_classes_as_the_session_does(bundle: Path, inputs: dict[str, Any]) -> None:
    with emr.load(bundle) as session:
        streams = [session.create_stream() for _ in range(2)]
        for stream in streams:
            for name, frames in inputs.items():
                stream.push(name, frames)
        expected = session.predict(**inputs)
        first, second = streams[0].predict(), session.predict_many(streams)[1]
        for prediction in (first, second):
            assert isinstance(prediction, emr.Prediction)
            assert (prediction.label, prediction.prediction_set) == (expected.label, expected.prediction_set)
            assert list(prediction.probabilities.values()) == pytest.approx(list(expected.probabilities.values()))


def test_a_bundle_without_calibration_has_plain_probabilities(make_bundle: MakeBundle) -> None:
    plain = make_bundle(task=CLASSES, names=("language",))
    with emr.load(plain) as session:
        prediction = session.predict(language=random_frames("language", 4))
        assert prediction.prediction_set is None
        assert list(prediction.probabilities.values()) == pytest.approx(softmax(prediction.outputs))
        assert verify_bundle(session).passed
    with pytest.raises(UsageError, match="abstain needs prediction sets, which this bundle does not have for onnxrunt"):
        emr.load(plain, abstain=True)


def test_a_class_named_uncertain_cannot_abstain(make_bundle: MakeBundle) -> None:
    task = TaskSpec("classes", 2, ("certain", "uncertain"))
    folder = make_bundle(task=task, names=MODALITIES, class_calibration=make_calibration())
    with pytest.raises(UsageError, match="abstain needs a bundle without a class named 'uncertain'"):
        emr.load(folder, abstain=True)


def test_the_manifest_keeps_the_calibration(bundle: Path, shared_bundle: Path) -> None:
    assert open_bundle(bundle).manifest.class_calibration == make_calibration()
    assert "class_calibration" not in json.loads((shared_bundle / "manifest.json").read_text("utf-8"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperature": 0}, "class_calibration.temperature must be 0.01 to 100, got 0"),
        ({"temperature": -1.0}, "class_calibration.temperature must be 0.01 to 100, got -1"),
        ({"temperature": 1e-300}, "class_calibration.temperature must be 0.01 to 100, got 1e-300"),
        ({"temperature": math.nan}, "class_calibration.temperature must be a finite number, got nan"),
        ({"temperature": "1"}, "class_calibration.temperature must be a finite number, got '1'"),
        ({"sets": 3}, "class_calibration.sets must be an object, got 3"),
        ({"surprise": 1}, "class_calibration.surprise is not a known field"),
    ],
)
def test_an_invalid_calibration_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    value = json.loads(json.dumps(dataclasses.asdict(make_calibration())))
    with pytest.raises(ValueError, match="class_calibration") as caught:
        ClassCalibration.from_json({**value, **changes}, "class_calibration")
    assert message in str(caught.value)


def test_descending_thresholds_are_refused_by_name() -> None:
    value = json.loads(json.dumps(dataclasses.asdict(make_calibration())))
    value["sets"]["thresholds"]["openvino"]["fp32"]["l"][1] = [0.9, 0.5]
    with pytest.raises(ValueError, match=r"openvino\.fp32\.l\[1\] must have ascending thresholds, or null, got 0\.5"):
        ClassCalibration.from_json(value, "class_calibration")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "colors"}, "task.kind must be one of mosi, sims, regression, classes, emotions, got 'colors'"),
        ({"labels": ["a"], "outputs": 1}, "task.labels of classes must have at least 2 names, got 1"),
        ({"labels": [], "outputs": 0}, "task.labels of classes must have at least 2 names, got 0"),
        ({"labels": ["a", "a"], "outputs": 2}, "task.labels must be different names, got a, a"),
        ({"labels": ["a", " "], "outputs": 2}, r"task.labels\[1\] must have 1 to 100 printable characters, got ' '"),
        ({"labels": ["a", "\x1b[2J"], "outputs": 2}, r"task.labels\[1\] must have 1 to 100 printable characters"),
        ({"labels": ["a", "b" * 101], "outputs": 2}, r"task.labels\[1\] must have 1 to 100 printable characters"),
        ({"labels": ["a", 3], "outputs": 2}, r"task.labels\[1\] must be a string, got 3"),
        ({"outputs": 3}, "task.outputs must be 4, the number of labels, got 3"),
        ({"edges": [0.5]}, "task.edges must be empty, and low and high null, for classes"),
        ({"low": -3}, "task.edges must be empty, and low and high null, for classes"),
        ({"kind": "mosi"}, "task.outputs of mosi must be 1, got 4"),
        ({"kind": "mosi", "outputs": 1}, "task.edges must be 3 ascending scores, one less than labels, got"),
        ({"kind": "regression", "outputs": 1, "labels": [], "low": 1, "high": 1}, "task.low must be less than high, 1"),
    ],
)
def test_an_inconsistent_task_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    value = json.loads(json.dumps(dataclasses.asdict(CLASSES)))
    with pytest.raises(ValueError, match=message):
        TaskSpec.from_json({**value, **changes}, "task")


def test_calibrations_of_other_tasks_are_refused(
    make_bundle: MakeBundle, bundle: Path, seal: Callable[..., None]
) -> None:
    stated = json.loads((bundle / "manifest.json").read_text("utf-8"))["class_calibration"]
    emotions = make_bundle(task=TaskSpec("emotions", 2, ("happy", "sad")), names=("language",))
    seal(emotions, {"class_calibration": stated})
    with pytest.raises(BundleError, match="class_calibration must be left out for emotions"):
        open_bundle(emotions)
    classes = make_bundle(task=CLASSES, names=("language",), class_calibration=make_calibration())
    with pytest.raises(BundleError, match=r"class_calibration\.sets\.typical_frames must not have audio, vision"):
        open_bundle(classes)
    head = {"decay": 0.5, "prior": 1.0, "subsets": {}, "utterances": 1, "videos": 1}
    seal(classes, {"class_calibration": None, "context": head})
    with pytest.raises(BundleError, match="context must be null for classes"):
        open_bundle(classes)


def test_int8_may_differ_by_a_share_of_a_large_logit() -> None:
    assert largest_tolerance("int8", CLASSES, [np.zeros(4, np.float32)]) == 1.0
    assert largest_tolerance("int8", CLASSES, [np.full(4, 100, np.float32)]) == 2.0
