from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edge_msa.artifacts.model_spec import ModelSpec
from edge_msa.config.teachers import AlmtRecipe
from edge_msa.data.dataset import Dataset, Frames
from edge_msa.data.tasks import EMOTIONS
from edge_msa.errors import RunError, UsageError
from edge_msa.training.context import Hardware
from edge_msa.training.loop import _Loop
from edge_msa.training.predict import almt_from_weights, predict
from edge_msa.training.teachers.almt import TrainedAlmt, count_positions, train_almt, truncation_notes
from edge_msa.training.teachers.train import train_by_recipe
from edge_msa_runtime.modalities import MODALITIES, Subset
from tests.tolerances import assert_close_to_scale
from tests.unit.edge_msa.training.toy_data import toy_dataset

CPU = torch.device("cpu")
CONTEXT = Hardware("cpu").start()
TINY = AlmtRecipe(epochs=2, batch_size=16, learning_rate=1e-3, tokens=2)


def tiny(**changes: object) -> AlmtRecipe:
    return TINY.updated(changes, where="almt")


def trained(dataset: Dataset, recipe: AlmtRecipe, folder: Path, seed: int = 0) -> TrainedAlmt:
    return train_almt(dataset, recipe, seed=seed, context=CONTEXT, work_dir=folder)


def test_rebuilt_network_has_the_logged_errors(tmp_path: Path) -> None:
    dataset = toy_dataset(sizes=(48, 24))
    result = trained(dataset, tiny(epochs=8), tmp_path)
    valid = dataset.split("valid")
    constant = float(np.abs(valid.labels - np.median(valid.labels)).mean())
    assert result.metrics["valid_error"] < 0.7 * constant
    assert result.metrics["valid_error"] == pytest.approx(
        min(float(row["valid_metric"]) for row in result.log), rel=1e-5
    )
    network = almt_from_weights(result.config, result.weights)
    for subset in Subset:
        error = float(np.abs(predict(network, valid, subset, batch_size=7)[:, 0] - valid.labels).mean())
        assert error == pytest.approx(result.metrics[f"valid_error_{subset.value}"], rel=1e-5)
    assert result.metrics["valid_error"] == pytest.approx(result.metrics["valid_error_lav"], rel=1e-5)


def test_robust_metric_is_the_mean_over_subsets(tmp_path: Path) -> None:
    result = trained(toy_dataset(sizes=(48, 24)), tiny(robust=True, epochs=1), tmp_path)
    errors = [result.metrics[f"valid_error_{subset.value}"] for subset in Subset]
    assert result.metrics["valid_error"] == pytest.approx(float(np.mean(errors)), rel=1e-5)


def test_training_without_a_modality(tmp_path: Path) -> None:
    dataset = toy_dataset(train=("language", "audio"), valid=("language", "audio"), sizes=(48, 24))
    result = trained(dataset, TINY, tmp_path)
    assert result.config.dims == {"language": 3, "audio": 3}
    assert result.weights["proj_v.0.weight"].shape == (128, 1)
    network = almt_from_weights(result.config, result.weights)
    assert np.isfinite(predict(network, dataset.split("valid"), Subset.LAV)).all()


def test_metric_uses_the_modalities_of_the_train_split(tmp_path: Path) -> None:
    result = trained(toy_dataset(train=("audio", "vision"), sizes=(48, 24)), TINY, tmp_path)
    assert set(result.config.dims) == set(MODALITIES)
    assert "valid_av" in result.log[0]
    assert result.metrics["valid_error"] == pytest.approx(result.metrics["valid_error_av"], rel=1e-5)


def test_emotions_have_one_logit_each(tmp_path: Path) -> None:
    result = trained(toy_dataset(EMOTIONS, sizes=(48, 24)), tiny(epochs=4), tmp_path)
    assert result.weights["regression_layer.0.weight"].shape == (4, 128)
    assert result.metrics["valid_error"] < 0.69


