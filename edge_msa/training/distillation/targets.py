"""What teachers say of a training split: their predictions, and the first one's representations, subset by subset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_msa.config.student_recipe import StudentRecipe
from edge_msa.data.dataset import Split
from edge_msa.data.tasks import Task
from edge_msa.training.internals import representations
from edge_msa.training.predict import Readable, predict
from edge_msa_runtime.modalities import MODALITIES, Subset

CODES = 2 ** len(MODALITIES)


@dataclass(frozen=True)
class Teacher:
    """A network in evaluation mode, and the training split as it reads it: its own normalization and modalities."""

    model: Readable
    train: Split

    def reads(self, subset: Subset) -> Subset | None:
        """What of a subset it reads; None: nothing."""
        names = [name for name in subset.modalities if name in self.model.config.dims and name in self.train.modalities]
        return Subset.of(names) if names else None


@dataclass(frozen=True)
class Targets:
    """What N samples are to be read as, by the code (see `code_of`) of what is seen of them.

    `predictions` (8, N, outputs): scores, or probabilities of emotions. `known` (8,) bool: whether any teacher reads
    anything of that subset. `vectors` (8, N, width) of the first teacher, each feature with mean 0 and deviation 1, and
    `vectors_known` (8,); None where no term asks for them.
    """

    predictions: Tensor
    known: Tensor
    vectors: Tensor | None = None
    vectors_known: Tensor | None = None


def targets_of(teachers: Sequence[Teacher], recipe: StudentRecipe, task: Task, device: torch.device) -> Targets | None:
    """Ask the teachers for every subset; of a subset each is asked for what it reads, one that reads nothing is not.

    Args:
        teachers: at least one; their splits hold the same samples.
        recipe: which says how their predictions weigh, and whether anything but labels is learned from at all.
        task: scores, or emotions.
        device: where the targets go.

    Returns:
        None where the recipe learns from labels alone.
    """
    if not recipe.from_teacher and not recipe.weights:
        return None
    weights = recipe.teacher_weights or (1.0,) * len(teachers)
    count = len(teachers[0].train)
    predictions = torch.zeros(CODES, count, task.outputs)
    total = torch.zeros(CODES)
    for teacher, weight in zip(teachers, weights, strict=True):
        said: dict[Subset, Tensor] = {}
        for subset in Subset:
            if (seen := teacher.reads(subset)) is None:
                continue
            if seen not in said:
                said[seen] = _answers(teacher, seen, task)
            predictions[code_of(subset)] += weight * said[seen]
            total[code_of(subset)] += weight
    predictions /= total.clamp(min=1e-12)[:, None, None]
    vectors = _vectors(teachers[0]) if recipe.weights else (None, None)
    placed = (None if item is None else item.to(device) for item in vectors)
    return Targets(predictions.to(device), (total > 0).to(device), *placed)


def code_of(subset: Subset) -> int:
    """A subset as bits, language first."""
    return sum(1 << MODALITIES.index(name) for name in subset.modalities)


def _answers(teacher: Teacher, subset: Subset, task: Task) -> Tensor:
    outputs = torch.from_numpy(predict(teacher.model, teacher.train, subset))
    return outputs if task.is_score else torch.sigmoid(outputs)


def _vectors(teacher: Teacher) -> tuple[Tensor, Tensor]:
    found: dict[int, NDArray[np.float32]] = {}
    for subset in Subset:
        if (seen := teacher.reads(subset)) is not None:
            same = code_of(seen)
            found[code_of(subset)] = (
                found[same] if same in found else representations(teacher.model, teacher.train, seen)
            )
    every = np.stack(list(found.values()))
    spread = np.maximum(every.std(axis=(0, 1)), 1e-6)
    vectors = torch.zeros(CODES, *every.shape[1:])
    known = torch.zeros(CODES, dtype=torch.bool)
    for code, values in found.items():
        vectors[code] = torch.from_numpy((values - every.mean(axis=(0, 1))) / spread)
        known[code] = True
    return vectors, known
