from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from edge_msa.config.recipes import HrlfRecipe, recipe_from
from edge_msa.data.dataset import Dataset, Frames, Split
from edge_msa.data.tasks import EMOTIONS, MOSI, Task
from edge_msa.errors import RunError
from edge_msa.models.hrlf import Hrlf, HrlfConfig
from edge_msa.training.context import Hardware
from edge_msa.training.loop import fit
from edge_msa.training.predict import COMPLETE_PREFIX, hrlf_from_weights, predict
from edge_msa.training.teachers.hrlf import (
    RobustStage,
    StageData,
    TrainedTeacher,
    factorization_loss,
    subset_errors,
    train_hrlf,
)
from edge_msa.training.tensors import SplitTensors
from edge_msa_runtime.modalities import Subset, subsets_of

CPU = torch.device("cpu")
CONTEXT = Hardware("cpu").start()
TINY = HrlfRecipe(epochs=3, robust_epochs=3, batch_size=16, learning_rate=5e-3, d=8, heads=2, dropout=0.1)


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


def toy(task: Task = MOSI, names: tuple[str, ...] = ("language", "audio", "vision")) -> Dataset:
    return Dataset("toy", task, {"train": toy_split(64, 1, task, names), "valid": toy_split(40, 2, task, names)}, "toy")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrainedTeacher:
    recipe = dataclasses.replace(TINY, epochs=20, robust_epochs=12)
    return train_hrlf(toy(), recipe, seed=0, context=CONTEXT, work_dir=tmp_path_factory.mktemp("hrlf"))


def test_both_stages_learn(trained: TrainedTeacher) -> None:
    valid = toy().split("valid").labels
    constant = float(np.abs(valid - np.median(valid)).mean())
    assert trained.metrics["complete_valid_error"] < 0.7 * constant
    assert trained.metrics["valid_error"] < 0.85 * constant
    assert [row["stage"] for row in trained.log] == ["teacher"] * 20 + ["robust"] * 12


def test_all_terms_are_logged(trained: TrainedTeacher) -> None:
    assert {"loss", "task", "frf", "hmi", "hal", "kl", "valid_metric", "valid_la"} <= set(trained.log[-1])


def test_predictions_of_rebuilt_weights_reach_the_logged_errors(trained: TrainedTeacher) -> None:
    split = toy().split("valid")
    network = hrlf_from_weights(trained.config, trained.weights)
    for subset in Subset:
        error = np.abs(predict(network, split, subset, batch_size=7)[:, 0] - split.labels).mean()
        assert error == pytest.approx(trained.metrics[f"valid_error_{subset.value}"], abs=1e-5)
    whole = predict(hrlf_from_weights(trained.config, trained.weights, complete=True), split, Subset.LAV)
    assert np.abs(whole[:, 0] - split.labels).mean() == pytest.approx(trained.metrics["complete_valid_error"], abs=1e-5)


def test_weights_of_another_network_are_refused(trained: TrainedTeacher) -> None:
    with pytest.raises(RunError, match="do not fit"):
        hrlf_from_weights(dataclasses.replace(trained.config, layers=3), trained.weights)


def test_hidden_modalities_do_not_reach_a_prediction(trained: TrainedTeacher) -> None:
    split = toy().split("valid")
    network = hrlf_from_weights(trained.config, trained.weights)
    audio = split.modalities["audio"]
    assert audio.values is not None
    changed = dict(split.modalities) | {"audio": Frames(audio.valid, audio.values + 5)}
    other = dataclasses.replace(split, modalities=changed)
    np.testing.assert_array_equal(predict(network, split, Subset.LV), predict(network, other, Subset.LV))
    assert not np.allclose(predict(network, split, Subset.LAV), predict(network, other, Subset.LAV))


def test_a_split_that_lacks_a_modality_of_the_model_is_read_without_it(trained: TrainedTeacher) -> None:
    split = toy().split("valid")
    without = dataclasses.replace(split, modalities={m: f for m, f in split.modalities.items() if m != "vision"})
    network = hrlf_from_weights(trained.config, trained.weights)
    np.testing.assert_allclose(
        predict(network, without, Subset.LAV), predict(network, split, Subset.LA), rtol=1e-5, atol=1e-6
    )


class Killed(Exception):  # noqa: N818
    pass


