from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edge_msa.config.recipes import ALMT_PRESETS, almt_recipe, read_recipe
from edge_msa.data.dataset import Dataset, Frames, Split
from edge_msa.data.tasks import EMOTIONS, MOSI, Task
from edge_msa.errors import RunError, UsageError
from edge_msa.training.context import Hardware
from edge_msa.training.loop import _Run
from edge_msa.training.predict import almt_from_weights, predict
from edge_msa.training.teachers.almt import AlmtRecipe, TrainedAlmt, positions_of, train_almt
from edge_msa.training.teachers.by_name import teacher_recipe, train_by_recipe
from edge_msa_runtime.modalities import MODALITIES, Subset

CPU = torch.device("cpu")
CONTEXT = Hardware("cpu").start()
TINY = AlmtRecipe(epochs=2, batch_size=16, learning_rate=1e-3, tokens=2)


def toy_split(count: int, seed: int, task: Task, names: tuple[str, ...]) -> Split:
    rng = np.random.default_rng(seed)
    score = rng.uniform(-2, 2, count).astype(np.float32)
    modalities = {}
    for name in names:
        values = rng.normal(size=(count, 5, 3)).astype(np.float32)
        values[:, :, 0] += score[:, None]
        modalities[name] = Frames(np.arange(5)[None] < rng.integers(3, 6, (count, 1)), values)
    labels = score if task.is_score else (score[:, None] > np.linspace(-1, 1, 4)).astype(np.float32)
    ids = tuple(f"{seed}-{row}" for row in range(count))
    return Split(ids, ids, labels, modalities)


def toy(task: Task = MOSI, train: tuple[str, ...] = MODALITIES, valid: tuple[str, ...] = MODALITIES) -> Dataset:
    return Dataset("toy", task, {"train": toy_split(48, 1, task, train), "valid": toy_split(24, 2, task, valid)}, "toy")


def trained(dataset: Dataset, recipe: AlmtRecipe, folder: Path, seed: int = 0) -> TrainedAlmt:
    return train_almt(dataset, recipe, seed=seed, context=CONTEXT, work_dir=folder)


def test_the_published_hyper_parameters_are_the_defaults() -> None:
    recipe = ALMT_PRESETS["default"]
    assert (recipe.learning_rate, recipe.weight_decay, recipe.batch_size, recipe.epochs) == (1e-4, 1e-4, 64, 200)
    assert (recipe.warmup, recipe.cosine, recipe.score_loss, recipe.robust) == (0.1, True, "mse", False)
    assert {name: ALMT_PRESETS[name].fusion_depth for name in ("mosi", "mosei", "sims")} == {
        "mosi": 2,
        "mosei": 4,
        "sims": 4,
    }


def test_a_recipe_file_has_a_table_for_it(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text('[almt]\npreset = "mosei"\nepochs = 7\nrobust = true\nmsm = {inter = 0.5}\n')
    table = read_recipe(path)["almt"]
    recipe = teacher_recipe("almt", table, "films.npz", epochs=3)
    assert recipe == almt_recipe(table, "films.npz", epochs=3)
    assert isinstance(recipe, AlmtRecipe)
    assert (recipe.epochs, recipe.robust, recipe.fusion_depth, recipe.msm.inter) == (3, True, 4, 0.5)
    assert almt_recipe({}, "synthetic") == ALMT_PRESETS["demo"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epochs", 0),
        ("score_loss", "l2"),
        ("tokens", 0),
        ("fusion_depth", 0),
        ("dropout", 1.0),
        ("scales", 4),
        ("without", ["text"]),
        ("fusion", "sum"),
    ],
)
def test_values_that_cannot_be_used_are_named(key: str, value: object) -> None:
    with pytest.raises(UsageError, match=key):
        almt_recipe({key: value}, "films.npz")


def test_it_learns_and_rebuilt_weights_reach_the_logged_error(tmp_path: Path) -> None:
    dataset = toy()
    result = trained(dataset, dataclasses.replace(TINY, epochs=8), tmp_path)
    valid = dataset.split("valid")
    constant = float(np.abs(valid.labels - np.median(valid.labels)).mean())
    assert result.metrics["valid_error"] < 0.7 * constant
    assert result.metrics["valid_error"] == pytest.approx(
        min(float(row["valid_metric"]) for row in result.log), abs=1e-5
    )
    network = almt_from_weights(result.config, result.weights)
    for subset in Subset:
        error = float(np.abs(predict(network, valid, subset, batch_size=7)[:, 0] - valid.labels).mean())
        assert error == pytest.approx(result.metrics[f"valid_error_{subset.value}"], abs=1e-5)
    assert result.metrics["valid_error"] == pytest.approx(result.metrics["valid_error_lav"], abs=1e-6)


