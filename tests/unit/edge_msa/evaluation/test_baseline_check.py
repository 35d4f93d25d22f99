from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from edge_msa.console import print_note
from edge_msa.data.dataset import Dataset, FloatArray, Frames, Split
from edge_msa.data.inspect import format_inspection, inspect_dataset
from edge_msa.data.tasks import MOSI
from edge_msa.evaluation.baseline_check import (
    ConstantComparison,
    baseline_warning,
    beats_constant,
    check_predictions,
    check_rows,
    count_units,
    is_ahead,
    needs_more_samples,
    too_few_warning,
    unproven_note,
)
from edge_msa.evaluation.evaluate import Evaluation, Source, evaluate, format_evaluation
from edge_msa.evaluation.metrics import describe
from edge_msa_runtime.modalities import Subset

SAMPLES = 120
LABELS = np.random.default_rng(0).uniform(-3, 3, SAMPLES).astype(np.float32)


def dataset_of(labels: FloatArray = LABELS) -> Dataset:
    frames = {
        name: Frames(np.ones((SAMPLES, 1), np.bool_), np.ones((SAMPLES, 1, 1), np.float32))
        for name in ("language", "audio")
    }
    groups = tuple(f"video{row // 5:02}" for row in range(SAMPLES))
    split = Split(tuple(map(str, range(SAMPLES))), groups, labels, frames)
    return Dataset("toy", MOSI, {"train": split, "valid": split, "test": split}, "digest")


def noisy(deviation: float, bias: float = 0.0) -> FloatArray:
    return (LABELS + np.random.default_rng(1).normal(bias, deviation, SAMPLES)).astype(np.float32)


@pytest.mark.case("F30")
@pytest.mark.parametrize(
    ("predictions", "expected"),
    [
        (noisy(0.5), True),
        (np.full(SAMPLES, 1.0, np.float32), False),
        (noisy(8.0), False),
        (noisy(0.2, bias=3.0), False),
    ],
    ids=["good", "constant", "noise", "better-classes-but-worse-error"],
)
def test_a_model_is_compared_with_the_better_constant(predictions: FloatArray, expected: bool) -> None:
    result = check_predictions(dataset_of(), "valid", lambda _, __: predictions)
    assert result is not None
    subset, comparisons = result
    assert beats_constant(comparisons) is expected
    warning = baseline_warning("the student", "valid", subset, comparisons)
    assert (warning is None) is expected
    if warning:
        assert warning.startswith("the student does not beat a constant on la of the valid split. Do not ship it.")
        assert re.search(
            r"MAE: model \d\.\d+, median 1\.595, 95 % interval of the difference [+-]\S+ to [+-]\d", warning
        )


@pytest.mark.case("F30")
def test_too_few_samples_do_not_show_that_a_model_is_better() -> None:
    rows = np.arange(6)
    dataset = dataset_of()
    small = Dataset("toy", MOSI, {"valid": dataset.split("valid").select(rows)}, "digest")
    result = check_predictions(small, "valid", lambda _, __: noisy(1.5)[rows])
    assert result is not None
    _, comparisons = result
    assert comparisons["mae"].model < comparisons["mae"].constant
    assert not beats_constant(comparisons)
    assert is_ahead(comparisons)
    assert needs_more_samples(small.split("valid"), comparisons) == (
        "Add labeled samples to the valid split, best from 20 videos or more: it has 6 samples from 2 videos"
    )
    assert needs_more_samples(dataset.split("valid"), comparisons) is None


def test_an_interval_has_no_values_that_a_difference_cannot_have() -> None:
    assert describe("acc2_non0").format_interval(-3.456, 1.7) == "-100.0 to +100.0"
    assert describe("corr").format_interval(-2.5, 0.25) == "-2.000 to +0.250"
    assert describe("mae").format_interval(-5.0, 4.0) == "-5.000 to +4.000"


