from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from edge_msa.artifacts.model_spec import ModelSpec
from edge_msa.data.dataset import Dataset, Frames, Split
from edge_msa.data.tasks import EMOTIONS, MOSI, SIMS, Task
from edge_msa.errors import DataError, RunError
from edge_msa_runtime.features import FeatureSource

DIMS = {"language": 3, "audio": 2}
COVAREP = FeatureSource("COVAREP", "1.4", 100.0, ("F0", "VUV"), ("Hz", ""), {"window_ms": 25.5}, "0f" * 32)


def toy(task: Task = MOSI, dims: dict[str, int] | None = None) -> Dataset:
    rng = np.random.default_rng(0)

    def split(count: int) -> Split:
        modalities = {
            name: Frames(
                np.arange(6)[None] < rng.integers(2, 7, (count, 1)),
                rng.normal(5, 2, (count, 6, dim)).astype(np.float32),
            )
            for name, dim in (dims or DIMS).items()
        }
        labels = rng.uniform(-1, 1, count) if task.is_score else rng.integers(0, 2, (count, task.outputs))
        ids = tuple(f"{count}-{row}" for row in range(count))
        return Split(ids, ids, labels.astype(np.float32), modalities)

    return Dataset("toy", task, {"train": split(30), "valid": split(20)}, "digest", {"audio": COVAREP})


def through_json(spec: ModelSpec) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(json.dumps(spec.to_json()))
    return value


@pytest.mark.parametrize("task", [MOSI, EMOTIONS])
def test_a_spec_survives_a_json_round_trip(task: Task) -> None:
    spec = ModelSpec.for_training(toy(task), "file.npz")
    result = ModelSpec.from_json(through_json(spec))
    assert result.task == task
    assert result.to_json() == spec.to_json()
    for name in DIMS:
        np.testing.assert_array_equal(result.normalization.mean[name], spec.normalization.mean[name])
        np.testing.assert_array_equal(result.normalization.std[name], spec.normalization.std[name])


def test_training_frames_are_centered_and_scaled() -> None:
    dataset = toy()
    frames = ModelSpec.for_training(dataset, "x").normalize(dataset).split("train").modalities["audio"]
    rows = frames.take()[frames.valid]
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(rows.std(axis=0), 1, atol=1e-5)


def test_normalization_is_fitted_on_the_train_split_only() -> None:
    dataset = toy()
    louder = {
        name: dataclasses.replace(frames, values=None if frames.values is None else frames.values * 10)
        for name, frames in dataset.split("valid").modalities.items()
    }
    changed = dataclasses.replace(
        dataset,
        splits={**dataset.splits, "valid": dataclasses.replace(dataset.split("valid"), modalities=louder)},
    )
    assert (
        ModelSpec.for_training(changed, "x").normalization.to_json()
        == ModelSpec.for_training(dataset, "x").normalization.to_json()
    )


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (toy(dims={"language": 3, "audio": 5}), "audio must have 2 features per frame, got 5 in toy"),
        (toy(dims={"vision": 2}), "must have at least one of the model's modalities .language, audio., got vision"),
        (toy(EMOTIONS), "The task must be mosi, which the model was trained for, got emotions"),
    ],
)
def test_incompatible_data_is_refused(other: Dataset, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ModelSpec.for_training(toy(), "x").normalize(other)


def test_data_may_lack_a_modality_of_the_model() -> None:
    assert set(ModelSpec.for_training(toy(), "x").normalize(toy(dims={"audio": 2})).dims) == {"audio"}


def test_an_unknown_modality_is_ignored_with_a_note() -> None:
    result = ModelSpec.for_training(toy(), "x").normalize(toy(dims={**DIMS, "vision": 2}))
    assert set(result.dims) == set(DIMS)
    assert result.notes == ("vision: ignored, the model was trained without it",)


@pytest.mark.parametrize("rows", [slice(0), slice(None)], ids=["absent", "masked"])
def test_a_modality_without_training_frames_is_not_in_the_spec(rows: slice) -> None:
    dataset = toy()
    train = dataset.split("train")
    language = train.modalities["language"]
    masked = (
        {"language": dataclasses.replace(language, valid=np.zeros_like(language.valid))} if rows.stop is None else {}
    )
    modalities = {"audio": train.modalities["audio"], **masked}
    splits = {**dataset.splits, "train": dataclasses.replace(train, modalities=modalities)}
    lacking = dataclasses.replace(dataset, splits=splits)
    spec = ModelSpec.for_training(lacking, "x")
    assert set(spec.dims) == set(spec.windows) == set(spec.normalization.mean) == {"audio"}
    assert set(spec.normalize(lacking).split("valid").modalities) == {"audio"}
    assert set(ModelSpec.for_training(dataset, "x").narrow_to(lacking).normalize(dataset).dims) == {"audio"}


def test_training_data_without_any_modality_is_refused() -> None:
    with pytest.raises(DataError, match="The train split of toy has no valid frame of language, audio"):
        ModelSpec.for_training(toy(), "x").narrow_to(toy(dims={"vision": 2}))


def test_a_score_task_accepts_data_of_another_score_task() -> None:
    assert ModelSpec.for_training(toy(), "x").normalize(toy(SIMS)).task == SIMS


@pytest.mark.parametrize("missing", ["task", "dims", "normalization", "data_source"])
def test_a_damaged_spec_is_a_run_error(missing: str) -> None:
    value = through_json(ModelSpec.for_training(toy(), "x"))
    del value[missing]
    with pytest.raises(RunError, match=r"spec in run.json is invalid"):
        ModelSpec.from_json(value)


def test_features_of_another_extractor_get_a_note() -> None:
    spec = ModelSpec.for_training(toy(), "x")
    assert spec.features == {"audio": COVAREP}
    assert spec.select_inputs(toy()).notes == ()
    other = dataclasses.replace(toy(), features={"audio": FeatureSource("librosa", rate_hz=50.0)})
    (note,) = spec.select_inputs(other).notes
    assert "toy has other features than the model was trained on" in note
    assert "(audio: librosa instead of COVAREP 1.4, 50 Hz instead of 100 Hz)" in note


def test_a_spec_describes_only_its_own_modalities() -> None:
    spec = ModelSpec.for_training(toy(), "x")
    assert spec.select(["language"]).features == {}
    other = dataclasses.replace(spec, features={"language": FeatureSource("GloVe"), "audio": FeatureSource("librosa")})
    assert spec.select(["audio"]).merge(other).features == {"language": FeatureSource("GloVe"), "audio": COVAREP}
    assert spec.merge(other).features == {"language": FeatureSource(), "audio": COVAREP}