def test_resumed_training_gives_identical_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tiny(robust=True, dropout=0.1)
    expected = trained(toy_dataset(sizes=(48, 24)), recipe, tmp_path / "whole", seed=5)
    run_epoch = _Loop.run_epoch

    def interrupted(self: _Loop, state: object) -> None:
        if getattr(state, "epoch", 0) == 1:
            raise KeyboardInterrupt
        run_epoch(self, state)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(_Loop, "run_epoch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            trained(toy_dataset(sizes=(48, 24)), recipe, tmp_path / "cut", seed=5)
    resumed = train_by_recipe(toy_dataset(sizes=(48, 24)), recipe, seed=5, context=CONTEXT, work_dir=tmp_path / "cut")
    assert resumed.metrics == expected.metrics
    for name, value in expected.weights.items():
        np.testing.assert_array_equal(value, resumed.weights[name])


def test_weights_of_another_network_raise_an_error(tmp_path: Path) -> None:
    result = trained(toy_dataset(sizes=(48, 24)), tiny(epochs=1), tmp_path)
    with pytest.raises(RunError, match="do not fit"):
        almt_from_weights(dataclasses.replace(result.config, fusion_depth=3), result.weights)


def test_positions_reach_to_the_last_valid_frame() -> None:
    dataset = toy_dataset(sizes=(48, 24))
    split = dataset.split("train")
    audio = split.modalities["audio"]
    valid_mask = np.zeros_like(audio.valid)
    valid_mask[0, 3] = True
    changed = dataclasses.replace(
        split, modalities={**split.modalities, "audio": dataclasses.replace(audio, valid=valid_mask)}
    )
    alone = dataclasses.replace(dataset, splits={"train": changed})
    assert count_positions(alone) == {"language": 5, "audio": 4, "vision": 5}


def test_excluded_modality_has_no_effect(tmp_path: Path) -> None:
    recipe = tiny(without=("language",), epochs=1)
    result = trained(toy_dataset(sizes=(48, 24)), recipe, tmp_path)
    assert list(result.config.dims) == ["audio", "vision"]
    network = almt_from_weights(result.config, result.weights)
    valid = toy_dataset(sizes=(48, 24)).split("valid")
    np.testing.assert_array_equal(predict(network, valid, Subset.LAV), predict(network, valid, Subset.AV))


def test_excluding_all_modalities_raises_an_error(tmp_path: Path) -> None:
    alone = toy_dataset(train=("language",), valid=("language",), sizes=(48, 24))
    with pytest.raises(UsageError, match=r"almt\.without removes all modalities of toy"):
        trained(alone, tiny(without=("language",)), tmp_path)


def test_every_ablation_trains(tmp_path: Path) -> None:
    ablations: dict[str, dict[str, Any]] = {
        "ahl": {"ahl": False},
        "scales": {"scales": 1},
        "fusion": {"fusion": "concatenation"},
    }
    for name, change in ablations.items():
        result = trained(toy_dataset(sizes=(48, 24)), tiny(epochs=1, **change), tmp_path / name)
        network = almt_from_weights(result.config, result.weights)
        error = float(
            np.abs(
                predict(network, toy_dataset(sizes=(48, 24)).split("valid"), Subset.LAV)[:, 0]
                - toy_dataset(sizes=(48, 24)).split("valid").labels
            ).mean()
        )
        assert error == pytest.approx(result.metrics["valid_error_lav"], rel=1e-5)


def with_test_split(length: int) -> Dataset:
    """Return the toy data with a test split whose samples have `length` frames."""
    dataset = toy_dataset(sizes=(48, 24))
    valid = dataset.split("valid")
    modalities = {
        name: Frames(np.ones((len(valid), length), np.bool_), np.ones((len(valid), length, 3), np.float32))
        for name in valid.modalities
    }
    test = dataclasses.replace(valid, modalities=modalities)
    return dataclasses.replace(dataset, splits={**dataset.splits, "test": test})


@pytest.mark.case("E8")
def test_lengths_of_the_test_split_do_not_change_the_weights(tmp_path: Path) -> None:
    recipe = tiny(epochs=1)
    short, long = (trained(with_test_split(length), recipe, tmp_path / str(length)) for length in (2, 30))
    assert short.config == long.config
    for name, value in short.weights.items():
        np.testing.assert_array_equal(value, long.weights[name])
    specs = [ModelSpec.for_training(with_test_split(length), "").to_json() for length in (2, 30)]
    assert specs[0] == specs[1]


@pytest.mark.case("E8")
def test_longer_samples_are_truncated_with_a_note(tmp_path: Path) -> None:
    dataset = with_test_split(30)
    result = trained(dataset, tiny(epochs=1), tmp_path)
    network = almt_from_weights(result.config, result.weights)
    test = dataset.split("test")
    cut = dataclasses.replace(
        test,
        modalities={
            name: Frames(frames.valid[:, :5], values=frames.take()[:, :5]) for name, frames in test.modalities.items()
        },
    )
    assert_close_to_scale(predict(network, test, Subset.LAV), predict(network, cut, Subset.LAV))
    notes = list(truncation_notes(dataset, result.config.lengths))
    assert notes[0] == (
        "language: 24 of 24 samples in test are longer than the 5 positions of ALMT, which ignores their last frames"
    )
    assert len(notes) == 3
