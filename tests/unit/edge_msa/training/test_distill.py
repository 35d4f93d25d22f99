from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from edge_msa.config.student_recipe import TERMS, StudentRecipe
from edge_msa.data.dataset import Dataset, Frames, Split
from edge_msa.data.tasks import EMOTIONS, MOSI, Task
from edge_msa.errors import DataError, UsageError
from edge_msa.models.student import Student, StudentConfig
from edge_msa.training.context import Hardware
from edge_msa.training.distillation import distill as module
from edge_msa.training.distillation.distill import TrainedStudent, distill
from edge_msa.training.distillation.targets import Teacher, targets_of
from edge_msa.training.predict import predict
from edge_msa_runtime.modalities import Subset, subsets_of

CPU = torch.device("cpu")
CONTEXT = Hardware("cpu").start()
NAMES = ("language", "audio", "vision")
TINY = StudentRecipe(width=8, blocks=2, tokens=2, hidden=12, epochs=3, batch_size=16, learning_rate=1e-2, dropout=0.0)


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


def toy(task: Task = MOSI, names: tuple[str, ...] = NAMES) -> Dataset:
    return Dataset("toy", task, {"train": toy_split(64, 1, task, names), "valid": toy_split(40, 2, task, names)}, "toy")


def teacher_of(dataset: Dataset, seed: int = 3) -> Student:
    torch.manual_seed(seed)
    config = StudentConfig(dataset.dims, width=8, blocks=1, tokens=1, hidden=8, outputs=dataset.task.outputs)
    return Student(config).eval()


def taught(dataset: Dataset, seed: int = 3) -> Teacher:
    return Teacher(teacher_of(dataset, seed), dataset.split("train"))


def trained(dataset: Dataset, recipe: StudentRecipe, work_dir: Path, seed: int = 0) -> TrainedStudent:
    targets = targets_of([taught(dataset)], recipe, dataset.task, CPU)
    return distill(dataset, targets, recipe, seed=seed, context=CONTEXT, work_dir=work_dir)


def student_of(result: TrainedStudent) -> Student:
    student = Student(result.config)
    student.load_state_dict({name: torch.from_numpy(value) for name, value in result.weights.items()})
    return student.eval()


def test_a_student_learns_from_labels(tmp_path: Path) -> None:
    result = trained(toy(), dataclasses.replace(TINY, epochs=15, from_teacher=0.0), tmp_path)
    losses = [row["loss"] for row in result.log]
    assert losses[-1] < 0.7 * losses[0]
    valid = toy().split("valid").labels
    constant = float(np.abs(valid - np.median(valid)).mean())
    assert result.metrics["validation_metric"] < 0.8 * constant
    assert {f"valid_{subset.value}" for subset in Subset} <= set(result.log[0])


def test_a_student_of_the_teacher_alone_reads_as_the_teacher_and_not_as_the_labels(tmp_path: Path) -> None:
    dataset = toy()
    recipe = dataclasses.replace(TINY, epochs=40, from_teacher=1.0)
    result = trained(dataset, recipe, tmp_path)
    split = dataset.split("train")
    last = result.log[-1]
    assert last["teacher"] < 0.4 * result.log[0]["teacher"]
    assert last["labels"] > 2 * last["teacher"]
    # The weights are those of the epoch that was best on labels; its predictions lie nearer to the teacher's all the same.
    found, taught = (predict(net, split, Subset.LAV)[:, 0] for net in (student_of(result), teacher_of(dataset)))
    assert np.abs(found - taught).mean() < np.abs(found - split.labels).mean()


def test_another_teacher_makes_another_student(tmp_path: Path) -> None:
    dataset = toy()
    first = trained(dataset, TINY, tmp_path / "a")
    other = targets_of([taught(dataset, seed=4)], TINY, dataset.task, CPU)
    second = distill(dataset, other, TINY, seed=0, context=CONTEXT, work_dir=tmp_path / "b")
    assert any(not np.array_equal(first.weights[name], second.weights[name]) for name in first.weights)