def test_one_sample_decides_nothing() -> None:
    dataset = dataset_of()
    small = Dataset("toy", MOSI, {"valid": dataset.split("valid").select(np.arange(1))}, "digest")
    assert check_predictions(small, "valid", lambda _, __: noisy(1.5)[:1]) is None
    assert too_few_warning("student", "valid", *count_units(small.split("valid"))) == (
        "student cannot be compared with a constant: the valid split has 1 labeled sample, and the comparison needs "
        "at least 2."
    )
    evaluation, _ = evaluate(
        lambda part, _: noisy(1.5)[: len(part)], small, "valid", Source("student", "run"), resamples=0
    )
    assert "student cannot be compared with a constant: the valid split has 1 " in format_evaluation(evaluation)


def test_a_metric_that_is_not_better_than_that_of_a_constant_is_named() -> None:
    same = ConstantComparison("median", model=0.58, constant=0.58, low=-0.1, high=0.1)
    better = ConstantComparison("median", model=1.0, constant=1.2, low=-0.3, high=-0.1)
    assert unproven_note("student", "valid", "lav", {"acc2_non0": same, "mae": better}) == (
        "student beats a constant on lav of the valid split in MAE only. In the other metric it is not shown to be "
        "better. Acc-2 Non0: model 58.0, median 58.0, 95 % interval of the difference -10.0 to +10.0."
    )
    assert unproven_note("student", "valid", "lav", {"mae": better}) is None
    assert unproven_note("student", "valid", "lav", {"acc2_non0": same}) is None


def test_samples_of_one_video_decide_nothing() -> None:
    split = dataset_of().split("valid")
    rows = np.array([0, 1])
    groups = ["one", "one", *(f"video{n}" for n in range(len(split) - 2))]
    split = dataclasses.replace(split, groups=tuple(groups))
    constants = {"best_constant": np.zeros(1, np.float32)}
    assert check_rows(MOSI, split, rows, noisy(1.5)[rows], constants) == {}
    assert set(check_rows(MOSI, split, np.array([0, 2]), noisy(1.5)[[0, 2]], constants)) == {"acc2_non0", "mae"}


@pytest.mark.case("F30")
def test_an_evaluation_warns_of_a_model_no_better_than_a_constant() -> None:
    """It is good on audio alone, but not on all modalities."""

    def predict(part: Split, subset: Subset) -> FloatArray:
        return noisy(0.5)[: len(part)] if subset is Subset.A else np.ones(len(part), np.float32)

    evaluation, _ = evaluate(predict, dataset_of(), "test", Source("student", "run"), resamples=0)
    assert evaluation.beats_constant is False
    text = format_evaluation(evaluation)
    assert "warning: student does not beat a constant on la of the test split. Do not ship it." in text
    assert "On l the model does not beat a constant. The 95 % intervals cover the choice of " in text
    assert Evaluation.from_json(evaluation.to_json()) == evaluation


def test_a_good_evaluation_has_no_warning() -> None:
    evaluation, _ = evaluate(
        lambda part, _: noisy(0.5)[: len(part)], dataset_of(), "test", Source("student", "run"), resamples=0
    )
    assert evaluation.beats_constant is True
    assert "beat a constant" not in format_evaluation(evaluation)


@pytest.mark.usefixtures("printing")
def test_a_note_that_is_printed_is_not_repeated_in_the_result() -> None:
    note = "audio: 3 values in train were -inf, set to 0"
    dataset = dataclasses.replace(dataset_of(), notes=(note,))
    evaluation, _ = evaluate(
        lambda part, _: noisy(0.5)[: len(part)], dataset, "test", Source("student", "run"), resamples=0
    )
    assert note in format_evaluation(evaluation)
    print_note(note)
    assert note not in format_evaluation(evaluation)
    text = format_inspection(inspect_dataset(dataset))
    assert text.count("-inf") == 1
    assert "NaN and inf: 3 in train/audio/-inf" in text
