"""Distill teachers into the student that devices run.

The student trains under MSM on labels and on the teachers' predictions from the same subset of modalities. A prediction
from the same subset is a better target than one from the complete sample: it is close to the best prediction from that
subset, and it does not contain the noise of the label. `StudentRecipe` describes the other loss terms, and
docs/reference/results/students.md describes their effect.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_msa.config.students import StudentRecipe
from edge_msa.data.dataset import Dataset
from edge_msa.errors import DataError
from edge_msa.models.student import Student, StudentConfig
from edge_msa.training.checkpoint import LogRow
from edge_msa.training.context import TrainingContext
from edge_msa.training.distillation.alignment import RepresentationAlignment
from edge_msa.training.distillation.targets import DistillationTargets
from edge_msa.training.initialization import init_bias_to_prior
from edge_msa.training.loop import Objective, fit
from edge_msa.training.losses import class_weights, sample_losses, task_loss, teacher_losses
from edge_msa.training.missing_modalities import draw_missing
from edge_msa.training.predict import predict, weights_to_numpy
from edge_msa.training.tensors import SplitTensors
from edge_msa_runtime.modalities import MODALITIES, subsets_of


@dataclass(frozen=True)
class TrainedStudent:
    """The result of `distill`."""

    config: StudentConfig
    """Sizes of the student."""
    weights: dict[str, NDArray[np.float32]]
    """Weights of the best epoch, by name."""
    log: list[LogRow]
    """One row per epoch."""
    metrics: dict[str, float | int]
    """Validation metrics of the best epoch."""


def distill(
    dataset: Dataset,
    targets: DistillationTargets | None,
    recipe: StudentRecipe,
    *,
    seed: int,
    context: TrainingContext,
    work_dir: Path,
    fingerprint: str = "",
    start: Student | None = None,
    takes_text: bool = False,
) -> TrainedStudent:
    """Train a student on labels and on the teachers' targets.

    Args:
        dataset: Dataset with the student's normalization. Labels of training samples may be NaN.
        targets: Targets from `compute_targets`, on the context's device; None trains on labels only.
        recipe: Recipe of the student.
        seed: Seed of initial weights, order, dropout and masks.
        context: Hardware to train on.
        work_dir: Folder of the checkpoint.
        fingerprint: Identifies the inputs; a checkpoint with another fingerprint is ignored.
        start: Fake-quantized student (`edge_msa.training.distillation.qat`) to fine-tune with the recipe's
            `qat_epochs` and `qat_learning_rate`; None trains a new student.
        takes_text: Whether a text encoder computes the language frames.

    Raises:
        DataError: The validation split has samples without labels.
        TrainingError: The loss is not finite.
    """
    if not np.isfinite(dataset.split("valid").labels).all():
        raise DataError(
            f"The valid split of {dataset.name} has samples without labels, but all labels are needed "
            "to choose the best epoch."
        )
    torch.manual_seed(seed)
    student = _create_student(dataset, recipe, takes_text=takes_text) if start is None else start
    student.to(context.device)
    objective = _DistillationObjective(dataset, targets, student, recipe, seed, context, curriculum=start is None)
    schedule = recipe if start is None else recipe.schedule(recipe.qat_epochs, recipe.qat_learning_rate)
    result = fit(
        objective,
        schedule,
        context=context,
        seed=seed,
        work_dir=work_dir,
        fingerprint=fingerprint,
        stage="student" if start is None else "qat",
    )
    metrics = {"validation_metric": result.best, "best_epoch": result.best_epoch + 1}
    return TrainedStudent(student.config, weights_to_numpy(student), result.rows, metrics)


def _create_student(dataset: Dataset, recipe: StudentRecipe, *, takes_text: bool) -> Student:
    student = Student(recipe.network_config(dataset.dims, dataset.task, takes_text=takes_text))
    labels = dataset.split("train").labels
    labels = labels[np.isfinite(labels.reshape(len(labels), -1)).all(axis=1)]
    if len(labels):
        init_bias_to_prior(student.fusion.output, labels, dataset.task)
    return student


class _DistillationObjective(Objective):
    """The loss on labels and teachers' targets under MSM, validated on every subset."""

    def __init__(
        self,
        dataset: Dataset,
        targets: DistillationTargets | None,
        student: Student,
        recipe: StudentRecipe,
        seed: int,
        context: TrainingContext,
        *,
        curriculum: bool,
    ) -> None:
        super().__init__()
        train, device = dataset.split("train"), context.device
        self.student = student
        self._context = context
        self._task, self._recipe, self._seed, self._curriculum = dataset.task, recipe, seed, curriculum
        self._train = SplitTensors(train, dataset.dims, device)
        self.size = len(self._train)
        self._valid = dataset.split("valid")
        self._targets = targets
        self.alignment = None
        if targets is not None and targets.vectors is not None:
            terms = recipe.alignment_weights
            width, teacher_width = student.config.hidden, targets.vectors.shape[2]
            self.alignment = RepresentationAlignment(width, teacher_width, terms, device)
            self.adversary = self.alignment.adversary
        labels = self._train.labels
        self._labeled = torch.isfinite(labels).all(dim=1)
        self._labels = torch.where(self._labeled[:, None], labels, 0.0)
        self._weights = class_weights(labels, dataset.task, recipe.class_weights)
        self._visible: dict[str, Tensor] = {}

    def begin(self, epoch: int) -> None:
        """Draw the masks of the epoch."""
        msm = self._recipe.msm_at(epoch) if self._curriculum else self._recipe.msm
        self._visible = draw_missing(self._train.valid, msm, seed=self._seed, epoch=epoch)

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        """Return the loss terms of the samples `rows`."""
        context, count = self._context, len(rows)
        visible = self._train.batch(context.share(rows), self._visible)
        tokens, available = self.student.encode(visible.frames, visible.valid)
        vectors = context.merge_shares(self.student.fusion.represent(tokens, available), count)
        predictions = self.student.fusion.output(vectors)
        recipe, task = self._recipe, self._task
        label_losses = sample_losses(predictions, self._labels[rows], task, recipe.score_loss, self._weights)
        labeled = self._labeled[rows].to(predictions.dtype)
        terms = {"labels": _weighted_mean(label_losses, labeled)}
        if self._targets is None:
            return {"loss": terms["labels"]}
        codes = _subset_codes(visible.valid)
        known = context.merge_shares(self._targets.known[codes].to(predictions.dtype), count)
        targets = context.merge_shares(self._targets.predictions[codes, visible.rows], count)
        from_teachers = teacher_losses(predictions, targets, task, recipe.score_loss, recipe.temperature)
        terms["teacher"] = _weighted_mean(from_teachers, known)
        # A sample that has only a label, or only a teacher's prediction, uses only that.
        share = recipe.teacher_share
        label_weights = labeled * (1 - share * known)
        teacher_weights = known * (1 - (1 - share) * labeled)
        loss = (label_weights * label_losses + teacher_weights * from_teachers).mean()
        return {"loss": loss + self._alignment_loss(vectors, codes, visible.rows, count, terms), **terms}

    def _alignment_loss(
        self, vectors: Tensor, codes: Tensor, rows: Tensor, count: int, terms: dict[str, Tensor]
    ) -> Tensor:
        """Return the weighted sum of the terms on representations, and add each of them to `terms`."""
        total = vectors.new_zeros(())
        targets = self._targets
        if self.alignment is None or targets is None or targets.vectors is None or targets.vectors_known is None:
            return total
        expected = self._context.merge_shares(targets.vectors[codes, rows], count)
        known = self._context.merge_shares(targets.vectors_known[codes].to(vectors.dtype), count) > 0
        if int(known.sum()) < 2:
            return total
        for name, value in self.alignment(vectors[known], expected[known]).items():
            terms[name] = value
            total = total + self._recipe.alignment_weights[name] * value
        return total

    def validate(self) -> dict[str, float]:
        """Return the task loss of every subset, and their mean as the metric."""
        losses: dict[str, float] = {}
        labels = torch.from_numpy(self._valid.labels.reshape(len(self._valid), -1))
        for subset in subsets_of(self._valid.modalities):
            predictions = torch.from_numpy(predict(self.student, self._valid, subset))
            weights = None if self._weights is None else self._weights.cpu()
            loss = task_loss(predictions, labels, self._task, self._recipe.score_loss, weights)
            losses[subset.value] = loss.item()
        return losses | {"metric": sum(losses.values()) / len(losses)}


def _subset_codes(valid: Mapping[str, Tensor]) -> Tensor:
    """Return the subset code of each sample of a batch, (B,) int64."""
    bits = [mask.any(dim=1).long() << MODALITIES.index(name) for name, mask in valid.items()]
    return torch.stack(bits).sum(dim=0)


def _weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    return (values * weights).sum() / weights.sum().clamp(min=1)
