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

DIMS = {"language": 3, "audio": 2}


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

    return Dataset("toy", task, {"train": split(30), "valid": split(20)}, "digest", {"audio": 100.0})


def through_json(spec: ModelSpec) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(json.dumps(spec.to_json()))
    return value


@pytest.mark.parametrize("task", [MOSI, EMOTIONS])
def test_a_contract_survives_its_way_through_json(task: Task) -> None:
    spec = ModelSpec.of(toy(task), "file.npz")
    found = ModelSpec.from_json(through_json(spec))
    assert found.task == task
    assert found.to_json() == spec.to_json()
    for name in DIMS:
        np.testing.assert_array_equal(found.normalization.mean[name], spec.normalization.mean[name])
        np.testing.assert_array_equal(found.normalization.std[name], spec.normalization.std[name])


def test_training_frames_are_centred_and_scaled_by_it() -> None:
    dataset = toy()
    frames = ModelSpec.of(dataset, "x").normalized(dataset).split("train").modalities["audio"]
    rows = frames.take()[frames.valid]
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(rows.std(axis=0), 1, atol=1e-5)


def test_it_is_fitted_on_the_training_split_alone() -> None:
    dataset = toy()
    louder = {
        name: dataclasses.replace(frames, values=None if frames.values is None else frames.values * 10)
        for name, frames in dataset.split("valid").modalities.items()
    }
    changed = dataclasses.replace(
        dataset,
        splits={**dataset.splits, "valid": dataclasses.replace(dataset.split("valid"), modalities=louder)},
    )
    assert ModelSpec.of(changed, "x").normalization.to_json() == ModelSpec.of(dataset, "x").normalization.to_json()


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (toy(dims={"language": 3, "audio": 5}), "audio of toy has 5 features a frame, the model takes 2"),
        (toy(dims={"vision": 2}), "toy has vision, the model reads language, audio"),
        (toy(EMOTIONS), "has the task emotions, the model was made for mosi"),
    ],
)
def test_data_that_the_model_was_not_made_for_is_refused(other: Dataset, said: str) -> None:
    with pytest.raises(DataError, match=said):
        ModelSpec.of(toy(), "x").normalized(other)


def test_data_that_lacks_a_modality_of_the_model_is_taken() -> None:
    assert set(ModelSpec.of(toy(), "x").normalized(toy(dims={"audio": 2})).dims) == {"audio"}


def test_a_modality_that_the_model_was_made_without_is_left_unread_and_named() -> None:
    found = ModelSpec.of(toy(), "x").normalized(toy(dims={**DIMS, "vision": 2}))
    assert set(found.dims) == set(DIMS)
    assert found.notes == ("vision: not read, for the model was trained without a frame of it",)


@pytest.mark.parametrize("rows", [slice(0), slice(None)], ids=["absent", "masked"])
def test_a_modality_without_a_training_frame_is_no_part_of_the_model(rows: slice) -> None:
    dataset = toy()
    train = dataset.split("train")
    language = train.modalities["language"]
    masked = (
        {"language": dataclasses.replace(language, valid=np.zeros_like(language.valid))} if rows.stop is None else {}
    )
    modalities = {"audio": train.modalities["audio"], **masked}
    splits = {**dataset.splits, "train": dataclasses.replace(train, modalities=modalities)}
    lacking = dataclasses.replace(dataset, splits=splits)
    spec = ModelSpec.of(lacking, "x")
    assert set(spec.dims) == set(spec.windows) == set(spec.normalization.mean) == {"audio"}
    assert set(spec.normalized(lacking).split("valid").modalities) == {"audio"}
    assert set(ModelSpec.of(dataset, "x").narrowed(lacking).normalized(dataset).dims) == {"audio"}


def test_training_that_never_meets_a_modality_of_the_teacher_is_refused() -> None:
    with pytest.raises(DataError, match="the train split of toy has no valid frame of language, audio at all"):
        ModelSpec.of(toy(), "x").narrowed(toy(dims={"vision": 2}))


def test_another_field_of_scores_is_taken() -> None:
    assert ModelSpec.of(toy(), "x").normalized(toy(SIMS)).task == SIMS


@pytest.mark.parametrize("missing", ["task", "dims", "normalization", "data"])
def test_a_damaged_contract_is_an_error_of_the_run(missing: str) -> None:
    value = through_json(ModelSpec.of(toy(), "x"))
    del value[missing]
    with pytest.raises(RunError, match="make the run again"):
        ModelSpec.from_json(value)
