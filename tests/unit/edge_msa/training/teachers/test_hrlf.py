from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from edge_msa.config.teachers import FrfDistance, HrlfRecipe
from edge_msa.data.dataset import Frames
from edge_msa.data.tasks import EMOTIONS, MOSI
from edge_msa.errors import RunError
from edge_msa.models.hrlf import Hrlf, HrlfConfig
from edge_msa.training.context import Hardware
from edge_msa.training.loop import fit
from edge_msa.training.predict import COMPLETE_PREFIX, hrlf_from_weights, predict
from edge_msa.training.teachers.hrlf import (
    RobustObjective,
    StageData,
    TrainedHrlf,
    factorization_loss,
    subset_errors,
    train_hrlf,
)
from edge_msa.training.tensors import SplitTensors
from edge_msa_runtime.modalities import Subset, subsets_of
from tests.tolerances import assert_close_to_scale, relative_error
from tests.unit.edge_msa.training.toy_data import toy_dataset

CPU = torch.device("cpu")
FRF_DISTANCES: tuple[FrfDistance, ...] = get_args(FrfDistance)
CONTEXT = Hardware("cpu").start()
TINY = HrlfRecipe(epochs=3, robust_epochs=3, batch_size=16, learning_rate=5e-3, d=8, heads=2, dropout=0.1)


def tiny(**changes: object) -> HrlfRecipe:
    return TINY.updated(changes, where="hrlf")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrainedHrlf:
    recipe = tiny(epochs=20, robust_epochs=12)
    return train_hrlf(toy_dataset(), recipe, seed=0, context=CONTEXT, work_dir=tmp_path_factory.mktemp("hrlf"))


def test_both_stages_learn(trained: TrainedHrlf) -> None:
    valid = toy_dataset().split("valid").labels
    constant = float(np.abs(valid - np.median(valid)).mean())
    assert trained.metrics["complete_valid_error"] < 0.7 * constant
    assert trained.metrics["valid_error"] < 0.85 * constant
    assert [row["stage"] for row in trained.log] == ["teacher"] * 20 + ["robust"] * 12


def test_all_loss_terms_are_logged(trained: TrainedHrlf) -> None:
    assert {"loss", "task", "frf", "hmi", "hal", "kl", "valid_metric", "valid_la"} <= set(trained.log[-1])


def test_rebuilt_networks_have_the_logged_errors(trained: TrainedHrlf) -> None:
    split = toy_dataset().split("valid")
    network = hrlf_from_weights(trained.config, trained.weights)
    for subset in Subset:
        error = np.abs(predict(network, split, subset, batch_size=7)[:, 0] - split.labels).mean()
        assert error == pytest.approx(trained.metrics[f"valid_error_{subset.value}"], rel=1e-5)
    whole = predict(hrlf_from_weights(trained.config, trained.weights, complete=True), split, Subset.LAV)
    assert np.abs(whole[:, 0] - split.labels).mean() == pytest.approx(trained.metrics["complete_valid_error"], rel=1e-5)


def test_weights_of_another_network_raise_an_error(trained: TrainedHrlf) -> None:
    with pytest.raises(RunError, match="do not fit"):
        hrlf_from_weights(dataclasses.replace(trained.config, layers=3), trained.weights)


def test_modalities_outside_the_subset_have_no_effect(trained: TrainedHrlf) -> None:
    split = toy_dataset().split("valid")
    network = hrlf_from_weights(trained.config, trained.weights)
    audio = split.modalities["audio"]
    assert audio.values is not None
    changed = dict(split.modalities) | {"audio": Frames(audio.valid, audio.values + 5)}
    other = dataclasses.replace(split, modalities=changed)
    np.testing.assert_array_equal(predict(network, split, Subset.LV), predict(network, other, Subset.LV))
    assert relative_error(predict(network, split, Subset.LAV), predict(network, other, Subset.LAV)) > 1e-4


def test_split_without_a_modality_is_predicted_without_it(trained: TrainedHrlf) -> None:
    split = toy_dataset().split("valid")
    without = dataclasses.replace(split, modalities={m: f for m, f in split.modalities.items() if m != "vision"})
    network = hrlf_from_weights(trained.config, trained.weights)
    assert_close_to_scale(predict(network, without, Subset.LAV), predict(network, split, Subset.LA))


class Interrupted(Exception):  # noqa: N818 - not an error of the code
    pass


def test_resumed_training_gives_identical_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = train_hrlf(toy_dataset(), TINY, seed=5, context=CONTEXT, work_dir=tmp_path / "whole")
    begin = RobustObjective.begin

    def interrupted(self: RobustObjective, epoch: int) -> None:
        if epoch == 2:
            raise Interrupted
        begin(self, epoch)

    monkeypatch.setattr(RobustObjective, "begin", interrupted)
    with pytest.raises(Interrupted):
        train_hrlf(toy_dataset(), TINY, seed=5, context=CONTEXT, work_dir=tmp_path / "cut")
    monkeypatch.setattr(RobustObjective, "begin", begin)
    resumed = train_hrlf(toy_dataset(), TINY, seed=5, context=CONTEXT, work_dir=tmp_path / "cut")
    assert resumed.metrics == expected.metrics
    for name, value in expected.weights.items():
        np.testing.assert_array_equal(value, resumed.weights[name])


