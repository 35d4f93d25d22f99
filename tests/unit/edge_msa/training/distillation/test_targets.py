from __future__ import annotations

import numpy as np
import torch

from edge_msa.config.students import StudentRecipe
from edge_msa.data.dataset import Frames, Split
from edge_msa.data.tasks import EMOTIONS, MOSI, Task
from edge_msa.models.student import Student, StudentConfig
from edge_msa.training.distillation.targets import DistillationTargets, Teacher, compute_targets, subset_code
from edge_msa.training.predict import predict
from edge_msa.training.split_introspection import compute_representations
from edge_msa_runtime.modalities import MODALITIES, Subset
from tests.tolerances import assert_close_to_scale

CPU = torch.device("cpu")
HINT = StudentRecipe(hint=1.0)


def make_split() -> Split:
    rng = np.random.default_rng(0)
    modalities = {
        name: Frames(np.ones((10, 4), np.bool_), rng.normal(size=(10, 4, 3)).astype(np.float32)) for name in MODALITIES
    }
    ids = tuple(map(str, range(10)))
    return Split(ids, ids, np.zeros(10, np.float32), modalities)


def make_teacher(seed: int, names: tuple[str, ...] = MODALITIES, task: Task = MOSI) -> Teacher:
    torch.manual_seed(seed)
    config = StudentConfig(dict.fromkeys(names, 3), width=8, blocks=1, tokens=1, hidden=6, outputs=task.outputs)
    return Teacher(Student(config).eval(), make_split())


def compute(teachers: list[Teacher], recipe: StudentRecipe | None = None, task: Task = MOSI) -> DistillationTargets:
    targets = compute_targets(teachers, recipe or StudentRecipe(), task, CPU)
    assert targets is not None
    return targets


def test_targets_are_predictions_from_the_same_subset() -> None:
    teacher = make_teacher(1)
    targets = compute([teacher])
    for subset in Subset:
        expected = predict(teacher.model, teacher.train, subset)
        np.testing.assert_array_equal(targets.predictions[subset_code(subset)].numpy(), expected)
    assert targets.known.tolist() == [False] + [True] * 7
    assert targets.vectors is None


def test_teachers_are_averaged_by_weight() -> None:
    whole, text = make_teacher(1), make_teacher(2, ("language",))
    targets = compute([whole, text], StudentRecipe(teacher_weights=(1.0, 3.0)))
    text_predictions = predict(text.model, text.train, Subset.L)
    for subset in (Subset.L, Subset.LAV):
        expected = (predict(whole.model, whole.train, subset) + 3 * text_predictions) / 4
        assert_close_to_scale(targets.predictions[subset_code(subset)], expected)


def test_teachers_without_the_modalities_do_not_count() -> None:
    whole, text = make_teacher(1), make_teacher(2, ("language",))
    targets = compute([whole, text])
    expected = predict(whole.model, whole.train, Subset.AV)
    np.testing.assert_array_equal(targets.predictions[subset_code(Subset.AV)].numpy(), expected)


def test_subsets_that_no_teacher_can_use_are_unknown() -> None:
    targets = compute([make_teacher(1, ("language",))], HINT)
    expected = [bool(code & 1) for code in range(8)]
    assert targets.known.tolist() == expected
    assert targets.vectors_known is not None
    assert targets.vectors_known.tolist() == expected


def test_targets_of_emotions_are_probabilities() -> None:
    targets = compute([make_teacher(1, task=EMOTIONS)], task=EMOTIONS)
    assert ((targets.predictions[1:] > 0) & (targets.predictions[1:] < 1)).all()


def test_vectors_are_standardized_representations() -> None:
    first = make_teacher(1)
    targets = compute([first, make_teacher(2)], HINT)
    assert targets.vectors is not None
    assert_close_to_scale(targets.vectors[1:].mean(dim=(0, 1)), torch.zeros(6), scale=1.0)  # of the vectors themselves
    vectors = targets.vectors[subset_code(Subset.LA)]
    representations = torch.from_numpy(compute_representations(first.model, first.train, Subset.LA))
    ratio = (vectors - vectors.mean(dim=0)) / (representations - representations.mean(dim=0))
    for column in ratio.T:
        finite = column[torch.isfinite(column)]
        assert finite.std() < 1e-2 * finite.mean()


def test_recipe_that_uses_labels_only_has_no_targets() -> None:
    assert compute_targets([make_teacher(1)], StudentRecipe(teacher_share=0.0), MOSI, CPU) is None
