from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from edge_msa.data.dataset import Dataset, Frames, Split, SplitName
from edge_msa.data.normalization import FeatureNormalization, fit_normalization
from edge_msa.data.tasks import REGRESSION
from edge_msa.errors import DataError


def _split(count: int, seed: int, modalities: dict[str, Frames]) -> Split:
    ids = tuple(f"{seed}-{row}" for row in range(count))
    return Split(ids, ids, np.zeros(count, np.float32), modalities)


def _audio(count: int, seed: int) -> Frames:
    rng = np.random.default_rng(seed)
    values = (rng.normal(size=(count, 4, 3)) * [1, 100, 0] + [5, -300, 0.1]).astype(np.float32)
    valid = rng.random((count, 4)) > 0.4
    values[~valid] = 1e6  # frames that are not valid must not count
    return Frames(valid, values)


@pytest.fixture
def dataset() -> Dataset:
    rng = np.random.default_rng(7)
    table = rng.normal(2, 3, size=(20, 2)).astype(np.float32)
    splits: dict[SplitName, Split] = {}
    names: tuple[SplitName, ...] = ("train", "valid")
    for seed, name in enumerate(names):
        words = Frames(rng.random((300, 4)) > 0.3, ids=rng.integers(0, 10, (300, 4)), table=table)
        modalities = {"language": words, "audio": _audio(300, seed)}
        if name == "valid":
            modalities["vision"] = _audio(300, 9)
        splits[name] = _split(300, seed, modalities)
    return Dataset("x", REGRESSION, splits, "d", notes=("first",))


def _valid_frames(dataset: Dataset, split: SplitName, modality: str) -> np.ndarray[Any, Any]:
    frames = dataset.split(split).modalities[modality]
    return frames.take()[frames.valid]


def test_training_frames_have_mean_0_and_std_1(dataset: Dataset) -> None:
    applied = fit_normalization(dataset.split("train"), dataset.dims).normalize_dataset(dataset)
    for modality, varying in (("language", [0, 1]), ("audio", [0, 1])):
        frames = _valid_frames(applied, "train", modality)[:, varying]
        np.testing.assert_allclose(frames.mean(axis=0), 0, atol=1e-4)
        np.testing.assert_allclose(frames.std(axis=0), 1, atol=1e-4)


def test_a_constant_feature_keeps_unit_divisor(dataset: Dataset) -> None:
    fitted = fit_normalization(dataset.split("train"), dataset.dims)
    assert fitted.std["audio"][2] == 1
    assert fitted.mean["audio"][2] == np.float32(0.1)


def test_a_modality_without_training_frames_is_noted(dataset: Dataset) -> None:
    fitted = fit_normalization(dataset.split("train"), dataset.dims)
    applied = fitted.normalize_dataset(dataset)
    np.testing.assert_array_equal(_valid_frames(applied, "valid", "vision"), _valid_frames(dataset, "valid", "vision"))
    note = "vision: not normalized, the train split has no frame of it"
    assert applied.notes == ("first", note)


def test_a_table_is_normalized_once_and_keeps_its_ids(dataset: Dataset) -> None:
    fitted = fit_normalization(dataset.split("train"), dataset.dims)
    applied = fitted.normalize_dataset(dataset)
    train, valid = (applied.split(name).modalities["language"] for name in ("train", "valid"))
    assert train.ids is dataset.split("train").modalities["language"].ids
    assert train.table is valid.table
    dense = fitted.normalize_frames("language", _valid_frames(dataset, "valid", "language"))
    np.testing.assert_array_equal(_valid_frames(applied, "valid", "language"), dense)


def test_invalid_frames_stay_zero_and_the_input_unchanged(dataset: Dataset) -> None:
    before = dataset.split("train").modalities["audio"].values
    assert before is not None
    copy = before.copy()
    frames = (
        fit_normalization(dataset.split("train"), dataset.dims)
        .normalize_dataset(dataset)
        .split("train")
        .modalities["audio"]
    )
    assert frames.values is not None
    assert not frames.values[~frames.valid].any()
    np.testing.assert_array_equal(before, copy)


def test_json_keeps_float32_values_exactly(dataset: Dataset) -> None:
    fitted = fit_normalization(dataset.split("train"), dataset.dims)
    loaded = FeatureNormalization.from_json(json.loads(json.dumps(fitted.to_json())))
    assert loaded.notes == fitted.notes
    for part in ("mean", "std", "low", "high"):
        for modality, values in getattr(fitted, part).items():
            actual = getattr(loaded, part)[modality]
            np.testing.assert_array_equal(actual, values)
            assert actual.dtype == np.float32


def test_another_number_of_features_is_refused(dataset: Dataset) -> None:
    narrow = FeatureNormalization.identity({"audio": 2})
    with pytest.raises(
        DataError,
        match="language of x has 2 features, but the normalization was fitted on no features",
    ):
        narrow.normalize_dataset(dataset)
    with pytest.raises(DataError, match="invalid normalization"):
        FeatureNormalization.from_json({"modalities": 3})


@pytest.mark.case("F15")
def test_values_outside_the_range_of_training_are_clipped(dataset: Dataset) -> None:
    fitted = fit_normalization(dataset.split("train"), dataset.dims)
    frames = _valid_frames(dataset, "train", "audio")
    low, high = frames.min(axis=0), frames.max(axis=0)
    np.testing.assert_array_equal(fitted.low["audio"], low)
    np.testing.assert_array_equal(fitted.high["audio"], high)
    far = np.stack([low - 1e6, high + 1e6, frames[0]]).astype(np.float32)
    expected = (np.stack([low, high, frames[0]]) - fitted.mean["audio"]) / fitted.std["audio"]
    np.testing.assert_array_equal(fitted.normalize_frames("audio", far), expected)


@pytest.mark.case("F15")
def test_training_frames_are_not_clipped(dataset: Dataset) -> None:
    fitted = fit_normalization(dataset.split("train"), dataset.dims)
    applied = fitted.normalize_dataset(dataset)
    for modality in ("language", "audio"):
        frames = _valid_frames(dataset, "train", modality)
        expected = (frames - fitted.mean[modality]) / fitted.std[modality]
        np.testing.assert_array_equal(_valid_frames(applied, "train", modality), expected)


def test_a_wider_range_covers_another_split_and_keeps_the_moments(dataset: Dataset) -> None:
    fitted = fit_normalization(dataset.split("train"), dataset.dims)
    widened = fitted.widen(dataset.split("valid"), ["audio", "vision"])
    frames = np.concatenate([_valid_frames(dataset, name, "audio") for name in ("train", "valid")])
    np.testing.assert_array_equal(widened.low["audio"], frames.min(axis=0))
    np.testing.assert_array_equal(widened.high["vision"], _valid_frames(dataset, "valid", "vision").max(axis=0))
    assert widened.mean is fitted.mean
    np.testing.assert_array_equal(widened.low["language"], fitted.low["language"])