@pytest.mark.case("E2")
def test_resumed_training_continues_with_the_same_adversary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tiny(hal=1.0, epochs=1)
    expected = train_hrlf(toy_dataset(), recipe, seed=5, context=CONTEXT, work_dir=tmp_path / "whole")
    begin = RobustObjective.begin

    def interrupted(self: RobustObjective, epoch: int) -> None:
        if epoch == 2:
            raise Interrupted
        begin(self, epoch)

    monkeypatch.setattr(RobustObjective, "begin", interrupted)
    with pytest.raises(Interrupted):
        train_hrlf(toy_dataset(), recipe, seed=5, context=CONTEXT, work_dir=tmp_path / "cut")
    monkeypatch.setattr(RobustObjective, "begin", begin)
    resumed = train_hrlf(toy_dataset(), recipe, seed=5, context=CONTEXT, work_dir=tmp_path / "cut")
    assert [row["discriminator"] for row in resumed.log[1:]] == [row["discriminator"] for row in expected.log[1:]]
    for name, value in expected.weights.items():
        np.testing.assert_array_equal(value, resumed.weights[name])


def robust_objective(**changes: object) -> RobustObjective:
    torch.manual_seed(0)
    config = HrlfConfig(toy_dataset().dims, d=8, heads=2, layers=1)
    data = StageData.load(toy_dataset(), CPU)
    objective = RobustObjective((Hrlf(config), Hrlf(config)), data, tiny(**changes), 0, CONTEXT)
    objective.begin(0)
    return objective


@pytest.mark.case("E2")
@pytest.mark.slow
def test_adversary_of_weight_one_does_not_collapse_the_student(tmp_path: Path) -> None:
    """From new weights, gradient reversal drives the predictions towards a constant; `alternate` does not."""
    dataset = toy_dataset(sizes=(512, 100))
    valid = dataset.split("valid").labels
    constant = float(np.abs(valid - np.median(valid)).mean())
    recipe = tiny(
        frf=0.0,
        hmi=0.0,
        hal=1.0,
        ramp=0.0,
        init_from_teacher=False,
        epochs=3,
        robust_epochs=10,
        batch_size=32,
        learning_rate=3e-3,
        d=40,
        heads=10,
        warmup=0.0,
        cosine=False,
        weight_decay=0.0,
        score_loss="mse",
    )
    errors = {}
    for schedule in ("reverse", "alternate"):
        changed = recipe.updated({"hal_schedule": schedule}, where="hrlf")
        result = train_hrlf(dataset, changed, seed=0, context=CONTEXT, work_dir=tmp_path / schedule)
        errors[schedule] = result.metrics["valid_error"] / constant
    assert errors["alternate"] < 0.6
    assert errors["alternate"] < 0.7 * errors["reverse"]


@pytest.mark.case("E2")
@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_ramp_weights_every_auxiliary_term_but_not_kl(epoch: int) -> None:
    objective = robust_objective(ramp=1.0, robust_epochs=4, frf=0.5, hmi=2.0, hal=3.0, kl=4.0)
    objective.begin(epoch)
    terms = {name: value.item() for name, value in objective(torch.arange(16)).items()}
    auxiliary = 0.5 * terms["frf"] + 2 * terms["hmi"] + 3 * terms["hal"]
    assert terms["loss"] == pytest.approx(terms["task"] + 4 * terms["kl"] + epoch / 4 * auxiliary, rel=1e-5)


@pytest.mark.case("E2")
def test_discriminators_have_an_optimizer_of_their_own() -> None:
    objective = robust_objective(hal=1.0)
    assert objective.adversary is not None
    own = {id(weight) for weight in objective.adversary.networks.parameters()}
    assert own
    assert not own & {id(weight) for weight in objective.parameters()}
    assert not list(objective.alignment.discriminators.parameters())
    objective(torch.arange(16))["hal"].backward()
    student = [weight.detach().clone() for weight in objective.parameters()]
    assert objective.adversary.step(1e-2) is not None
    assert all(torch.equal(a, b) for a, b in zip(student, objective.parameters(), strict=True))


@pytest.mark.case("E2")
def test_reversed_schedule_has_no_adversary_and_the_minimax_loss() -> None:
    objective = robust_objective(hal=1.0, hal_schedule="reverse")
    assert objective.adversary is None
    assert list(objective.alignment.discriminators.parameters())
    assert objective(torch.arange(16))["hal"].item() == pytest.approx(6 * np.log(2), rel=0.2)  # D = 1/2 at 3 scales