def test_a_training_killed_in_either_stage_ends_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = train_hrlf(toy(), TINY, seed=5, context=CONTEXT, work_dir=tmp_path / "whole")
    begin = RobustStage.begin

    def killed(self: RobustStage, epoch: int) -> None:
        if epoch == 2:
            raise Killed
        begin(self, epoch)

    monkeypatch.setattr(RobustStage, "begin", killed)
    with pytest.raises(Killed):
        train_hrlf(toy(), TINY, seed=5, context=CONTEXT, work_dir=tmp_path / "cut")
    monkeypatch.setattr(RobustStage, "begin", begin)
    found = train_hrlf(toy(), TINY, seed=5, context=CONTEXT, work_dir=tmp_path / "cut")
    assert found.metrics == expected.metrics
    for name, value in expected.weights.items():
        np.testing.assert_array_equal(value, found.weights[name])


@pytest.mark.parametrize("term", ["frf", "hmi", "hal", "kl"])
def test_a_weight_of_zero_switches_its_term_off(term: str, tmp_path: Path) -> None:
    recipe = recipe_from(TINY, {"epochs": 1, "robust_epochs": 1, term: 0.0})
    rows = train_hrlf(toy(), recipe, seed=0, context=CONTEXT, work_dir=tmp_path).log
    assert {"frf", "hmi", "hal", "kl"} - set(rows[-1]) == {term}
    assert ("frf" in rows[0]) == (term != "frf")


def test_a_data_set_without_vision_trains_a_network_of_two_streams(tmp_path: Path) -> None:
    result = train_hrlf(toy(names=("language", "audio")), TINY, seed=0, context=CONTEXT, work_dir=tmp_path)
    assert list(result.config.dims) == ["language", "audio"]
    assert {name for name in result.metrics if name.startswith("valid_error_")} == {
        f"valid_error_{subset.value}" for subset in subsets_of(("language", "audio"))
    }


def test_emotions_train_on_a_logit_each(tmp_path: Path) -> None:
    result = train_hrlf(toy(EMOTIONS), dataclasses.replace(TINY, epochs=8), seed=0, context=CONTEXT, work_dir=tmp_path)
    network = hrlf_from_weights(result.config, result.weights)
    assert predict(network, toy(EMOTIONS).split("valid"), Subset.LAV).shape == (40, 4)
    assert result.metrics["complete_valid_error"] < 0.69


def test_stage_two_leaves_the_complete_teacher_as_it_was(tmp_path: Path) -> None:
    data = StageData.of(toy(), CPU)
    config = HrlfConfig(toy().dims, d=8, heads=2, layers=1)
    teacher, student = Hrlf(config), Hrlf(config)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    stage = RobustStage((student, teacher), data, TINY, 0, CONTEXT)
    fit(stage, TINY.plan(1), context=CONTEXT, seed=0, work_dir=tmp_path)
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


def test_factorization_ignores_streams_that_a_sample_lacks() -> None:
    torch.manual_seed(0)
    network = Hrlf(HrlfConfig(toy().dims, d=8, heads=2, layers=1)).eval()
    encoded = torch.randn(4, 3, 8)
    here = torch.tensor([[True, True, False]]).expand(4, 3)
    changed = encoded.clone()
    changed[:, 2] += 3
    loss = factorization_loss(network, network.fuse(encoded, here))
    assert loss.item() == pytest.approx(factorization_loss(network, network.fuse(changed, here)).item(), abs=1e-6)
    everything = torch.ones_like(here)
    assert abs(loss.item() - factorization_loss(network, network.fuse(changed, everything)).item()) > 1e-3


def test_factorization_is_learned() -> None:
    torch.manual_seed(0)
    network = Hrlf(HrlfConfig(toy().dims, d=8, heads=2, layers=1))
    encoded, here = torch.randn(32, 3, 8), torch.ones(32, 3, dtype=torch.bool)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        loss = factorization_loss(network, network.fuse(encoded, here))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_errors_of_subsets_do_not_depend_on_the_labels_scale_of_batches() -> None:
    network = Hrlf(HrlfConfig(toy().dims, d=8, heads=2, layers=1)).eval()
    split = toy().split("valid")
    errors = subset_errors(network, SplitTensors(split, network.config.dims, CPU), MOSI, tuple(Subset))
    expected = np.abs(predict(network, split, Subset.A)[:, 0] - split.labels).mean()
    assert errors[Subset.A] == pytest.approx(float(expected), abs=1e-5)


def test_complete_weights_lie_beside_the_robust_ones(trained: TrainedTeacher) -> None:
    own = {name for name in trained.weights if not name.startswith(COMPLETE_PREFIX)}
    assert {COMPLETE_PREFIX + name for name in own} == set(trained.weights) - own
