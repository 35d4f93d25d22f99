from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from edge_msa.config.students import ALIGNMENT_TERMS, StudentRecipe
from edge_msa.config.training import MsmConfig
from edge_msa.data.dataset import Dataset
from edge_msa.data.tasks import EMOTIONS
from edge_msa.errors import DataError
from edge_msa.models.student import Student, StudentConfig
from edge_msa.training.context import Hardware
from edge_msa.training.distillation import distill as module
from edge_msa.training.distillation.distill import TrainedStudent, distill
from edge_msa.training.distillation.targets import Teacher, compute_targets
from edge_msa.training.missing_modalities import draw_missing
from edge_msa.training.predict import predict
from edge_msa_runtime.modalities import Subset, subsets_of
from tests.tolerances import assert_close_to_scale
from tests.unit.edge_msa.training.toy_data import toy_dataset

CPU = torch.device("cpu")
CONTEXT = Hardware("cpu").start()
TINY = StudentRecipe(width=8, blocks=2, tokens=2, hidden=12, epochs=3, batch_size=16, learning_rate=1e-2, dropout=0.0)


def tiny(**changes: object) -> StudentRecipe:
    return TINY.updated(changes, where="student")


def teacher_network(dataset: Dataset, seed: int = 3) -> Student:
    torch.manual_seed(seed)
    config = StudentConfig(dataset.dims, width=8, blocks=1, tokens=1, hidden=8, outputs=dataset.task.outputs)
    return Student(config).eval()


def make_teacher(dataset: Dataset, seed: int = 3) -> Teacher:
    return Teacher(teacher_network(dataset, seed), dataset.split("train"))


def trained(dataset: Dataset, recipe: StudentRecipe, work_dir: Path, seed: int = 0) -> TrainedStudent:
    targets = compute_targets([make_teacher(dataset)], recipe, dataset.task, CPU)
    return distill(dataset, targets, recipe, seed=seed, context=CONTEXT, work_dir=work_dir)


def logged(result: TrainedStudent, name: str) -> list[float]:
    return [float(row[name]) for row in result.log]


def load_student(result: TrainedStudent) -> Student:
    student = Student(result.config)
    student.load_state_dict({name: torch.from_numpy(value) for name, value in result.weights.items()})
    return student.eval()


def test_student_learns_from_labels(tmp_path: Path) -> None:
    result = trained(toy_dataset(), tiny(epochs=15, teacher_share=0.0), tmp_path)
    losses = logged(result, "loss")
    assert losses[-1] < 0.7 * losses[0]
    valid = toy_dataset().split("valid").labels
    constant = float(np.abs(valid - np.median(valid)).mean())
    assert result.metrics["validation_metric"] < 0.8 * constant
    assert {f"valid_{subset.value}" for subset in Subset} <= set(result.log[0])


def test_student_learns_from_the_teacher_only(tmp_path: Path) -> None:
    dataset = toy_dataset()
    recipe = tiny(epochs=40, teacher_share=1.0)
    result = trained(dataset, recipe, tmp_path)
    split = dataset.split("train")
    teacher_losses = logged(result, "teacher")
    assert teacher_losses[-1] < 0.4 * teacher_losses[0]
    assert logged(result, "labels")[-1] > 2 * teacher_losses[-1]
    # The best epoch is chosen on labels, but its predictions are still closer to those of the teacher.
    student, teacher = (
        predict(network, split, Subset.LAV)[:, 0] for network in (load_student(result), teacher_network(dataset))
    )
    assert np.abs(student - teacher).mean() < np.abs(student - split.labels).mean()


def test_other_teacher_gives_another_student(tmp_path: Path) -> None:
    dataset = toy_dataset()
    first = trained(dataset, TINY, tmp_path / "a")
    other = compute_targets([make_teacher(dataset, seed=4)], TINY, dataset.task, CPU)
    second = distill(dataset, other, TINY, seed=0, context=CONTEXT, work_dir=tmp_path / "b")
    assert any(not np.array_equal(first.weights[name], second.weights[name]) for name in first.weights)


