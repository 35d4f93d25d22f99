from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from edge_msa.data.dataset import Dataset, FloatArray, Split
from edge_msa.data.synthetic.bayes_optimum import BayesOptimum, limits, mean, median, positive_mass
from edge_msa.data.synthetic.generator import synthetic_dataset
from edge_msa.data.synthetic.posterior import posterior
from edge_msa.data.synthetic.world import GRID
from edge_msa_runtime.modalities import MODALITIES, Subset


@cache
def default() -> Dataset:
    return synthetic_dataset()


@cache
def default_limits() -> dict[str, BayesOptimum]:
    return limits(default().split("test"))


@cache
def constant_mae() -> float:
    constant = np.median(default().split("train").labels)
    return float(np.abs(default().split("test").labels - constant).mean())


def pooled(split: Split) -> FloatArray:
    frames = [split.modalities[name] for name in MODALITIES]
    return np.concatenate([each.take().sum(axis=1) / each.lengths[:, None] for each in frames], axis=1)


def test_all_three_modalities_reach_at_most_40_percent_of_the_constants_error() -> None:
    assert len(default().split("test")) >= 4000
    assert default_limits()["lav"].mae <= 0.40 * constant_mae()


@pytest.mark.parametrize("subset", ["l", "a", "v"])
def test_one_modality_leaves_55_to_85_percent_of_the_constants_error(subset: str) -> None:
    assert 0.55 <= default_limits()[subset].mae / constant_mae() <= 0.85


def test_a_ridge_on_pooled_features_is_at_least_25_percent_worse_than_the_limit() -> None:
    train, test = default().split("train"), default().split("test")
    features = pooled(train)
    center, scale = features.mean(axis=0), features.std(axis=0)
    ridge = Ridge(alpha=1.0).fit((features - center) / scale, train.labels)
    error = np.abs(ridge.predict((pooled(test) - center) / scale) - test.labels).mean()

    assert error >= 1.25 * default_limits()["lav"].mae
    assert error < 0.95 * constant_mae()  # and yet it has learned something


def test_every_further_modality_helps() -> None:
    found = default_limits()
    for small in Subset:
        for large in Subset:
            if set(small.modalities) < set(large.modalities):
                assert found[large.value].mae < found[small.value].mae
                assert found[large.value].corr > found[small.value].corr
                assert found[large.value].acc2_non0 > found[small.value].acc2_non0


def test_dropped_frames_make_it_harder() -> None:
    split = default().split("valid")
    whole = limits(split)
    rng = np.random.default_rng(0)
    halves = {name: rng.random(frames.valid.shape) < 0.5 for name, frames in split.modalities.items()}
    for subset, limit in limits(split, halves).items():
        assert limit.mae > whole[subset].mae
        assert limit.corr < whole[subset].corr


def test_limits_are_what_the_posterior_reaches() -> None:
    split = default().split("valid")
    probability = posterior(split, Subset.LA)
    found = limits(split)["la"]
    scored = split.labels != 0

    assert found.mae == pytest.approx(np.abs(median(probability) - split.labels).mean(), abs=1e-6)
    assert found.corr == pytest.approx(np.corrcoef(mean(probability), split.labels)[0, 1], abs=1e-6)
    signs = np.sign(positive_mass(probability)) == np.sign(split.labels)
    assert found.acc2_non0 == pytest.approx(signs[scored].mean())


def test_predictions_of_a_known_distribution() -> None:
    probability = np.zeros((1, len(GRID)))
    probability[0, [0, 30, 40]] = 0.3, 0.25, 0.45  # -3, 0 and 1

    assert median(probability) == pytest.approx([0.0])
    assert mean(probability) == pytest.approx([-0.45])
    assert positive_mass(probability) == pytest.approx([0.15])