@pytest.mark.parametrize("term", ["frf", "hmi", "hal", "kl"])
def test_weight_of_zero_disables_a_term(term: str, tmp_path: Path) -> None:
    recipe = tiny(**{"epochs": 1, "robust_epochs": 1, term: 0.0})
    rows = train_hrlf(toy_dataset(), recipe, seed=0, context=CONTEXT, work_dir=tmp_path).log
    assert {"frf", "hmi", "hal", "kl"} - set(rows[-1]) == {term}
    assert ("frf" in rows[0]) == (term != "frf")
    assert ("discriminator" in rows[-1]) == (term != "hal")


def test_training_without_a_modality(tmp_path: Path) -> None:
    result = train_hrlf(
        toy_dataset(train=("language", "audio"), valid=("language", "audio")),
        TINY,
        seed=0,
        context=CONTEXT,
        work_dir=tmp_path,
    )
    assert list(result.config.dims) == ["language", "audio"]
    assert {name for name in result.metrics if name.startswith("valid_error_")} == {
        f"valid_error_{subset.value}" for subset in subsets_of(("language", "audio"))
    }


def test_emotions_have_one_logit_each(tmp_path: Path) -> None:
    result = train_hrlf(toy_dataset(EMOTIONS), tiny(epochs=8), seed=0, context=CONTEXT, work_dir=tmp_path)
    network = hrlf_from_weights(result.config, result.weights)
    assert predict(network, toy_dataset(EMOTIONS).split("valid"), Subset.LAV).shape == (40, 4)
    assert result.metrics["complete_valid_error"] < 0.69


def test_second_stage_does_not_change_the_teacher(tmp_path: Path) -> None:
    data = StageData.load(toy_dataset(), CPU)
    config = HrlfConfig(toy_dataset().dims, d=8, heads=2, layers=1)
    teacher, student = Hrlf(config), Hrlf(config)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    objective = RobustObjective((student, teacher), data, TINY, 0, CONTEXT)
    fit(objective, TINY.schedule(1, TINY.learning_rate), context=CONTEXT, seed=0, work_dir=tmp_path)
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


def test_factorization_ignores_absent_modalities() -> None:
    torch.manual_seed(0)
    network = Hrlf(HrlfConfig(toy_dataset().dims, d=8, heads=2, layers=1)).eval()
    encoded = torch.randn(4, 3, 8)
    available = torch.tensor([[True, True, False]]).expand(4, 3)
    changed = encoded.clone()
    changed[:, 2] += 3
    loss = factorization_loss(network, network.fuse(encoded, available))
    assert loss.item() == pytest.approx(factorization_loss(network, network.fuse(changed, available)).item(), rel=1e-6)
    everything = torch.ones_like(available)
    assert abs(loss.item() - factorization_loss(network, network.fuse(changed, everything)).item()) > 1e-3


@pytest.mark.case("E2")
def test_scale_of_the_features_does_not_change_the_relative_factorization_loss() -> None:
    torch.manual_seed(0)
    network = Hrlf(HrlfConfig(toy_dataset().dims, d=8, heads=2, layers=1)).eval()
    features = network.fuse(torch.randn(16, 3, 8) * 3, torch.ones(16, 3, dtype=torch.bool))
    distant = dataclasses.replace(features, encoded=1e3 * features.encoded)
    by_distance = {
        distance: [factorization_loss(network, item, distance).item() for item in (features, distant)]
        for distance in FRF_DISTANCES
    }
    assert by_distance["norm"][1] > 100 * by_distance["norm"][0]
    assert max(by_distance["relative"]) < 4.0


def test_factorization_loss_can_be_minimized() -> None:
    torch.manual_seed(0)
    network = Hrlf(HrlfConfig(toy_dataset().dims, d=8, heads=2, layers=1))
    encoded, available = torch.randn(32, 3, 8), torch.ones(32, 3, dtype=torch.bool)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        loss = factorization_loss(network, network.fuse(encoded, available))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_subset_errors_equal_those_of_predict() -> None:
    network = Hrlf(HrlfConfig(toy_dataset().dims, d=8, heads=2, layers=1)).eval()
    split = toy_dataset().split("valid")
    errors = subset_errors(network, SplitTensors(split, network.config.dims, CPU), MOSI, tuple(Subset))
    expected = np.abs(predict(network, split, Subset.A)[:, 0] - split.labels).mean()
    assert errors[Subset.A] == pytest.approx(float(expected), rel=1e-5)


def test_weights_of_both_networks_are_returned(trained: TrainedHrlf) -> None:
    robust = {name for name in trained.weights if not name.startswith(COMPLETE_PREFIX)}
    assert {COMPLETE_PREFIX + name for name in robust} == set(trained.weights) - robust
