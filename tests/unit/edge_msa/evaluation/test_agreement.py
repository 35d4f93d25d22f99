from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edge_msa.data.dataset import Dataset, Frames, Split
from edge_msa.data.tasks import MOSI
from edge_msa.evaluation.agreement import format_agreement
from edge_msa.evaluation.evaluate import Evaluation, Source, SubsetPredictions, compare_evaluations, evaluate
from edge_msa_runtime.modalities import Subset

LABELS = np.array([2.0, -1.0, 1.0, -2.0], np.float32)


def dataset() -> Dataset:
    frames = Frames(np.ones((4, 2), np.bool_), values=np.ones((4, 2, 3), np.float32))
    split = Split(("a", "b", "c", "d"), ("a", "b", "c", "d"), LABELS, {"language": frames, "audio": frames})
    return Dataset("toy", MOSI, {"train": split, "test": split}, "toy")


def evaluate_toy(precision: str, gap: float) -> tuple[Evaluation, tuple[SubsetPredictions, ...]]:
    def predict(split: Split, subset: Subset) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return split.labels + np.float32(gap if subset is Subset.LA else 0.0)

    return evaluate(predict, dataset(), "test", Source("toy", "bundle", precision), resamples=0)


def test_each_subset_has_its_difference() -> None:
    result = compare_evaluations(*evaluate_toy("fp32", 0.0), *evaluate_toy("int8", 0.25))
    assert result.precisions == ("fp32", "int8")
    assert [item.subset for item in result.subsets] == ["l", "a", "la"]
    assert result.subsets[2].metrics["mae"] == pytest.approx((0.0, 0.25))
    assert result.subsets[0].metrics["mae"] == (0.0, 0.0)
    assert all(item.correlation == pytest.approx(1.0) for item in result.subsets)


def test_the_sentence_has_mean_and_largest_difference() -> None:
    text = format_agreement(compare_evaluations(*evaluate_toy("fp32", 0.0), *evaluate_toy("int8", 1.5)))
    assert "in MAE by 0.500 on average (at most 1.500)" in text
    assert "in Acc-2 Non0 by 8.3 on average (at most 25.0)" in text
    assert "-25.0" in text


def test_different_predictions_have_a_low_correlation() -> None:
    first, second = evaluate_toy("fp32", 0.0), evaluate_toy("int8", 0.0)
    negated = tuple(dataclasses.replace(item, scores=-item.scores) for item in second[1])
    result = compare_evaluations(*first, second[0], negated)
    assert {round(item.correlation, 5) for item in result.subsets} == {-1.0}


@pytest.mark.case("E1")
def test_differences_have_intervals_for_this_model() -> None:
    result = compare_evaluations(*evaluate_toy("fp32", 0.0), *evaluate_toy("int8", 0.25))
    assert result.subsets[0].differences["mae"].includes_zero
    assert result.subsets[2].differences["mae"].value == pytest.approx(0.25)
    text = format_agreement(result)
    assert "compare these two precisions of one model. They cover the choice of samples (too few videos" in text
    assert "1 of 6 exclude 0: MAE on la" in text
