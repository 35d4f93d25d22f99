from __future__ import annotations

import numpy as np
import pytest
import torch

from edge_msa.config.student_recipe import StudentRecipe
from edge_msa.data.dataset import Frames, Split
from edge_msa.data.tasks import EMOTIONS, MOSI, Task
from edge_msa.models.student import Student, StudentConfig
from edge_msa.training.distillation.targets import Targets, Teacher, code_of, targets_of
from edge_msa.training.internals import representations
from edge_msa.training.predict import predict
from edge_msa_runtime.modalities import Subset

CPU = torch.device("cpu")
NAMES = ("language", "audio", "vision")
HINTED = StudentRecipe(hint=1.0)


def split(names: tuple[str, ...] = NAMES) -> Split:
    rng = np.random.default_rng(0)
    modalities = {
        name: Frames(np.ones((10, 4), np.bool_), rng.normal(size=(10, 4, 3)).astype(np.float32)) for name in names
    }
    ids = tuple(map(str, range(10)))
    return Split(ids, ids, np.zeros(10, np.float32), modalities)


def teacher(seed: int, names: tuple[str, ...] = NAMES, task: Task = MOSI) -> Teacher:
    torch.manual_seed(seed)
    config = StudentConfig(dict.fromkeys(names, 3), width=8, blocks=1, tokens=1, hidden=6, outputs=task.outputs)
    return Teacher(Student(config).eval(), split())


def asked(teachers: list[Teacher], recipe: StudentRecipe | None = None, task: Task = MOSI) -> Targets:
    found = targets_of(teachers, recipe or StudentRecipe(), task, CPU)
    assert found is not None
    return found


def test_the_target_of_a_sample_is_what_the_teacher_reads_from_the_same_subset() -> None:
    one = teacher(1)
    found = asked([one])
    for subset in Subset:
        expected = predict(one.model, one.train, subset)
        np.testing.assert_array_equal(found.predictions[code_of(subset)].numpy(), expected)
    assert found.known.tolist() == [False] + [True] * 7
    assert found.vectors is None


def test_several_teachers_are_averaged_by_weight_and_asked_for_what_they_read() -> None:
    whole, words = teacher(1), teacher(2, ("language",))
    found = asked([whole, words], StudentRecipe(teacher_weights=(1.0, 3.0)))
    both = [predict(item.model, item.train, Subset.L) for item in (whole, words)]
    np.testing.assert_allclose(found.predictions[code_of(Subset.L)].numpy(), (both[0] + 3 * both[1]) / 4, rtol=1e-6)
    of_all = (predict(whole.model, whole.train, Subset.LAV) + 3 * both[1]) / 4
    np.testing.assert_allclose(found.predictions[code_of(Subset.LAV)].numpy(), of_all, rtol=1e-6)
    np.testing.assert_array_equal(
        found.predictions[code_of(Subset.AV)].numpy(), predict(whole.model, whole.train, Subset.AV)
    )


def test_of_a_subset_that_no_teacher_reads_nothing_is_known() -> None:
    found = asked([teacher(1, ("language",))], HINTED)
    expected = [bool(code & 1) for code in range(8)]
    assert found.known.tolist() == expected
    assert found.vectors_known is not None
    assert found.vectors_known.tolist() == expected


def test_targets_of_emotions_are_probabilities() -> None:
    found = asked([teacher(1, task=EMOTIONS)], task=EMOTIONS)
    assert ((found.predictions[1:] > 0) & (found.predictions[1:] < 1)).all()


def test_vectors_are_the_first_teachers_representations_at_one_scale() -> None:
    one = teacher(1)
    found = asked([one, teacher(2)], HINTED)
    assert found.vectors is not None
    known = found.vectors[1:]
    torch.testing.assert_close(known.mean(dim=(0, 1)), torch.zeros(6), atol=1e-5, rtol=0)
    own = torch.from_numpy(representations(one.model, one.train, Subset.LA))
    ratio = (found.vectors[code_of(Subset.LA)] - found.vectors[code_of(Subset.LA)].mean(dim=0)) / (
        own - own.mean(dim=0)
    )
    for column in ratio.T:
        assert column[torch.isfinite(column)].std() < 1e-2 * column[torch.isfinite(column)].mean()


@pytest.mark.parametrize("recipe", [StudentRecipe(from_teacher=0.0)])
def test_a_recipe_of_labels_alone_asks_nobody(recipe: StudentRecipe) -> None:
    assert targets_of([teacher(1)], recipe, MOSI, CPU) is None