def test_under_msm_every_subset_decides(tmp_path: Path) -> None:
    result = trained(toy(), dataclasses.replace(TINY, robust=True, epochs=1), tmp_path)
    errors = [result.metrics[f"valid_error_{subset.value}"] for subset in Subset]
    assert result.metrics["valid_error"] == pytest.approx(float(np.mean(errors)), abs=1e-5)


def test_a_data_set_without_a_modality_trains_as_that_missing(tmp_path: Path) -> None:
    dataset = toy(train=("language", "audio"), valid=("language", "audio"))
    result = trained(dataset, TINY, tmp_path)
    assert result.config.dims == {"language": 3, "audio": 3}
    assert result.weights["proj_v.0.weight"].shape == (128, 1)
    network = almt_from_weights(result.config, result.weights)
    assert np.isfinite(predict(network, dataset.split("valid"), Subset.LAV)).all()


def test_a_training_split_without_language_is_chosen_by_what_it_has(tmp_path: Path) -> None:
    result = trained(toy(train=("audio", "vision")), TINY, tmp_path)
    assert set(result.config.dims) == set(MODALITIES)
    assert "valid_av" in result.log[0]
    assert result.metrics["valid_error"] == pytest.approx(result.metrics["valid_error_av"], abs=1e-6)


def test_emotions_train_with_a_logit_each(tmp_path: Path) -> None:
    result = trained(toy(EMOTIONS), dataclasses.replace(TINY, epochs=4), tmp_path)
    assert result.weights["regression_layer.0.weight"].shape == (4, 128)
    assert result.metrics["valid_error"] < 0.69


def test_an_interrupted_training_ends_as_if_it_had_not_been(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = dataclasses.replace(TINY, robust=True, dropout=0.1)
    expected = trained(toy(), recipe, tmp_path / "whole", seed=5)
    epoch = _Run.epoch

    def killed(self: _Run, state: object) -> None:
        if getattr(state, "epoch", 0) == 1:
            raise KeyboardInterrupt
        epoch(self, state)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(_Run, "epoch", killed)
        with pytest.raises(KeyboardInterrupt):
            trained(toy(), recipe, tmp_path / "cut", seed=5)
    found = train_by_recipe(toy(), recipe, seed=5, context=CONTEXT, work_dir=tmp_path / "cut")
    assert found.metrics == expected.metrics
    for name, value in expected.weights.items():
        np.testing.assert_array_equal(value, found.weights[name])


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    result = trained(toy(), dataclasses.replace(TINY, epochs=1), tmp_path)
    with pytest.raises(RunError, match="do not fit"):
        almt_from_weights(dataclasses.replace(result.config, fusion_depth=3), result.weights)


def test_positions_reach_to_the_last_valid_frame_of_any_sample() -> None:
    dataset = toy()
    split = dataset.split("train")
    audio = split.modalities["audio"]
    holes = np.zeros_like(audio.valid)
    holes[0, 3] = True
    changed = dataclasses.replace(
        split, modalities={**split.modalities, "audio": dataclasses.replace(audio, valid=holes)}
    )
    alone = dataclasses.replace(dataset, splits={"train": changed})
    assert positions_of(alone) == {"language": 5, "audio": 4, "vision": 5}


def test_a_modality_that_is_left_out_is_never_seen(tmp_path: Path) -> None:
    recipe = dataclasses.replace(TINY, without=("language",), epochs=1)
    result = trained(toy(), recipe, tmp_path)
    assert list(result.config.dims) == ["audio", "vision"]
    network = almt_from_weights(result.config, result.weights)
    valid = toy().split("valid")
    np.testing.assert_array_equal(predict(network, valid, Subset.LAV), predict(network, valid, Subset.AV))


def test_leaving_out_all_that_there_is_is_refused(tmp_path: Path) -> None:
    alone = toy(train=("language",), valid=("language",))
    with pytest.raises(UsageError, match=r"almt\.without leaves nothing of toy"):
        trained(alone, dataclasses.replace(TINY, without=("language",)), tmp_path)


def test_every_ablation_trains_and_is_rebuilt(tmp_path: Path) -> None:
    changes: dict[str, dict[str, Any]] = {
        "ahl": {"ahl": False},
        "scales": {"scales": 1},
        "fusion": {"fusion": "concatenation"},
    }
    for name, change in changes.items():
        result = trained(toy(), dataclasses.replace(TINY, epochs=1, **change), tmp_path / name)
        network = almt_from_weights(result.config, result.weights)
        error = float(
            np.abs(predict(network, toy().split("valid"), Subset.LAV)[:, 0] - toy().split("valid").labels).mean()
        )
        assert error == pytest.approx(result.metrics["valid_error_lav"], abs=1e-5)
