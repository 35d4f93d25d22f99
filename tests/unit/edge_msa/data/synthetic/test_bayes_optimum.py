from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from edge_msa.data.dataset import Dataset, FloatArray, Split
from edge_msa.data.synthetic import posterior
from edge_msa.data.synthetic.bayes_optimum import (
    BayesOptimum,
    compute_bayes_optima,
    compute_class_posteriors,
    mean,
    median,
    sign_mass,
)
from edge_msa.data.synthetic.generator import SyntheticConfig, generate_dataset
from edge_msa.data.synthetic.posterior import combine, log_likelihoods
from edge_msa.data.synthetic.world import GRID, world
from edge_msa_runtime.modalities import MODALITIES, Subset


@cache
def default() -> Dataset:
    return generate_dataset()


@cache
def default_optima() -> dict[str, BayesOptimum]:
    return compute_bayes_optima(default().split("test"))


@cache
def constant_mae() -> float:
    constant = np.median(default().split("train").labels)
    return float(np.abs(default().split("test").labels - constant).mean())


def pooled(split: Split) -> FloatArray:
    frames = [split.modalities[name] for name in MODALITIES]
    return np.concatenate([each.take().sum(axis=1) / each.lengths[:, None] for each in frames], axis=1)


def test_all_modalities_reach_40_percent_of_the_constant_error() -> None:
    assert len(default().split("test")) >= 4000
    assert default_optima()["lav"].mae <= 0.40 * constant_mae()


@pytest.mark.parametrize("subset", ["l", "a", "v"])
def test_one_modality_reaches_55_to_85_percent_of_it(subset: str) -> None:
    assert 0.55 <= default_optima()[subset].mae / constant_mae() <= 0.85


def test_a_linear_model_does_not_reach_the_optimum() -> None:
    train, test = default().split("train"), default().split("test")
    features = pooled(train)
    center, scale = features.mean(axis=0), features.std(axis=0)
    ridge = Ridge(alpha=1.0).fit((features - center) / scale, train.labels)
    error = np.abs(ridge.predict((pooled(test) - center) / scale) - test.labels).mean()

    assert error >= 1.25 * default_optima()["lav"].mae
    assert error < 0.95 * constant_mae()  # but it is better than a constant


def test_each_additional_modality_improves_the_optimum() -> None:
    optima = default_optima()
    for small in Subset:
        for large in Subset:
            if set(small.modalities) < set(large.modalities):
                assert optima[large.value].mae < optima[small.value].mae
                assert optima[large.value].corr > optima[small.value].corr
                assert optima[large.value].acc2_non0 > optima[small.value].acc2_non0


def test_dropped_frames_worsen_the_optimum() -> None:
    split = default().split("valid")
    whole = compute_bayes_optima(split)
    rng = np.random.default_rng(0)
    halves = {name: rng.random(frames.valid.shape) < 0.5 for name, frames in split.modalities.items()}
    for subset, optimum in compute_bayes_optima(split, halves).items():
        assert optimum.mae > whole[subset].mae
        assert optimum.corr < whole[subset].corr


def test_the_optimum_uses_the_median_mean_and_sign() -> None:
    split = default().split("valid")
    probability = combine(log_likelihoods(split), Subset.LA)
    optimum = compute_bayes_optima(split)["la"]
    nonzero = split.labels != 0

    assert optimum.mae == pytest.approx(np.abs(median(probability) - split.labels).mean(), abs=1e-6)
    assert optimum.corr == pytest.approx(np.corrcoef(mean(probability), split.labels)[0, 1], abs=1e-6)
    signs = np.sign(sign_mass(probability)) == np.sign(split.labels)
    assert optimum.acc2_non0 == pytest.approx(signs[nonzero].mean())


def test_median_mean_and_sign_of_a_known_distribution() -> None:
    probability = np.zeros((1, len(GRID)))
    probability[0, [0, 30, 40]] = 0.3, 0.25, 0.45  # -3, 0 and 1

    assert median(probability) == pytest.approx([0.0])
    assert mean(probability) == pytest.approx([-0.45])
    assert sign_mass(probability) == pytest.approx([0.15])


def test_the_optimum_at_real_lengths_needs_its_own_distributions() -> None:
    split = generate_dataset(SyntheticConfig(train=1, valid=1, test=60, real_lengths=True), seed=1).split("test")
    optima = compute_bayes_optima(split, task=world(real_lengths=True))
    constant = np.abs(split.labels - np.median(split.labels)).mean()

    assert optima["lav"].mae < 0.3 * constant
    for subset in ("l", "a", "v"):
        assert optima["lav"].mae < optima[subset].mae < 0.85 * constant
    assert optima["lav"].mae < compute_bayes_optima(split)["lav"].mae


def test_the_posterior_does_not_depend_on_how_many_samples_are_computed_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    split = generate_dataset(SyntheticConfig(train=1, valid=1, test=4, real_lengths=True)).split("test")
    task = world(real_lengths=True)
    whole = log_likelihoods(split, task=task)
    monkeypatch.setattr(posterior, "_FRAMES_AT_ONCE", 1)
    single = log_likelihoods(split, task=task)

    for name, logs in whole.items():
        assert single[name] == pytest.approx(logs)


def test_the_posterior_of_classes_is_calibrated_and_improves_with_every_modality() -> None:
    dataset = generate_dataset(SyntheticConfig(train=1, valid=1, test=600, classes=True))
    labels = dataset.split("test").labels.astype(int)
    posteriors = compute_class_posteriors(dataset.split("test"))
    losses = {name: -np.log(values[np.arange(600), labels]).mean() for name, values in posteriors.items()}
    assert losses["lav"] < losses["la"] < min(losses["l"], losses["a"])
    complete = posteriors["lav"]
    assert complete.sum(axis=1) == pytest.approx(1)
    assert complete.max(axis=1).mean() == pytest.approx((complete.argmax(axis=1) == labels).mean(), abs=0.05)
