from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from edge_msa.data.dataset import Dataset, FloatArray, Frames, Split, SplitName
from edge_msa.data.normalization import LIMIT, FeatureNormalization, fit_normalization
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


def _fit_one(values: FloatArray, *, table: bool = False) -> FeatureNormalization:
    """Return the statistics of audio frames (N, T, d), stored as values or as ids into a table."""
    valid = np.ones(values.shape[:2], np.bool_)
    rows = values.reshape(-1, values.shape[-1])
    frames = (
        Frames(valid, ids=np.arange(len(rows)).reshape(valid.shape), table=rows) if table else Frames(valid, values)
    )
    return fit_normalization(_split(len(values), 0, {"audio": frames}), {"audio": values.shape[-1]})


def _valid_frames(dataset: Dataset, split: SplitName, modality: str) -> np.ndarray[Any, Any]:
    frames = dataset.split(split).modalities[modality]
    return frames.take()[frames.valid]


def test_training_frames_have_mean_0_and_std_1(dataset: Dataset) -> None:
    applied = fit_normalization(dataset.split("train"), dataset.dims).normalize_dataset(dataset)
    for modality, varying in (("language", [0, 1]), ("audio", [0, 1])):
        frames = _valid_frames(applied, "train", modality)[:, varying]
        np.testing.assert_allclose(frames.mean(axis=0), 0, atol=2e-3)
        np.testing.assert_allclose(frames.std(axis=0), 1, atol=2e-3)


def test_networks_see_zeros_in_place_of_a_constant_feature(dataset: Dataset) -> None:
    fitted = fit_normalization(dataset.split("train"), dataset.dims)
    assert fitted.std["audio"][2] == np.inf
    assert fitted.spread["audio"][2] == 0
    assert fitted.mean["audio"][2] == np.float32(0.1)
    frames = np.array([[5, -300, 1e30], [np.inf, np.nan, np.inf]], np.float32)
    assert fitted.normalize_frames("audio", frames)[0, 2] == 0


def test_a_modality_without_training_frames_is_noted(dataset: Dataset) -> None:
    fitted = fit_normalization(dataset.split("train"), dataset.dims)
    applied = fitted.normalize_dataset(dataset)
    np.testing.assert_array_equal(_valid_frames(applied, "valid", "vision"), _valid_frames(dataset, "valid", "vision"))
    constant = "audio: 1 of 3 features not used, constant in training"
    assert applied.notes == ("first", constant, "vision: not normalized, the train split has no frame of it")


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
    assert (loaded.limit, loaded.norm) == (fitted.limit, fitted.norm)
    for part in ("mean", "std"):
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
    limit = fitted.limit["audio"]
    far = np.array([[-1e30, -1e30, 0.1], [1e30, 1e30, 0.1]], np.float32)
    expected = [[-limit, -limit, 0], [limit, limit, 0]]
    np.testing.assert_array_equal(fitted.normalize_frames("audio", far), np.array(expected, np.float32))
    frames = fitted.normalize_frames("audio", _valid_frames(dataset, "train", "audio"))
    assert limit - 0.01 < np.abs(frames).max() <= limit < LIMIT


@pytest.mark.parametrize("table", [False, True])
def test_outliers_do_not_change_the_scale_of_a_feature(*, table: bool) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(500, 4, 3)).astype(np.float32)
    spoiled = values.copy()
    spoiled[::100, 0, 1] = 1e4
    spoiled[::100, 0, 2] = -1e6
    plain, robust = (_fit_one(part, table=table) for part in (values, spoiled))
    np.testing.assert_allclose(robust.mean["audio"], plain.mean["audio"], atol=0.02)
    np.testing.assert_allclose(robust.std["audio"], plain.std["audio"], rtol=0.05)
    assert robust.norm["audio"] < 3 * plain.norm["audio"]


def test_every_feature_uses_a_good_part_of_the_range_that_int8_has_for_all() -> None:
    rng = np.random.default_rng(0)
    tails = [rng.standard_cauchy(size=(500, 4)), np.exp(3 * rng.normal(size=(500, 4))), rng.normal(size=(500, 4)) ** 5]
    values = (np.stack(tails, axis=2) * [1e-3, 1, 1e6]).astype(np.float32)
    normalized = _fit_one(values).normalize_frames("audio", values)
    assert np.abs(normalized).max() == LIMIT
    assert (normalized.std(axis=(0, 1)) > 0.5).all()


def test_a_feature_that_is_rarely_active_is_kept_within_the_limit() -> None:
    values = np.zeros((500, 4, 1), np.float32)
    values[::200, 0] = 1  # in 1 of 800 frames
    fitted = _fit_one(values)
    active = fitted.normalize_frames("audio", np.ones((1, 1), np.float32))
    assert active == LIMIT
    assert abs(fitted.normalize_frames("audio", np.zeros((1, 1), np.float32))) < 0.1


def test_completing_fits_only_modalities_without_statistics(dataset: Dataset) -> None:
    fitted = fit_normalization(dataset.split("train"), dataset.dims)
    mixed = fitted.select(["audio"]).merge(FeatureNormalization.identity({"vision": 3}))
    completed = mixed.complete(dataset.split("valid"), ["audio", "vision"])
    expected = fit_normalization(dataset.split("valid"), {"vision": 3})
    np.testing.assert_array_equal(completed.mean["vision"], expected.mean["vision"])
    assert completed.limit["vision"] == expected.limit["vision"]
    np.testing.assert_array_equal(completed.std["audio"], fitted.std["audio"])
    assert completed.norm["audio"] >= fitted.norm["audio"]