def test_same_seed_gives_the_same_student(tmp_path: Path) -> None:
    first, second, other = (trained(toy_dataset(), TINY, tmp_path / f"{n}", seed=n // 2) for n in range(3))
    assert all(np.array_equal(first.weights[name], second.weights[name]) for name in first.weights)
    assert any(not np.array_equal(first.weights[name], other.weights[name]) for name in first.weights)


def unlabeled(dataset: Dataset, labeled: int) -> Dataset:
    """The dataset with labels for only the first `labeled` training samples."""
    train = dataset.split("train")
    labels = np.where(np.arange(len(train)) < labeled, train.labels, np.nan).astype(np.float32)
    return dataclasses.replace(dataset, splits={**dataset.splits, "train": dataclasses.replace(train, labels=labels)})


def test_unlabeled_samples_use_only_the_teacher(tmp_path: Path) -> None:
    dataset = unlabeled(toy_dataset(), 0)
    recipe = tiny(epochs=25, teacher_share=0.5)
    result = trained(dataset, recipe, tmp_path)
    losses = logged(result, "teacher")
    assert logged(result, "loss") == pytest.approx(losses, rel=1e-5)
    assert set(logged(result, "labels")) == {0}
    assert losses[-1] < 0.5 * losses[0]


def test_unlabeled_samples_without_a_teacher_have_no_effect(tmp_path: Path) -> None:
    dataset, recipe = toy_dataset(), tiny(teacher_share=0.0, batch_size=64)
    partial = unlabeled(dataset, 40)
    train = partial.split("train")
    noise = {
        name: dataclasses.replace(f, values=np.where(np.arange(64)[:, None, None] < 40, f.take(), np.float32(9.0)))
        for name, f in train.modalities.items()
    }
    noisy = dataclasses.replace(
        partial, splits={**partial.splits, "train": dataclasses.replace(train, modalities=noise)}
    )
    first, second = (trained(data, recipe, tmp_path / str(n)) for n, data in enumerate((partial, noisy)))
    for name, value in first.weights.items():
        assert_close_to_scale(second.weights[name], value)


def test_samples_that_no_teacher_can_use_use_only_the_label(tmp_path: Path) -> None:
    dataset = toy_dataset(train=("audio",), valid=("audio",))
    text_teacher = Teacher(
        teacher_network(toy_dataset(train=("language",), valid=("language",))), dataset.split("train")
    )
    recipe = tiny(epochs=2)
    targets = compute_targets([text_teacher], recipe, dataset.task, CPU)
    result = distill(dataset, targets, recipe, seed=0, context=CONTEXT, work_dir=tmp_path)
    assert logged(result, "loss") == pytest.approx(logged(result, "labels"), rel=1e-5)
    assert set(logged(result, "teacher")) == {0}


@pytest.mark.parametrize("term", ALIGNMENT_TERMS)
def test_alignment_term_is_logged_and_falls(term: str, tmp_path: Path) -> None:
    dataset = toy_dataset()
    recipe = tiny(epochs=12, teacher_share=0.0, **{term: 1.0})
    result = trained(dataset, recipe, tmp_path)
    assert set(result.weights) == set(Student(result.config).state_dict())
    values = logged(result, term)
    if term != "hal":  # the loss of the adversary rises as the student improves
        assert values[-1] < values[0]
    total = np.add(logged(result, "labels"), values)
    assert logged(result, "loss") == pytest.approx(total.tolist(), rel=1e-3)


def test_curriculum_increases_the_msm_probabilities() -> None:
    recipe = tiny(epochs=8, curriculum=0.5)
    inter = [recipe.msm_at(epoch).inter for epoch in range(8)]
    assert inter[:5] == [0, *(pytest.approx(recipe.msm.inter * share) for share in (0.25, 0.5, 0.75, 1.0))]
    assert inter[4:] == [recipe.msm.inter] * 4
    assert tiny(epochs=8).msm_at(0) == recipe.msm


def test_curriculum_does_not_restart_in_quantization_aware_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[float] = []

    def record(valid: Mapping[str, torch.Tensor], msm: MsmConfig, *, seed: int, epoch: int) -> dict[str, torch.Tensor]:
        drawn.append(msm.inter)
        return draw_missing(valid, msm, seed=seed, epoch=epoch)

    monkeypatch.setattr(module, "draw_missing", record)
    recipe = tiny(epochs=2, qat_epochs=3, curriculum=1.0)
    student = Student(recipe.network_config(toy_dataset().dims, toy_dataset().task, takes_text=False))
    distill(toy_dataset(), None, recipe, seed=0, context=CONTEXT, work_dir=tmp_path, start=student)
    assert drawn == [recipe.msm.inter] * 3


def test_unlabeled_validation_split_raises_an_error(tmp_path: Path) -> None:
    dataset = toy_dataset()
    valid = dataset.split("valid")
    no_labels = dataclasses.replace(valid, labels=np.full_like(valid.labels, np.nan))
    with pytest.raises(DataError, match="valid split of toy has samples without labels"):
        trained(dataclasses.replace(dataset, splits={**dataset.splits, "valid": no_labels}), TINY, tmp_path)


class Interrupted(Exception):  # noqa: N818 - not an error of the code
    pass


def test_resumed_distillation_gives_identical_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = trained(toy_dataset(), TINY, tmp_path / "whole")
    begin = module._DistillationObjective.begin
    begun: list[int] = []

    def interrupted(self: module._DistillationObjective, epoch: int) -> None:
        if epoch == 2:
            raise Interrupted
        begin(self, epoch)

    def counted(self: module._DistillationObjective, epoch: int) -> None:
        begun.append(epoch)
        begin(self, epoch)

    monkeypatch.setattr(module._DistillationObjective, "begin", interrupted)
    with pytest.raises(Interrupted):
        trained(toy_dataset(), TINY, tmp_path / "cut")
    monkeypatch.setattr(module._DistillationObjective, "begin", counted)
    resumed = trained(toy_dataset(), TINY, tmp_path / "cut")
    assert begun == [2]
    assert resumed.metrics == expected.metrics
    for name, value in expected.weights.items():
        np.testing.assert_array_equal(value, resumed.weights[name])


def test_validation_uses_the_available_subsets(tmp_path: Path) -> None:
    result = trained(toy_dataset(train=("language", "audio"), valid=("language", "audio")), tiny(epochs=1), tmp_path)
    subsets = {f"valid_{subset.value}" for subset in subsets_of(("language", "audio"))}
    assert {name for name in result.log[0] if name.startswith("valid_")} == subsets | {"valid_metric"}
    assert list(result.config.dims) == ["language", "audio"]


def test_emotions_have_one_logit_each(tmp_path: Path) -> None:
    result = trained(toy_dataset(EMOTIONS), tiny(epochs=10, teacher_share=0.2), tmp_path)
    assert result.config.outputs == 4
    assert result.metrics["validation_metric"] < 0.69
