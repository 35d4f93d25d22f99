from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edge_msa.data.dataset import FloatArray, Frames, Split
from edge_msa.reporting.explain.interventions import (
    MAX_FEATURES,
    compute_interventions,
    feature_groups,
    replace_by_mean,
)

COUNT = 60


def toy() -> Split:
    """The label is the mean of the first audio feature; the other two are noise."""
    rng = np.random.default_rng(0)
    audio = rng.normal(size=(COUNT, 4, 3)).astype(np.float32)
    valid = np.ones((COUNT, 4), np.bool_)
    valid[::3, 2:] = False
    labels = np.array([sample[mask, 0].mean() for sample, mask in zip(audio, valid, strict=True)], np.float32)
    names = tuple(map(str, range(COUNT)))
    groups = tuple(f"video{row // 4}" for row in range(COUNT))
    return Split(names, groups, labels, {"audio": Frames(valid, audio)})


def predict_label(split: Split) -> FloatArray:
    frames = split.modalities["audio"]
    return np.asarray(frames.take()[..., :1].sum(axis=1) / frames.lengths[:, None], np.float32)


def test_only_the_feature_that_the_model_uses_has_an_effect() -> None:
    split = toy()
    results = compute_interventions(
        split,
        {"audio": split.modalities["audio"].valid},
        feature_groups("audio", 3, ("pitch", "noise", "hum"), ("Hz", "", "")),
        predict=predict_label,
        predictions=predict_label(split),
        without={"audio": np.zeros((COUNT, 1), np.float32)},
        is_score=True,
    )
    assert {item.name for item in results[:3]} == {"pitch (Hz)", "all 3 features", "audio removed"}
    errors = {item.name: item.error_increase for item in results}
    pitch, hum = errors["pitch (Hz)"], errors["hum"]
    assert pitch is not None
    assert hum is not None
    assert pitch.low > 0
    assert (hum.low, hum.value, hum.high) == (0, 0, 0)
    mean = float(split.modalities["audio"].take()[split.modalities["audio"].valid][:, 0].mean())
    assert pitch.value == pytest.approx(float(np.abs(split.labels - mean).mean()), rel=1e-4)
    assert [item.magnitude for item in results] == sorted((item.magnitude for item in results), reverse=True)


def test_without_labels_the_change_of_the_prediction_is_measured() -> None:
    split = dataclasses.replace(toy(), labels=np.full(COUNT, np.nan, np.float32))
    (first, *_) = compute_interventions(
        split,
        {"audio": split.modalities["audio"].valid},
        feature_groups("audio", 3, (), ()),
        predict=predict_label,
        predictions=predict_label(split),
        without={},
        is_score=False,
    )
    assert first.error_increase is None
    assert first.shift.low > 0


def test_a_replaced_feature_is_constant_and_the_others_stay() -> None:
    frames = toy().modalities["audio"]
    changed = replace_by_mean(frames, frames.valid, [1])
    assert changed is not None
    before, after = frames.take()[frames.valid], changed.take()[frames.valid]
    np.testing.assert_allclose(after[:, 1], before[:, 1].mean(), rtol=1e-5)
    np.testing.assert_array_equal(after[:, [0, 2]], before[:, [0, 2]])
    ids = np.array([[0, 1, -1]])
    words = Frames(ids >= 0, ids=ids, table=np.array([[1, 5], [3, 6], [99, 7]], np.float32))
    replaced = replace_by_mean(words, words.valid, [0])
    assert replaced is not None
    np.testing.assert_allclose(replaced.take()[0, :2], [[2, 5], [2, 6]])


def test_many_features_are_grouped_by_their_names() -> None:
    names = tuple(f"mfcc_{number}" for number in range(100)) + tuple(f"f0[{number}]" for number in range(100))
    groups = feature_groups("audio", 200, names, ())
    assert [group.name for group in groups] == ["mfcc (100 features)", "f0 (100 features)", "all 200 features"]
    assert groups[1].columns == tuple(range(100, 200))
    assert [group.kind for group in feature_groups("language", MAX_FEATURES + 1, (), ())] == ["all features"]
    assert [group.name for group in feature_groups("vision", 2, (), ())] == ["feature 1", "feature 2", "all 2 features"]
    assert [group.name for group in feature_groups("vision", 1, (), ())] == ["feature 1"]
