"""Distillation targets: the teachers' predictions and the first teacher's representations, for every subset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_msa.config.students import StudentRecipe
from edge_msa.console import activity, show_status
from edge_msa.data.dataset import Split
from edge_msa.data.tasks import Task
from edge_msa.training.losses import teacher_outputs
from edge_msa.training.predict import Model, predict
from edge_msa.training.split_introspection import compute_representations
from edge_msa_runtime.modalities import MODALITIES, Subset

CODES = 2 ** len(MODALITIES)
"""Number of subset codes (see `subset_code`), including that of the empty subset."""


@dataclass(frozen=True)
class Teacher:
    """A network in evaluation mode, and the training split with its own normalization and modalities."""

    model: Model
    train: Split

    def usable_part(self, subset: Subset) -> Subset | None:
        """Return the part of a subset that the teacher can use, or None."""
        names = [name for name in subset.modalities if name in self.model.config.dims and name in self.train.modalities]
        return Subset.of(names) if names else None


@dataclass(frozen=True)
class DistillationTargets:
    """What a student learns from teachers, for N samples and each subset code."""

    predictions: Tensor
    """Scores, or probabilities of emotions or classes, (8, N, outputs)."""
    known: Tensor
    """Whether any teacher can use the subset, (8,) bool."""
    vectors: Tensor | None = None
    """Representations of the first teacher, (8, N, width), standardized per feature. None if no loss term uses them."""
    vectors_known: Tensor | None = None
    """Whether the first teacher can use the subset, (8,) bool."""


def compute_targets(
    teachers: Sequence[Teacher], recipe: StudentRecipe, task: Task, device: torch.device
) -> DistillationTargets | None:
    """Compute the teachers' predictions for every subset. Each teacher predicts from the modalities that it can use.

    Args:
        teachers: At least one teacher. Their splits contain the same samples.
        recipe: Recipe with the weights of the teachers and of the loss terms.
        task: What the predictions are.
        device: Device of the targets.

    Returns:
        The targets, or None if the recipe uses labels only.
    """
    if not recipe.teacher_share and not recipe.alignment_weights:
        return None
    weights = recipe.teacher_weights or (1.0,) * len(teachers)
    count = len(teachers[0].train)
    predictions = torch.zeros(CODES, count, task.outputs)
    total = torch.zeros(CODES)
    for teacher, weight in zip(teachers, weights, strict=True):
        computed: dict[Subset, Tensor] = {}
        for subset in Subset:
            if (part := teacher.usable_part(subset)) is None:
                continue
            if part not in computed:
                with activity(f"The teacher predicts the training samples from {part.value}"):
                    computed[part] = _predict(teacher, part, task, recipe.temperature)
            predictions[subset_code(subset)] += weight * computed[part]
            total[subset_code(subset)] += weight
    predictions /= total.clamp(min=1e-12)[:, None, None]
    known = (total > 0).to(device)
    if not recipe.alignment_weights:
        return DistillationTargets(predictions.to(device), known)
    vectors, vectors_known = _standardized_representations(teachers[0])
    return DistillationTargets(predictions.to(device), known, vectors.to(device), vectors_known.to(device))


def subset_code(subset: Subset) -> int:
    """Return a subset as a bit mask; language is the lowest bit."""
    return sum(1 << MODALITIES.index(name) for name in subset.modalities)


def _predict(teacher: Teacher, subset: Subset, task: Task, temperature: float) -> Tensor:
    return teacher_outputs(torch.from_numpy(predict(teacher.model, teacher.train, subset)), task, temperature)


def _standardized_representations(teacher: Teacher) -> tuple[Tensor, Tensor]:
    """Return representations with mean 0 and standard deviation 1 per feature, and which subsets have them."""
    by_code: dict[int, NDArray[np.float32]] = {}
    for subset in Subset:
        if (part := teacher.usable_part(subset)) is not None:
            show_status(f"Computing the teacher's representations of the training samples from {part.value}")
            code = subset_code(part)
            by_code[subset_code(subset)] = (
                by_code[code] if code in by_code else compute_representations(teacher.model, teacher.train, part)
            )
    stacked = np.stack(list(by_code.values()))
    deviation = np.maximum(stacked.std(axis=(0, 1)), 1e-6)
    vectors = torch.zeros(CODES, *stacked.shape[1:])
    known = torch.zeros(CODES, dtype=torch.bool)
    for code, values in by_code.items():
        vectors[code] = torch.from_numpy((values - stacked.mean(axis=(0, 1))) / deviation)
        known[code] = True
    return vectors, known
