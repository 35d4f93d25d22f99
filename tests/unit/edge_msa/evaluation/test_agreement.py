from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edge_msa.data.dataset import Dataset, Frames, Split
from edge_msa.data.tasks import MOSI
from edge_msa.evaluation.agreement import compare_evaluations, format_agreement
from edge_msa.evaluation.evaluate import Evaluation, Source, SubsetPredictions, evaluate
from edge_msa_runtime.modalities import Subset

LABELS = np.array([2.0, -1.0, 1.0, -2.0], np.float32)


def dataset() -> Dataset:
    frames = Frames(np.ones((4, 2), np.bool_), values=np.ones((4, 2, 3), np.float32))
    split = Split(("a", "b", "c", "d"), ("a", "b", "c", "d"), LABELS, {"language": frames, "audio": frames})
    return Dataset("toy", MOSI, {"train": split, "test": split}, "toy")


def read(precision: str, gap: float) -> tuple[Evaluation, tuple[SubsetPredictions, ...]]:
    def predict(split: Split, subset: Subset) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return split.labels + np.float32(gap if subset is Subset.LA else 0.0)

    return evaluate(predict, dataset(), "test", Source("toy", "bundle", precision), resamples=0)


def test_each_subset_has_its_difference() -> None:
    found = compare_evaluations(*read("fp32", 0.0), *read("int8", 0.25))
    assert found.precisions == ("fp32", "int8")
    assert [item.subset for item in found.subsets] == ["l", "a", "la"]
    assert found.subsets[2].metrics["mae"] == pytest.approx((0.0, 0.25))
    assert found.subsets[0].metrics["mae"] == (0.0, 0.0)
    assert all(item.correlation == pytest.approx(1.0) for item in found.subsets)


def test_the_sentence_has_mean_and_largest_difference() -> None:
    text = format_agreement(compare_evaluations(*read("fp32", 0.0), *read("int8", 1.5)))
    assert "in MAE by 0.500 on average (at most 1.500)" in text
    assert "in Acc-2 Non0 by 8.3 on average (at most 25.0)" in text
    assert "-25.0" in text


def test_different_predictions_have_a_low_correlation() -> None:
    first, second = read("fp32", 0.0), read("int8", 0.0)
    turned = tuple(dataclasses.replace(item, scores=-item.scores) for item in second[1])
    found = compare_evaluations(*first, second[0], turned)
    assert {round(item.correlation, 5) for item in found.subsets} == {-1.0}