def test_the_same_seed_gives_the_same_student(tmp_path: Path) -> None:
    first, second, other = (trained(toy(), TINY, tmp_path / f"{n}", seed=n // 2) for n in range(3))
    assert all(np.array_equal(first.weights[name], second.weights[name]) for name in first.weights)
    assert any(not np.array_equal(first.weights[name], other.weights[name]) for name in first.weights)


def unlabeled(dataset: Dataset, kept: int) -> Dataset:
    """The same, only the first `kept` training samples labeled."""
    train = dataset.split("train")
    labels = np.where(np.arange(len(train)) < kept, train.labels, np.nan).astype(np.float32)
    return dataclasses.replace(dataset, splits={**dataset.splits, "train": dataclasses.replace(train, labels=labels)})


def test_samples_without_labels_learn_from_the_teacher_alone(tmp_path: Path) -> None:
    dataset = unlabeled(toy(), 0)
    recipe = dataclasses.replace(TINY, epochs=25, from_teacher=0.5)
    result = trained(dataset, recipe, tmp_path)
    last = result.log[-1]
    assert last["loss"] == pytest.approx(last["teacher"], rel=1e-5)
    assert last["labels"] == 0
    assert last["teacher"] < 0.5 * result.log[0]["teacher"]


def test_without_a_teacher_a_sample_without_a_label_says_nothing(tmp_path: Path) -> None:
    dataset, recipe = toy(), dataclasses.replace(TINY, from_teacher=0.0, batch_size=64)
    spoilt = unlabeled(dataset, 40)
    train = spoilt.split("train")
    noise = {
        name: dataclasses.replace(f, values=np.where(np.arange(64)[:, None, None] < 40, f.take(), np.float32(9.0)))
        for name, f in train.modalities.items()
    }
    noisy = dataclasses.replace(spoilt, splits={**spoilt.splits, "train": dataclasses.replace(train, modalities=noise)})
    first, second = (trained(data, recipe, tmp_path / str(n)) for n, data in enumerate((spoilt, noisy)))
    for name, value in first.weights.items():
        np.testing.assert_allclose(value, second.weights[name], atol=1e-6)


def test_of_what_no_teacher_reads_the_label_has_all_the_loss(tmp_path: Path) -> None:
    dataset = toy(names=("audio",))
    deaf = Teacher(teacher_of(toy(names=("language",))), dataset.split("train"))
    recipe = dataclasses.replace(TINY, epochs=2)
    targets = targets_of([deaf], recipe, dataset.task, CPU)
    result = distill(dataset, targets, recipe, seed=0, context=CONTEXT, work_dir=tmp_path)
    assert all(row["loss"] == pytest.approx(row["labels"], rel=1e-5) and row["teacher"] == 0 for row in result.log)


@pytest.mark.parametrize("term", TERMS)
def test_a_term_is_logged_falls_and_leaves_the_students_own_weights_alone(term: str, tmp_path: Path) -> None:
    dataset = toy()
    recipe = dataclasses.replace(TINY, epochs=12, from_teacher=0.0, **{term: 1.0})  # type: ignore[arg-type]
    result = trained(dataset, recipe, tmp_path)
    assert set(result.weights) == set(Student(result.config).state_dict())
    values = [row[term] for row in result.log]
    if term != "hal":  # an adversary's loss rises as the student gets better at misleading it
        assert values[-1] < values[0]
    assert all(row["loss"] == pytest.approx(row["labels"] + row[term], rel=1e-3) for row in result.log)


def test_missingness_grows_along_the_curriculum_and_stays() -> None:
    recipe = dataclasses.replace(TINY, epochs=8, curriculum=0.5)
    inter = [recipe.missing(epoch).inter for epoch in range(8)]
    assert inter[:5] == [0, *(pytest.approx(recipe.msm.inter * share) for share in (0.25, 0.5, 0.75, 1.0))]
    assert inter[4:] == [recipe.msm.inter] * 4
    assert dataclasses.replace(recipe, curriculum=0.0).missing(0) == recipe.msm


def test_validation_without_labels_is_refused(tmp_path: Path) -> None:
    dataset = toy()
    valid = dataset.split("valid")
    blind = dataclasses.replace(valid, labels=np.full_like(valid.labels, np.nan))
    with pytest.raises(DataError, match="valid of toy has samples without labels"):
        trained(dataclasses.replace(dataset, splits={**dataset.splits, "valid": blind}), TINY, tmp_path)


class Killed(Exception):  # noqa: N818
    pass


def test_a_distillation_that_was_killed_ends_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = trained(toy(), TINY, tmp_path / "whole")
    begin = module._Distillation.begin
    begun: list[int] = []

    def killed(self: module._Distillation, epoch: int) -> None:
        if epoch == 2:
            raise Killed
        begin(self, epoch)

    def counted(self: module._Distillation, epoch: int) -> None:
        begun.append(epoch)
        begin(self, epoch)

    monkeypatch.setattr(module._Distillation, "begin", killed)
    with pytest.raises(Killed):
        trained(toy(), TINY, tmp_path / "cut")
    monkeypatch.setattr(module._Distillation, "begin", counted)
    found = trained(toy(), TINY, tmp_path / "cut")
    assert begun == [2]
    assert found.metrics == expected.metrics
    for name, value in expected.weights.items():
        np.testing.assert_array_equal(value, found.weights[name])


def test_a_data_set_without_vision_is_validated_on_what_it_has(tmp_path: Path) -> None:
    result = trained(toy(names=("language", "audio")), dataclasses.replace(TINY, epochs=1), tmp_path)
    subsets = {f"valid_{subset.value}" for subset in subsets_of(("language", "audio"))}
    assert {name for name in result.log[0] if name.startswith("valid_")} == subsets | {"valid_metric"}
    assert list(result.config.dims) == ["language", "audio"]


def test_emotions_are_learned_as_a_logit_each(tmp_path: Path) -> None:
    result = trained(toy(EMOTIONS), dataclasses.replace(TINY, epochs=10, from_teacher=0.2), tmp_path)
    assert result.config.outputs == 4
    assert result.metrics["validation_metric"] < 0.69


@pytest.mark.parametrize(
    ("name", "value"), [("width", 0), ("tokens", 0), ("epochs", 0), ("from_teacher", 1.5), ("dropout", 1.0)]
)
def test_a_value_that_makes_no_sense_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"student.{name} is {value}"):
        dataclasses.replace(TINY, **{name: value})  # type: ignore[arg-type]
